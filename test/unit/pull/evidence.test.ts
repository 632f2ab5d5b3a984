import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createBlobStore } from '../../../src/bundle/blob-store.ts';
import type { Descriptor } from '../../../src/core/descriptor.ts';
import { type Digest, digestOf } from '../../../src/core/digest.ts';
import type { Evidence } from '../../../src/core/evidence.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { legacyTag } from '../../../src/cosign/legacy.ts';
import { nodeFileSystem } from '../../../src/files/node-file-system.ts';
import type { LockItem } from '../../../src/lock/lock-file.ts';
import { createEvidenceBlobReader, createEvidencePlanner } from '../../../src/pull/evidence.ts';
import type { RegistryClient } from '../../../src/registry/client.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { tempDir } from '../../support/temp-dir.ts';

const OCI = 'application/vnd.oci.image.manifest.v1+json';
const GIB = 1024 ** 3;
const SUBJECT = digestOf(Buffer.from('image'));
const blob = (name: string, size: number): Descriptor => ({
  mediaType: 'application/octet-stream',
  digest: digestOf(Buffer.from(name)),
  size,
});

function manifestOf(number: number, layers: readonly Descriptor[], pad = 0): Buffer {
  const subject = { mediaType: OCI, digest: SUBJECT, size: 5 };
  const annotations = { number: String(number), pad: 'x'.repeat(pad) };
  return Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: OCI, config: blob('config', 2), layers, subject, annotations }),
  );
}

/** A planner over manifests at hand, and how often each was read. */
function planning(manifests: readonly Buffer[], tag?: string) {
  const bytes = new Map(manifests.map((m) => [digestOf(m), m]));
  const reads: Digest[] = [];
  const plan = createEvidencePlanner(async (_origin, _repository, { digest, mediaType }) => {
    reads.push(digest);
    return { digest, mediaType, bytes: bytes.get(digest) as Buffer };
  }, NO_NETWORK);
  const evidence = [...bytes].map(
    ([digest, { length }]): Evidence => ({
      subject: SUBJECT,
      ...(tag === undefined ? {} : { tag }),
      digest,
      mediaType: OCI,
      size: length,
    }),
  );
  const item = (name: string): LockItem => ({
    kind: 'image',
    ref: `docker.io/team/${name}`,
    origin: 'docker.io',
    digest: SUBJECT,
    mediaType: OCI,
    size: 5,
    resolvedAt: '2026-11-21T08:00:00Z',
    asked: 'all',
    platforms: [],
    targetDigest: SUBJECT,
    form: 'whole',
    evidence,
    evidenceAt: '2026-11-21T08:00:00Z',
  });
  return { plan, reads, item };
}

const NO_NETWORK = new Proxy({} as RegistryClient, {
  get: (_, name) => assert.fail(`the network is asked: ${String(name)}`),
});

describe('evidence of one image', () => {
  test('whose manifests have more bytes than the limit is E_LIMIT, and the rest is not read', async () => {
    const { plan, reads, item } = planning(Array.from({ length: 20 }, (_, i) => manifestOf(i, [], 3_900_000)));
    const error = await rejectsWith(plan(item('app:1')), 'E_LIMIT', /team\/app:1: manifests of signatures/);
    assert.match(error.hint ?? '', /"evidence: none"/);
    assert.equal(reads.length, Math.ceil(LIMITS.imageEvidenceBytes / 3_900_000));
  });

  test('is read once for all references of one repository', async () => {
    const { plan, reads, item } = planning([manifestOf(1, []), manifestOf(2, [])]);
    const [one, two] = [await plan(item('app:1')), await plan(item('app:2'))];
    assert.equal(reads.length, 2);
    assert.equal(one[0]?.graph, two[0]?.graph);
  });

  test('with a blob as large as an image is E_LIMIT, which names the tag and the way out', async () => {
    const tag = legacyTag(SUBJECT, 'sbom');
    const { plan, item } = planning([manifestOf(1, [blob('disk', GIB + 1)])], tag);
    const error = await rejectsWith(plan(item('app:1')), 'E_LIMIT', new RegExp(`${tag}: its blob .* 1073741825 bytes`));
    assert.match(error.hint ?? '', /"evidence: none"/);
    const fits = planning([manifestOf(1, [blob('disk', GIB)])], tag);
    assert.equal((await fits.plan(fits.item('app:1'))).length, 1);
  });

  test('whose blobs together are too large is E_LIMIT; a blob that several hold counts once', async () => {
    const disks = [1, 2, 3, 4, 5].map((i) => blob(`disk ${i}`, GIB));
    const apart = planning(disks.map((disk, i) => manifestOf(i, [disk])));
    await rejectsWith(apart.plan(apart.item('app:1')), 'E_LIMIT', /with it blobs of evidence have more/);
    const shared = planning(disks.map((_, i) => manifestOf(i, [disks[0] as Descriptor])));
    assert.equal((await shared.plan(shared.item('app:1'))).length, 5);
  });

  test('that has another size than the lock says is E_LOCK', async () => {
    const { plan, item } = planning([manifestOf(1, [])]);
    const locked = item('app:1');
    const wrong = { ...locked, evidence: locked.evidence?.map((e) => ({ ...e, size: e.size + 1 })) };
    await rejectsWith(plan(wrong), 'E_LOCK', /the lock says/);
  });
});

describe('blobs of signatures that were read to be verified', () => {
  test('are kept for the fetch up to a limit, and read again beyond it', async (t) => {
    const content = (name: string): Buffer => Buffer.alloc(64 * 1024, name);
    let fetched = 0;
    const client = {
      async *readBlob(_origin: string, _repository: string, { digest }: Pick<Descriptor, 'digest'>) {
        fetched++;
        yield contents.get(digest) as Buffer;
      },
    } as unknown as RegistryClient;
    const count = LIMITS.keptEvidenceBytes / (64 * 1024) + 3;
    const contents = new Map(
      Array.from({ length: count }, (_, i): [Digest, Buffer] => [digestOf(content(`${i} `)), content(`${i} `)]),
    );
    const known = new Map<Digest, Uint8Array>();
    const store = createBlobStore(nodeFileSystem, await tempDir(t, 'bundle-evidence-'));
    const read = createEvidenceBlobReader(client, store, new Map(), known);
    for (const [digest, { length }] of contents) {
      const descriptor = { mediaType: 'application/json', digest, size: length };
      assert.deepEqual(await read('docker.io/team/app:1', descriptor, length), contents.get(digest));
    }
    const bytes = [...known.values()].reduce((sum, { length }) => sum + length, 0);
    assert.deepEqual([bytes, fetched], [LIMITS.keptEvidenceBytes, count]);
  });
});
