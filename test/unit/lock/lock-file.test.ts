import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Digest, digestOf } from '../../../src/core/digest.ts';
import type { Evidence } from '../../../src/core/evidence.ts';
import {
  encodeLockFile,
  type LockFile,
  type LockItem,
  lockTime,
  newestResolution,
  parseLockFile,
} from '../../../src/lock/lock-file.ts';
import { throwsWith } from '../../support/assert-code.ts';

const digest = digestOf(Buffer.from('x'));
const item = (ref: string, more: Partial<LockItem> = {}): LockItem => ({
  kind: 'image',
  ref,
  origin: 'docker.io',
  digest,
  mediaType: 'application/vnd.oci.image.index.v1+json',
  size: 500,
  resolvedAt: '2026-11-21T08:00:00Z',
  asked: ['linux/arm64'],
  platforms: [{ platform: 'linux/arm64', digest, size: 400 }],
  targetDigest: digest,
  form: 'single',
  ...more,
});
const lock = (...items: LockItem[]): LockFile => ({ lockVersion: 1, name: 'lumen', items });
const A = 'docker.io/library/a:1';
const B = 'docker.io/library/b:1';

describe('lock file', () => {
  test('is read as it was written', () => {
    const written = lock(item(A, { evidenceAsked: 'none' }), item(B, { asked: 'all', form: 'whole', index: 'exact' }));
    assert.deepEqual(parseLockFile(encodeLockFile(written), 'l'), written);
  });

  const at = '2026-11-21T08:00:00Z';
  const about = (subject: Digest, more: Partial<Evidence> = {}): Evidence => ({
    subject,
    digest: digestOf(Buffer.from('evidence')),
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    size: 7,
    ...more,
  });
  const sigTag = `${digest.replace(':', '-')}.sig`;

  test('with evidence, and evidence of evidence, is read as it was written', () => {
    const first = about(digest, { tag: sigTag });
    const evidence = [first, about(first.digest, { digest: digestOf(Buffer.from('of evidence')) })];
    const written = lock(item(A, { evidence, evidenceAt: at }), item(B, { evidence: [], evidenceAt: at }));
    assert.deepEqual(parseLockFile(encodeLockFile(written), 'l'), written);
  });

  for (const [what, message, more] of [
    ['evidence without its time', /come together/, { evidence: [] }],
    ['a time without evidence', /come together/, { evidenceAt: at }],
    ['evidence where none is asked for', /exclude each other/, { evidenceAsked: 'none', evidence: [about(digest)] }],
    ['evidence of something that is not carried', /not carried/, { evidence: [about(digestOf(Buffer.from('y')))] }],
    ['evidence under a tag of the image', /not cosign's/, { evidence: [about(digest, { tag: 'latest' })] }],
    [
      'evidence under a tag of another image',
      /not cosign's/,
      { evidence: [about(digest, { tag: `${digestOf(Buffer.from('y')).replace(':', '-')}.sig` })] },
    ],
    ['evidence of another type', /has the type/, { evidence: [about(digest, { mediaType: 'text/html' })] }],
    ['one piece twice', /twice/, { evidence: [about(digest), about(digest)] }],
    [
      'one tag twice',
      /twice/,
      { evidence: [about(digest, { tag: sigTag }), about(digest, { tag: sigTag, digest: digestOf(Buffer.from('z')) })] },
    ],
  ] as const satisfies readonly (readonly [string, RegExp, Partial<LockItem>])[])
    test(`${what} is E_LOCK`, () => {
      const time = 'evidence' in more && what !== 'evidence without its time' ? { evidenceAt: at } : {};
      throwsWith(
        () => parseLockFile(encodeLockFile(lock(item(A, { ...more, ...time } as Partial<LockItem>))), 'l'),
        'E_LOCK',
        message,
      );
    });

  test('is the same bytes in whatever order the items come', () => {
    assert.deepEqual(encodeLockFile(lock(item(B), item(A))), encodeLockFile(lock(item(A), item(B))));
    assert.ok(
      Buffer.from(encodeLockFile(lock(item(A))))
        .toString()
        .endsWith('}\n'),
    );
  });

  test('the newest resolution in Unix seconds is the least sequence; nothing locked is 0', () => {
    const times = ['2026-11-21T08:00:00Z', '2026-11-21T08:00:09Z', '2025-01-01T00:00:00Z'];
    assert.equal(
      newestResolution(lock(...times.map((resolvedAt, i) => item(`docker.io/a/b:${i}`, { resolvedAt })))),
      1_795_248_009,
    );
    assert.equal(newestResolution(lock()), 0);
  });

  test('times are whole seconds in UTC, cut and not rounded', () => {
    assert.equal(lockTime(Date.parse('2026-11-21T08:00:00.999Z')), '2026-11-21T08:00:00Z');
  });

  type Loose = Record<string, unknown> & { items: Record<string, unknown>[] };
  const faults: readonly (readonly [string, RegExp, (l: Loose) => unknown])[] = [
    ['another version', /lockVersion/, (l) => Object.assign(l, { lockVersion: 2 })],
    ['an unknown key', /Unrecognized key/, (l) => Object.assign(l, { extra: 1 })],
    ['an unknown key of an item', /items\.0/, (l) => Object.assign(l.items[0] ?? {}, { extra: 1 })],
    ['no items', /items/, (l) => Object.assign(l, { items: undefined })],
    ['a short digest', /items\.0\.digest: not a sha256/, (l) => Object.assign(l.items[0] ?? {}, { digest: 'sha256:00' })],
    [
      'an upper-case digest',
      /items\.0\.targetDigest/,
      (l) => Object.assign(l.items[0] ?? {}, { targetDigest: digest.toUpperCase() }),
    ],
    ['a path as digest', /items\.0\.digest/, (l) => Object.assign(l.items[0] ?? {}, { digest: 'sha256:../../etc/passwd' })],
    ['a negative size', /items\.0\.size/, (l) => Object.assign(l.items[0] ?? {}, { size: -1 })],
    ['a size with a fraction', /items\.0\.size/, (l) => Object.assign(l.items[0] ?? {}, { size: 1.5 })],
    ['a size beyond what JSON carries', /items\.0\.size/, (l) => Object.assign(l.items[0] ?? {}, { size: 2 ** 53 })],
    ['a time without a zone', /not a time/, (l) => Object.assign(l.items[0] ?? {}, { resolvedAt: '2026-11-21T08:00:00' })],
    ['a time that is none', /not a time/, (l) => Object.assign(l.items[0] ?? {}, { resolvedAt: '2026-13-41T28:00:00Z' })],
    ['a short reference', /not a full reference/, (l) => Object.assign(l.items[0] ?? {}, { ref: 'redis:7' })],
    ['a reference that is none', /not a full reference/, (l) => Object.assign(l.items[0] ?? {}, { ref: 'docker.io/UPPER/x:1' })],
    [
      'an origin that is not the reference’s',
      /origin is ghcr\.io/,
      (l) => Object.assign(l.items[0] ?? {}, { origin: 'ghcr.io' }),
    ],
    ['one reference twice', /is locked twice/, (l) => l.items.push(l.items[0] as Record<string, unknown>)],
    ['a key that steers a terminal', /"\\u\{1b\}\[31m"$/, (l) => Object.assign(l, { '\u001b[31m': 1 })],
    ['a key without end', /^.{1,400}$/, (l) => Object.assign(l, { ['x'.repeat(100_000)]: 1 })],
    ['another form', /items\.0\.form/, (l) => Object.assign(l.items[0] ?? {}, { form: 'half' })],
    ['no platform asked for', /items\.0\.asked/, (l) => Object.assign(l.items[0] ?? {}, { asked: [] })],
    ['a list of URLs that is no list', /lists/, (l) => Object.assign(l, { lists: 'x' })],
  ];
  for (const [name, message, change] of faults) {
    test(`${name} is E_LOCK with the file and the place`, () => {
      const json = JSON.parse(Buffer.from(encodeLockFile(lock(item(A)))).toString()) as Loose;
      change(json);
      const error = throwsWith(() => parseLockFile(Buffer.from(JSON.stringify(json)), 'lumen.lock.json'), 'E_LOCK', message);
      assert.match(error.message, /^lumen\.lock\.json: /);
      assert.match(error.hint ?? '', /bundle lock/);
    });
  }

  for (const [name, text] of [
    ['nothing', ''],
    ['half a file', '{"lockVersion": 1, "name"'],
    ['a merge conflict', '<<<<<<< HEAD\n{}\n=======\n'],
    ['a list', '[]'],
    ['a key twice', '{"lockVersion":1,"lockVersion":1,"name":"x","items":[]}'],
    ['bytes that are not UTF-8', Buffer.from([0x7b, 0xff, 0x7d])],
  ] as const)
    test(`${name} is E_LOCK`, () => {
      throwsWith(() => parseLockFile(Buffer.from(text as string), 'l'), 'E_LOCK', /^l/);
    });
});
