import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseStatement } from '../../../src/bundle/statement.ts';
import { digestOf } from '../../../src/core/digest.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { parsePlatform } from '../../../src/core/platform.ts';
import { parseReference } from '../../../src/core/reference.ts';
import type { LockItem } from '../../../src/lock/lock-file.ts';
import type { Manifest } from '../../../src/manifest/manifest.ts';
import { blobsOf, contentOf, displayName, draftGeneration, encodeLayoutIndex } from '../../../src/pull/contents.ts';
import { jobsOf } from '../../../src/pull/fetch.ts';
import type { PlannedItem } from '../../../src/pull/plan.ts';
import { throwsWith } from '../../support/assert-code.ts';

const digest = digestOf(Buffer.from('root'));
const blob = (text: string) => ({
  mediaType: 'application/octet-stream',
  digest: digestOf(Buffer.from(text)),
  size: text.length,
});
const target = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 4 };

function planned(ref: string, blobs: string[], more: Partial<PlannedItem['entry']> = {}): PlannedItem {
  const item: LockItem = {
    kind: 'image',
    ref,
    origin: parseReference(ref).origin,
    digest,
    mediaType: target.mediaType,
    size: 4,
    resolvedAt: '2026-11-21T08:00:00Z',
    asked: 'all',
    platforms: ['linux/arm64', 'linux/amd64', 'linux/arm64'].map((platform) => ({ platform, digest, size: 4 })),
    targetDigest: digest,
    form: 'whole',
  };
  const manifest = { kind: 'manifest', mediaType: target.mediaType, config: blob('config'), layers: [] } as const;
  return {
    entry: { ref: parseReference(ref), text: ref, platforms: 'all', aliases: [], where: 'x:1:1', ...more },
    item,
    target,
    manifests: [{ descriptor: target, bytes: Buffer.from('root'), manifest }],
    blobs: blobs.map(blob),
    evidence: [],
  };
}

const manifest: Manifest = {
  name: 'lumen',
  platforms: [parsePlatform('linux/arm64'), parsePlatform('linux/amd64')],
  images: [],
  imageLists: [],
};
const draft = (items: PlannedItem[], more: Partial<Manifest> = {}) =>
  draftGeneration({
    manifest: { ...manifest, ...more },
    lock: { lockVersion: 1, name: 'lumen', items: items.map((i) => i.item) },
    items,
    sequence: 7,
    created: '2026-11-21T08:00:00Z',
    tool: 'bundle 0',
  });

describe('index.json of a bundle', () => {
  test('a root is shown by its tag, without a digest behind it; by digest where it has no tag', () => {
    assert.equal(displayName('docker.io/library/redis:7'), 'docker.io/library/redis:7');
    assert.equal(displayName(`docker.io/library/redis:7@${digest}`), 'docker.io/library/redis:7');
    assert.equal(displayName(`docker.io/library/redis@${digest}`), `docker.io/library/redis@${digest}`);
  });

  test('has one descriptor a reference, sorted by name, with both annotations that tools look for', () => {
    const index = JSON.parse(
      Buffer.from(encodeLayoutIndex([planned('quay.io/b/c:1', []), planned('docker.io/a/b:1', [])])).toString(),
    );
    assert.deepEqual(
      index.manifests.map((m: { annotations: object }) => m.annotations),
      ['docker.io/a/b:1', 'quay.io/b/c:1'].map((name) => ({
        'io.containerd.image.name': name,
        'org.opencontainers.image.ref.name': name,
      })),
    );
  });
});

describe('draft of a generation', () => {
  test('is the same bytes in whatever order the items come', () => {
    const items = [planned('docker.io/a/b:1', ['x', 'yy']), planned('quay.io/b/c:1', ['yy', 'zzz'])];
    const [one, two] = [draft(items), draft(items.toReversed())];
    assert.deepEqual(one.files, two.files);
  });

  test('lists each blob once, counts shared ones in full per reference, and is a statement that can be read', () => {
    const items = [planned('docker.io/a/b:1', ['x', 'yy']), planned('quay.io/b/c:1', ['yy', 'zzz'])];
    const { predicate } = parseStatement(draft(items).statementBytes, 's');
    assert.equal(predicate.blobs.length, 4);
    assert.deepEqual(
      predicate.contents.map((c) => c.size),
      [4 + 1 + 2, 4 + 2 + 3],
    );
    assert.deepEqual(
      predicate.files.map((f) => f.name),
      ['lock.json', 'oci-layout', 'trusted_root.json'],
    );
    assert.deepEqual(predicate.platforms, ['linux/amd64', 'linux/arm64']);
  });

  test('expires that long after it was made, and never where nothing is said', () => {
    assert.equal(
      draft([planned('docker.io/a/b:1', [])], { expiresMs: 12 * 3_600_000 }).predicate.expires,
      '2026-11-21T20:00:00Z',
    );
    assert.equal(draft([planned('docker.io/a/b:1', [])]).predicate.expires, undefined);
  });

  test('is refused when no reader would take it', () => {
    const image = planned('docker.io/a/b:1', []);
    const [graph, evidence] = [
      { manifests: image.manifests, blobs: [] },
      { subject: digest, mediaType: 'x/y', size: 4 },
    ];
    const many = Array.from({ length: LIMITS.contentEvidence + 1 }, (_, i) => ({
      evidence: { ...evidence, digest: digestOf(Buffer.from(`${i}`)) },
      graph,
    }));
    const error = throwsWith(() => draft([{ ...image, evidence: many }]), 'E_STATEMENT', /which is not committed/);
    assert.ok(error.hint);
    assert.ok(draft([{ ...image, evidence: many.slice(1) }]));
    const long = planned('docker.io/a/b:1', []);
    const verbose = { ...long, item: { ...long.item, mediaType: 'x'.repeat(LIMITS.statementBytes) } };
    throwsWith(() => draft([verbose]), 'E_LIMIT', /bundle\.json of generation 7/);
  });

  test('a content has its platforms once and its aliases sorted', () => {
    const aliases = [
      { repository: 'z', tag: '1' },
      { repository: 'a', tag: '2' },
    ];
    const content = contentOf(planned('docker.io/a/b:1', [], { aliases }));
    assert.deepEqual(content.platforms, ['linux/amd64', 'linux/arm64']);
    assert.deepEqual(content.aliases, ['a:2', 'z:1']);
  });
});

describe('jobs', () => {
  test('one a digest, with every repository that lists it as a place to come from', () => {
    const items = [planned('docker.io/a/b:1', ['x']), planned('docker.io/a/b:2', ['x']), planned('quay.io/b/c:1', ['x'])];
    const jobs = jobsOf(items);
    assert.equal(jobs.size, blobsOf(items).length);
    assert.deepEqual(
      jobs.get(blob('x').digest)?.places.map((p) => `${p.origin}/${p.repository}`),
      ['docker.io/a/b', 'quay.io/b/c'],
    );
  });

  test('manifests bring their bytes along and are not fetched again', () => {
    assert.equal(
      jobsOf([planned('docker.io/a/b:1', ['x'])])
        .get(digest)
        ?.bytes?.toString(),
      'root',
    );
    assert.equal(jobsOf([planned('docker.io/a/b:1', ['x'])]).get(blob('x').digest)?.bytes, undefined);
  });
});
