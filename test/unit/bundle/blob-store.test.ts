import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createBlobStore } from '../../../src/bundle/blob-store.ts';
import type { BlobFetch } from '../../../src/bundle/ingest.ts';
import { blobPath, ingestPath } from '../../../src/bundle/layout.ts';
import { BundleError } from '../../../src/core/errors.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { type Change, createFaultFileSystem, type Errno } from '../../support/fault-file-system.ts';
import { disk } from '../../support/journey.ts';
import { syntheticBlob, type TestBlob } from '../../support/random-image.ts';
import { tempDir } from '../../support/temp-dir.ts';

const MIB = 1024 * 1024;
const LOST = [
  ['EIO', 'E_DISK'],
  ['ENOSPC', 'E_DISK_FULL'],
] as const;
const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

const fetchOf = (blob: TestBlob): BlobFetch =>
  async function* (from) {
    yield* blob.read(from, blob.size);
  };

/** The disk fails at the first change of that kind that a store of this blob meets. */
async function failingAt(change: Change, code: Errno, blob: TestBlob, directory: string) {
  const counting = createFaultFileSystem(disk);
  await storeIn(join(directory, 'counted'), blob, counting);
  const at = counting.operations.findIndex((operation) => operation.change === change) + 1;
  assert.ok(at > 0, `no ${change}`);
  return createFaultFileSystem(disk, { fail: code, at });
}

async function storeIn(root: string, blob: TestBlob, fs = disk, fetch = fetchOf(blob)) {
  const store = createBlobStore(fs, root);
  const stored = await store.ensure(blob, false, fetch);
  await store.sync([blob]);
  return stored;
}

async function requireWhole(root: string, blob: TestBlob): Promise<void> {
  let size = 0;
  for await (const chunk of createBlobStore(disk, root).read(blob)) size += chunk.length;
  assert.equal(size, blob.size);
}

describe('bytes that an fsync lost are removed, since the next run would find them right in memory', () => {
  for (const [errno, code] of LOST) {
    test(`${errno} of a blob that is in place: it goes, and the rerun fetches it whole`, async (t) => {
      const directory = await tempDir(t);
      const root = join(directory, 'bundle');
      const blob = syntheticBlob(1, 3 * MIB);
      const fs = await failingAt('syncFile', errno, blob, directory);
      await rejectsWith(storeIn(root, blob, fs), code);
      assert.equal(fs.struck, 1);
      assert.equal(await isThere(join(root, blobPath(blob.digest))), false);
      assert.equal(await storeIn(root, blob), 'fetched');
      await requireWhole(root, blob);
    });

    test(`${errno} while a large blob comes: the part goes, even when the connection breaks too, and the rerun begins at 0`, async (t) => {
      const directory = await tempDir(t);
      const root = join(directory, 'bundle');
      const blob = syntheticBlob(2, 34 * MIB);
      const fs = await failingAt('sync', errno, blob, directory);
      const breaking: BlobFetch = async function* () {
        yield* blob.read(0, 33 * MIB);
        throw new BundleError('E_NETWORK', 'the connection broke');
      };
      await rejectsWith(storeIn(root, blob, fs, breaking), code);
      assert.equal(fs.struck, 1);
      const part = join(root, ingestPath(blob.digest));
      assert.ok(fs.operations.some(({ change, path }) => change === 'close' && path === part));
      assert.equal(await isThere(part), false);
      assert.equal(await storeIn(root, blob), 'fetched');
      await requireWhole(root, blob);
    });
  }

  test('a part that no fsync lost is gone on from', async (t) => {
    const root = await tempDir(t);
    const blob = syntheticBlob(3, 2 * MIB);
    const breaking: BlobFetch = async function* () {
      yield* blob.read(0, MIB);
      throw new BundleError('E_NETWORK', 'the connection broke');
    };
    await rejectsWith(storeIn(root, blob, disk, breaking), 'E_NETWORK');
    assert.equal(await storeIn(root, blob), 'resumed');
    await requireWhole(root, blob);
  });
});

test('a document larger than the memory that is used again for reading is read whole and right', async (t) => {
  const root = await tempDir(t);
  const blob = syntheticBlob(4, 5 * MIB + 3);
  await storeIn(root, blob);
  const read = await createBlobStore(disk, root).readWhole(blob, blob.size);
  assert.equal(Buffer.compare(read, Buffer.concat([...blob.read(0, blob.size)])), 0);
});
