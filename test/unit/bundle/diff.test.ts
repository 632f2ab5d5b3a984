import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { diffStatements } from '../../../src/bundle/diff.ts';
import { placesOf } from '../../../src/bundle/places.ts';
import type { Content, Predicate } from '../../../src/bundle/statement.ts';
import { type Digest, digestOf } from '../../../src/core/digest.ts';

const of = (text: string): Digest => digestOf(Buffer.from(text));
const content = (ref: string, digest: string, aliases?: string[]): Content => ({
  kind: 'image',
  ref: `docker.io/library/${ref}`,
  digest: of(digest),
  mediaType: 'm',
  targetDigest: of(digest),
  targetMediaType: 'm',
  targetSize: 1,
  form: 'whole',
  platforms: [],
  size: 1,
  ...(aliases === undefined ? {} : { aliases }),
});
const predicate = (contents: Content[], blobs: Record<string, number>): Predicate => ({
  name: 'x',
  sequence: 1,
  created: '2026-11-21T08:00:00Z',
  platforms: ['all'],
  contents,
  blobs: Object.entries(blobs).map(([name, size]) => ({ digest: of(name), size })),
  files: [],
  tool: 't',
});

describe('diff of two statements', () => {
  test('says what was added, removed and changed, by reference, and the bytes on either side', () => {
    const before = predicate([content('gone:1', 'g'), content('same:1', 's'), content('moved:1', 'old')], {
      s: 5,
      old: 7,
      g: 11,
    });
    const after = predicate([content('new:1', 'n'), content('moved:1', 'now'), content('same:1', 's')], { s: 5, now: 13, n: 17 });
    const diff = diffStatements(before, after);
    assert.deepEqual(
      diff.changes.map((c) => [c.ref.split('/').at(-1), c.change]),
      [
        ['gone:1', 'removed'],
        ['moved:1', 'changed'],
        ['new:1', 'added'],
      ],
    );
    assert.deepEqual([diff.bytesAdded, diff.bytesRemoved], [30, 18]);
  });

  test('another alias is a change although no byte moves', () => {
    const diff = diffStatements(predicate([content('a:1', 'a')], { a: 1 }), predicate([content('a:1', 'a', ['x:1'])], { a: 1 }));
    assert.deepEqual([diff.changes.length, diff.bytesAdded, diff.bytesRemoved], [1, 0, 0]);
  });

  const signed = (...evidence: [subject: string, digest: string, tag?: string][]): Content => ({
    ...content('a:1', 'a'),
    size: 1 + evidence.length,
    evidence: evidence.map(([subject, digest, tag]) => ({
      subject: of(subject),
      ...(tag === undefined ? {} : { tag }),
      digest: of(digest),
      mediaType: 'm',
      size: 1,
    })),
  });
  const changeOf = (before: Content, after: Content) => {
    const [change] = diffStatements(predicate([before], {}), predicate([after], {})).changes;
    return [change?.change, change?.evidence];
  };

  test('other signatures of the same image are a change of evidence, counted; a list under the same tag is replaced', () => {
    const before = signed(['a', 'one'], ['a', 'two'], ['a', 'list', 'sha256-a.sig']);
    const after = signed(['a', 'two'], ['a', 'three'], ['b', 'two'], ['a', 'other list', 'sha256-a.sig']);
    assert.deepEqual(changeOf(before, after), ['evidence', { added: 2, removed: 1, replaced: 1 }]);
    assert.deepEqual(changeOf(content('a:1', 'a'), signed(['a', 'one'])), ['evidence', { added: 1, removed: 0, replaced: 0 }]);
  });

  test('another verdict alone is a change of evidence too', () => {
    const [asked, allowed] = (['not-asked', 'unsigned-allowed'] as const).map((result) => ({
      ...content('a:1', 'a'),
      verdict: { result },
    })) as [Content, Content];
    assert.deepEqual(changeOf(asked, allowed), ['evidence', { added: 0, removed: 0, replaced: 0 }]);
  });

  test('an image that changed is changed, whatever became of its signatures', () => {
    assert.equal(changeOf(signed(['a', 'one']), { ...signed(['a', 'two']), targetDigest: of('b') })[0], 'changed');
    assert.equal(changeOf(signed(['a', 'one']), { ...signed(['a', 'two']), aliases: ['x:1'] })[0], 'changed');
  });

  test('of a statement with itself is empty', () => {
    const one = predicate([content('a:1', 'a')], { a: 1 });
    assert.deepEqual(diffStatements(one, one), { changes: [], bytesAdded: 0, bytesRemoved: 0 });
  });
});

describe('places of a reference below a target', () => {
  test('its own path first, with the origin in it, then its aliases', () => {
    assert.deepEqual(placesOf('docker.io/library/redis:7', ['redis:7', 'a/b:v1']), [
      { repository: 'docker.io/library/redis', tag: '7' },
      { repository: 'redis', tag: '7' },
      { repository: 'a/b', tag: 'v1' },
    ]);
  });

  test('a port becomes part of a name that a repository may have', () => {
    assert.deepEqual(placesOf('node-1:5000/a/b:1', []), [{ repository: 'node-1_5000/a/b', tag: '1' }]);
    assert.deepEqual(placesOf('[fd00::1]:5000/a:1', []), [{ repository: 'fd00--1_5000/a', tag: '1' }]);
  });

  test('tag and digest: the tag; a digest alone: no tag', () => {
    const digest = of('x');
    assert.equal(placesOf(`docker.io/a/b:1@${digest}`, [])[0]?.tag, '1');
    assert.equal(placesOf(`docker.io/a/b@${digest}`, [])[0]?.tag, undefined);
  });
});
