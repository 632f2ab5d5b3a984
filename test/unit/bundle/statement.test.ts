import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { contentKey } from '../../../src/bundle/generation.ts';
import { isSignatureName, parseGenerationName } from '../../../src/bundle/layout.ts';
import { type Content, encodeStatement, type Predicate, parseStatement } from '../../../src/bundle/statement.ts';
import { digestOf } from '../../../src/core/digest.ts';
import { throwsWith } from '../../support/assert-code.ts';

const digest = digestOf(Buffer.from('x'));
const other = digestOf(Buffer.from('y'));
const content = (ref: string, more: Partial<Content> = {}): Content => ({
  kind: 'image',
  ref,
  digest,
  mediaType: 'application/vnd.oci.image.index.v1+json',
  targetDigest: digest,
  targetMediaType: 'application/vnd.oci.image.index.v1+json',
  targetSize: 10,
  form: 'whole',
  platforms: ['linux/arm64'],
  size: 100,
  ...more,
});
const predicate = (more: Partial<Predicate> = {}): Predicate => ({
  name: 'lumen',
  sequence: 7,
  created: '2026-11-21T08:00:00Z',
  platforms: ['linux/arm64'],
  contents: [content('docker.io/library/b:1'), content('docker.io/library/a:1', { aliases: ['x/y:1'] })],
  blobs: [
    { digest, size: 10 },
    { digest: other, size: 20 },
  ],
  files: [{ name: 'lock.json', digest, size: 3 }],
  tool: 'bundle 0.0.0',
  ...more,
});
const index = Buffer.from('{}');

type Loose = Record<string, unknown> & { predicate: Record<string, unknown> & { contents: Record<string, unknown>[] } };
const loose = (): Loose => JSON.parse(Buffer.from(encodeStatement(index, predicate())).toString()) as Loose;
const parse = (json: unknown) => parseStatement(Buffer.from(JSON.stringify(json)), 'bundle.json');

describe('statement', () => {
  test('is read as it was written, with the index as its subject', () => {
    const { predicate: read, subject } = parseStatement(
      encodeStatement(index, predicate({ expires: '2027-01-01T00:00:00Z' })),
      's',
    );
    assert.equal(subject[0]?.digest.sha256, digestOf(index).slice(7));
    assert.equal(read.expires, '2027-01-01T00:00:00Z');
    assert.deepEqual(
      read.contents.map((c) => c.ref),
      ['docker.io/library/a:1', 'docker.io/library/b:1'],
    );
  });

  test('is the same bytes in whatever order its parts come', () => {
    const { contents, blobs, files } = predicate();
    const turned = predicate({ contents: contents.toReversed(), blobs: blobs.toReversed(), files: files.toReversed() });
    assert.deepEqual(encodeStatement(index, turned), encodeStatement(index, predicate()));
  });

  const faults: readonly (readonly [string, (s: Loose) => unknown])[] = [
    ['another type', (s) => Object.assign(s, { _type: 'https://in-toto.io/Statement/v0.1' })],
    ['another predicate type', (s) => Object.assign(s, { predicateType: 'https://slsa.dev/provenance/v1' })],
    ['no subject', (s) => Object.assign(s, { subject: [] })],
    ['two subjects', (s) => Object.assign(s, { subject: [(s.subject as unknown[])[0], (s.subject as unknown[])[0]] })],
    ['another subject', (s) => Object.assign(s, { subject: [{ name: 'x', digest: { sha256: '0'.repeat(64) } }] })],
    ['an unknown key', (s) => Object.assign(s.predicate, { extra: true })],
    ['an unknown key of a content', (s) => Object.assign(s.predicate.contents[0] ?? {}, { extra: true })],
    ['a name that leaves its folder', (s) => Object.assign(s.predicate, { name: '../x' })],
    ['an upper-case name', (s) => Object.assign(s.predicate, { name: 'Lumen' })],
    ['a sequence of 0', (s) => Object.assign(s.predicate, { sequence: 0 })],
    ['a sequence with a fraction', (s) => Object.assign(s.predicate, { sequence: 1.5 })],
    ['a sequence that would lock everybody out', (s) => Object.assign(s.predicate, { sequence: 10_000_000_000 })],
    ['a time with milliseconds', (s) => Object.assign(s.predicate, { created: '2026-11-21T08:00:00.000Z' })],
    ['no such expiry', (s) => Object.assign(s.predicate, { expires: '2026-99-21T08:00:00Z' })],
    ['a digest that is a path', (s) => Object.assign(s.predicate.contents[0] ?? {}, { digest: 'sha256:../x' })],
    ['a short reference', (s) => Object.assign(s.predicate.contents[0] ?? {}, { ref: 'redis' })],
    ['an alias without a tag', (s) => Object.assign(s.predicate.contents[0] ?? {}, { aliases: ['x/y'] })],
    ['an alias with a host', (s) => Object.assign(s.predicate.contents[0] ?? {}, { aliases: ['evil:5000/x:1'] })],
    ['another kind', (s) => Object.assign(s.predicate.contents[0] ?? {}, { kind: 'chart' })],
    ['a blob of a negative size', (s) => Object.assign(s.predicate, { blobs: [{ digest, size: -1 }] })],
    [
      'a blob twice',
      (s) =>
        Object.assign(s.predicate, {
          blobs: [
            { digest, size: 1 },
            { digest, size: 2 },
          ],
        }),
    ],
    ['a reference twice', (s) => s.predicate.contents.push(s.predicate.contents[0] as Record<string, unknown>)],
    ['a file twice', (s) => Object.assign(s.predicate, { files: [1, 2].map((size) => ({ name: 'lock.json', digest, size })) })],
    ['a file that leaves its folder', (s) => Object.assign(s.predicate, { files: [{ name: '../../x', digest, size: 1 }] })],
  ];
  for (const [name, change] of faults)
    test(`${name} is E_STATEMENT`, () => {
      const json = loose();
      change(json);
      const error = throwsWith(() => parse(json), 'E_STATEMENT', /bundle\.json/);
      assert.equal(error.origin, 'bundle');
    });

  test('the same with nothing changed is fine', () => {
    assert.equal(parse(loose()).predicate.sequence, 7);
  });
});

describe('what makes a new generation', () => {
  const same = contentKey(predicate());
  test('not the sequence, the time or the tool, nor another order of blobs', () => {
    const again = predicate({
      sequence: 9,
      created: '2027-01-01T00:00:00Z',
      tool: 'bundle 9',
      blobs: predicate().blobs.toReversed(),
    });
    assert.equal(contentKey(again), same);
  });

  test('not a later time with the same lifetime', () => {
    const day = (created: string, expires: string) => contentKey(predicate({ created, expires }));
    assert.equal(day('2026-11-21T00:00:00Z', '2026-11-22T00:00:00Z'), day('2026-12-01T00:00:00Z', '2026-12-02T00:00:00Z'));
  });

  for (const [name, more] of [
    ['other content', { contents: [] }],
    ['other blobs', { blobs: [] }],
    ['other platforms', { platforms: ['all'] }],
    ['another name', { name: 'other' }],
    ['a lifetime', { expires: '2026-12-21T08:00:00Z' }],
  ] as const)
    test(name, () => {
      assert.notEqual(contentKey(predicate(more as Partial<Predicate>)), same);
    });
});

describe('names in a bundle', () => {
  test('a generation is a plain positive number and nothing else', () => {
    assert.deepEqual(['1', '1795252610'].map(parseGenerationName), [1, 1795252610]);
    for (const name of ['0', '01', '-1', '1.0', '1e3', ' 1', '.tmp-1', '', '99999999999999999999', '١'])
      assert.equal(parseGenerationName(name), undefined, name);
  });

  test('a signature file is named after a keyid', () => {
    assert.ok(isSignatureName(`${'a'.repeat(64)}.sigstore.json`));
    for (const name of [
      'a.sigstore.json',
      `${'A'.repeat(64)}.sigstore.json`,
      `${'a'.repeat(64)}.sigstore.json.bak`,
      `../${'a'.repeat(61)}.sigstore.json`,
    ])
      assert.equal(isSignatureName(name), false, name);
  });
});
