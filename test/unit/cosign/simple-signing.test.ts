import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Digest, digestOf } from '../../../src/core/digest.ts';
import { encodeSimpleSigning, parseSimpleSigning } from '../../../src/cosign/simple-signing.ts';
import { throwsWith } from '../../support/assert-code.ts';

const HEX = '1488321dafb31a04585c4301d7694ad4031abbf4c9b550d4995b3b41a0f10d2b';
const DIGEST = `sha256:${HEX}` as Digest;
// As cosign 2.5.0 wrote it.
const COSIGN = `{"critical":{"identity":{"docker-reference":"ghcr.io/up/app"},"image":{"docker-manifest-digest":"${DIGEST}"},"type":"cosign container image signature"},"optional":null}`;

const parse = (text: string) => parseSimpleSigning(Buffer.from(text), 'sig');
const payload = (change: (critical: Record<string, unknown>, whole: Record<string, unknown>) => void): string => {
  const whole = JSON.parse(COSIGN);
  change(whole.critical, whole);
  return JSON.stringify(whole);
};

describe('the payload of a legacy signature', () => {
  it('is what cosign writes, byte for byte', () => {
    assert.equal(String(encodeSimpleSigning('ghcr.io/up/app', DIGEST)), COSIGN);
  });

  it('is read back as it was written, for any name', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (reference, content) => {
        const digest = digestOf(Buffer.from(content));
        assert.deepEqual(parseSimpleSigning(encodeSimpleSigning(reference, digest), 'sig'), { reference, digest });
      }),
    );
  });

  it('may say anything that is optional, in any form', () => {
    for (const optional of [null, {}, { creator: 'x', timestamp: 1, deep: { a: [1] } }, 'words', undefined])
      assert.equal(parse(payload((_, whole) => Object.assign(whole, { optional }))).digest, DIGEST);
  });

  it('is read in the spelling that cosign had until 2021', () => {
    const old = `{"Critical":{"Identity":{"docker-reference":""},"Image":{"Docker-manifest-digest":"${DIGEST}"},"Type":"cosign container image signature"},"Optional":null}`;
    assert.deepEqual(parse(old), { reference: '', digest: DIGEST });
  });

  it('is refused where two readers could find two digests in it', () => {
    const twice = `"docker-manifest-digest":"${DIGEST}","Docker-Manifest-Digest":"sha256:${'0'.repeat(64)}"`;
    throwsWith(() => parse(COSIGN.replace(/"docker-manifest-digest":"[^"]+"/, twice)), 'E_SIGNATURE', /another/);
    const doubled = `"docker-manifest-digest":"${DIGEST}","docker-manifest-digest":"${DIGEST}"`;
    throwsWith(() => parse(COSIGN.replace(/"docker-manifest-digest":"[^"]+"/, doubled)), 'E_SIGNATURE', /twice/);
    throwsWith(() => parse(payload((c) => Object.assign(c, { Image: { 'docker-manifest-digest': DIGEST } }))), 'E_SIGNATURE');
    // U+017F is an "s" to Go, U+212A a "k".
    const digest = { 'docker-manifest-digest': DIGEST };
    throwsWith(
      () => parse(payload((c) => Object.assign(c, { image: { ...digest, 'docker-manife\u017ft-digest': '' } }))),
      'E_SIGNATURE',
    );
    throwsWith(
      () => parse(payload((c) => Object.assign(c, { identity: { 'doc\u212aer-reference': 'a' } }))),
      'E_SIGNATURE',
      /another/,
    );
  });

  it('is refused when something critical is missing, unknown, of another form or about something else', () => {
    const changes: ((critical: Record<string, unknown>, whole: Record<string, unknown>) => void)[] = [
      (c) => Object.assign(c, { type: 'atomic container signature' }),
      (c) => Object.assign(c, { type: 'COSIGN container image signature' }),
      (c) => Object.assign(c, { type: null }),
      (c) => Object.assign(c, { more: 1 }),
      (c) => Object.assign(c, { image: { 'docker-manifest-digest': DIGEST, more: 1 } }),
      (c) => Object.assign(c, { image: { 'docker-manifest-digest': HEX } }),
      (c) => Object.assign(c, { image: { 'docker-manifest-digest': DIGEST.toUpperCase() } }),
      (c) => Object.assign(c, { image: [] }),
      (c) => Object.assign(c, { identity: { 'docker-reference': 7 } }),
      (c) => Object.assign(c, { identity: {} }),
      (c) => Object.assign(c, { identity: null }),
      (_, whole) => Object.assign(whole, { critical: 'x' }),
      (_, whole) => Object.assign(whole, { more: 1 }),
      (_, whole) => delete whole.critical,
      (c) => delete c.type,
    ];
    for (const change of changes) throwsWith(() => parse(payload(change)), 'E_SIGNATURE');
    for (const text of ['', '[]', 'null', '{}', COSIGN.slice(1), `${COSIGN}x`]) throwsWith(() => parse(text), 'E_SIGNATURE');
    throwsWith(() => parse(`${COSIGN}${' '.repeat(4 * 1024 * 1024)}`), 'E_SIGNATURE', /limit/);
  });
});
