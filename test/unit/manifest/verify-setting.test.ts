import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { expandImageLists } from '../../../src/manifest/image-list.ts';
import { parseManifest } from '../../../src/manifest/read-manifest.ts';
import type { VerifySetting } from '../../../src/manifest/verify-setting.ts';
import { throwsWith } from '../../support/assert-code.ts';

const HEAD = 'apiVersion: bundle/v1\nname: lumen\n';
const parse = (rest: string) => parseManifest(HEAD + rest, 'manifests/lumen.yaml');
const settingOf = (verify: string): VerifySetting | undefined => parse(`images: [redis:7]\nverify: ${verify}\n`).verify;
const refuses = (verify: string, message: RegExp) => throwsWith(() => settingOf(verify), 'E_MANIFEST', message);
const GITHUB = 'https://token.actions.githubusercontent.com';

describe('verify', () => {
  test('a key, several keys, ends of keys; paths are meant from the folder of the manifest', () => {
    assert.deepEqual(settingOf('{key: keys/up.pub}'), { kind: 'key', keys: [{ path: 'manifests/keys/up.pub' }] });
    const end = Date.parse('2027-01-01T00:00:00Z');
    assert.deepEqual(settingOf('{key: [/abs.pub, {path: ../old.pub, until: 2027-01-01}, /abs.pub]}'), {
      kind: 'key',
      keys: [{ path: '/abs.pub' }, { path: 'old.pub', until: end }],
    });
    assert.deepEqual(settingOf('{key: [a.pub, {path: b.pub, until: 2026-02-28T12:30:00Z}], until: 2027-01-01}'), {
      kind: 'key',
      keys: [
        { path: 'manifests/a.pub', until: end },
        { path: 'manifests/b.pub', until: Date.parse('2026-02-28T12:30:00Z') },
      ],
    });
  });

  test('keyless, an attestation instead of a signature, and unsigned: allowed', () => {
    const identity = 'https://github.com/org/app/.github/workflows/release.yaml@refs/tags/v*';
    assert.deepEqual(settingOf(`{keyless: {issuer: "${GITHUB}", identity: "${identity}"}}`), {
      kind: 'keyless',
      issuer: GITHUB,
      identity,
    });
    assert.deepEqual(settingOf(`{key: a.pub, attestation: "https://slsa.dev/provenance/v1"}`), {
      kind: 'key',
      keys: [{ path: 'manifests/a.pub' }],
      attestation: 'https://slsa.dev/provenance/v1',
    });
    assert.deepEqual(settingOf('{unsigned: allowed}'), { kind: 'unsigned' });
  });

  test('an image has its own, or that of the manifest; what lists name has that of the manifest', async () => {
    const manifest = parse(
      'verify: {key: a.pub}\nimages: [redis:7, {ref: nginx:1, verify: {unsigned: allowed}}]\nimageLists: [more.txt]\n',
    );
    const usual = { kind: 'key', keys: [{ path: 'manifests/a.pub' }] };
    assert.deepEqual(
      manifest.images.map((image) => image.verify),
      [usual, { kind: 'unsigned' }],
    );
    const expanded = await expandImageLists(manifest, async () => 'busybox:1\nredis:7\n');
    assert.deepEqual(
      expanded.images.map((image) => image.verify),
      [usual, { kind: 'unsigned' }, usual],
    );
    assert.equal('verify' in (parse('images: [redis:7]').images[0] ?? {}), false);
  });

  test('the same image twice collapses when both ask for the same, and conflicts when they do not', () => {
    const twice = (a: string, b: string) =>
      parse(`images:\n  - {ref: redis:7, verify: ${a}}\n  - {ref: redis:7, verify: ${b}}\n`);
    assert.equal(twice('{key: a.pub}', '{key: [a.pub]}').images.length, 1);
    throwsWith(() => twice('{key: a.pub}', '{key: b.pub}'), 'E_MANIFEST', /different settings/);
    throwsWith(() => twice('{key: a.pub}', '{key: a.pub, until: 2027-01-01}'), 'E_MANIFEST', /different settings/);
    throwsWith(() => twice('{key: a.pub}', '{unsigned: allowed}'), 'E_MANIFEST', /different settings/);
  });

  test('what is unknown or misspelt is named with its place and what may have been meant', () => {
    refuses('{keys: a.pub}', /lumen\.yaml:4:10: verify\.keys: unknown key; did you mean "key"\?/);
    refuses(`{keyless: {issuer: "${GITHUB}", identty: x}}`, /verify\.keyless\.identty: unknown key; did you mean "identity"\?/);
    refuses('{key: [{path: a.pub, untill: 2027-01-01}]}', /verify\.key\[0\]\.untill: unknown key; did you mean "until"\?/);
    refuses('{unsigned: alowed}', /did you mean "allowed"\?/);
    refuses('none', /want a map, got the text "none"/);
    refuses('{key: []}', /empty list/);
    refuses('{key: {file: a.pub}}', /verify\.key/);
    throwsWith(() => parse('images: [{ref: redis:7, verfy: {key: a.pub}}]'), 'E_MANIFEST', /did you mean "verify"\?/);
  });

  test('what does not go together is refused', () => {
    refuses('{}', /want key, keyless or unsigned: allowed/);
    refuses('{attestation: "https://slsa.dev/provenance/v1"}', /want key, keyless or unsigned/);
    refuses('{key: a.pub, unsigned: allowed}', /verify\.unsigned: key and unsigned exclude each other/);
    refuses(`{key: a.pub, keyless: {issuer: "${GITHUB}", identity: x}}`, /key and keyless exclude each other/);
    refuses('{unsigned: allowed, until: 2027-01-01}', /verify\.until: is the end of a key/);
    refuses('{unsigned: allowed, attestation: "https://a.test/b"}', /verify\.attestation/);
    refuses(`{keyless: {identity: x}}`, /verify\.keyless\.issuer: is missing/);
  });

  test('an end is a day or a time that there is', () => {
    for (const until of [
      '2027-02-30',
      '2027-13-01',
      'tomorrow',
      '2027',
      '01-01-2027',
      '2027-01-01T25:00:00Z',
      '2027-01-01T00:00:00+01:00',
    ])
      refuses(`{key: a.pub, until: "${until}"}`, /verify\.until: .* is not a day/);
  });

  test('an issuer is the URL of one issuer, without a star', () => {
    for (const [issuer, message] of [
      ['github', /not the URL of an issuer/],
      ['', /not the URL/],
      ['https://*.example.test', /letter by letter/],
      ['https://a.test\\u202e', /not the URL/],
    ] as const)
      refuses(`{keyless: {issuer: "${issuer}", identity: x}}`, message);
  });

  test('an identity that would be anybody, or that is meant as a regular expression, is refused', () => {
    for (const [identity, message] of [
      ['', /is empty/],
      ['*', /anybody/],
      ['**', /anybody/],
      ['a***b', /"\*\*\*"/],
      ['^https://github.com/org/app$', /regular expression/],
      ['https://github.com/org/.*', /regular expression/],
      ['https://github\\\\.com/org', /regular expression/],
      ['a\\u0000', /control characters/],
    ] as const)
      refuses(`{keyless: {issuer: "${GITHUB}", identity: "${identity}"}}`, message);
  });

  test('a path is a path: no URL, nothing invisible, not empty', () => {
    refuses('{key: ""}', /verify\.key/);
    refuses('{key: "https://example.test/a.pub"}', /is a URL/);
    refuses('{key: "a\\u200b.pub"}', /not a path/);
    refuses('{key: a.pub, attestation: provenance}', /not the URI of a predicate type/);
  });

  test("the trusted root of a Sigstore of one's own is a path beside the manifest", () => {
    assert.equal(parse('images: [redis:7]\ntrustedRoot: sigstore/root.json').trustedRoot, 'manifests/sigstore/root.json');
    assert.equal(parse('images: [redis:7]\ntrustedRoot: /etc/root.json').trustedRoot, '/etc/root.json');
    throwsWith(
      () => parse('images: [redis:7]\ntrustedRoot: "https://a.test/root.json"'),
      'E_MANIFEST',
      /trustedRoot: .* is a URL/,
    );
    throwsWith(() => parse('images: [redis:7]\ntrustedroot: a'), 'E_MANIFEST', /did you mean "trustedRoot"\?/);
  });
});
