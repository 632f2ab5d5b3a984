/** Blobs large enough to be hashed and written in a thread of their own. */
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { mkdir, open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { createBlobStore, type Stored } from '../../../src/bundle/blob-store.ts';
import { ASIDE_BYTES, type BlobFetch } from '../../../src/bundle/ingest.ts';
import { blobPath, ingestPath } from '../../../src/bundle/layout.ts';
import type { Digest } from '../../../src/core/digest.ts';
import { BundleError } from '../../../src/core/errors.ts';
import { takePiece } from '../../../src/core/piece.ts';
import type { DigestingWriter, FileSystem, WriteHandle } from '../../../src/files/file-system.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { createFaultFileSystem, type Errno, Killed } from '../../support/fault-file-system.ts';
import { disk } from '../../support/journey.ts';
import { type BytesBlob, blobOf, createPrng } from '../../support/random-layer.ts';
import { type Ending, tempDir } from '../../support/temp-dir.ts';

const MIB = 1024 * 1024;
const BYTES = createPrng(7).bytes(5 * MIB + 12_345);
const BLOB = blobOf(BYTES);
const broken = (): BundleError => new BundleError('E_NETWORK', 'the connection broke');

/** In pieces as the network client gives them, which belong to the store from then on. */
function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; ) {
    const piece = takePiece(bytes.length - at);
    piece.set(bytes.subarray(at, at + piece.length));
    at += piece.length;
    yield piece;
  }
}

/** A source of these bytes that notes from where it was asked, and breaks before byte `until`. */
function sourceOf(bytes: Uint8Array, until = Number.POSITIVE_INFINITY): BlobFetch & { readonly asked: number[] } {
  const asked: number[] = [];
  const fetch: BlobFetch = async function* (from) {
    asked.push(from);
    yield* piecesOf(bytes.subarray(from, until));
    if (until <= bytes.length) throw broken();
  };
  return Object.assign(fetch, { asked });
}

async function bench(t: Ending, blob: Pick<BytesBlob, 'digest' | 'size'> = BLOB) {
  const root = await tempDir(t);
  const part = join(root, ingestPath(blob.digest));
  const final = join(root, blobPath(blob.digest));
  return {
    root,
    part,
    final,
    ensure: (fetch: BlobFetch, fs: FileSystem = disk, onBytes?: (count: number) => void): Promise<Stored> =>
      createBlobStore(fs, root).ensure(blob, false, fetch, onBytes),
    /** Sizes of the part and of the blob, where they are there. */
    sizes: (): Promise<(number | undefined)[]> =>
      Promise.all(
        [part, final].map((path) =>
          stat(path)
            .then(({ size }) => size)
            .catch(() => undefined),
        ),
      ),
  };
}

/** The same with every file that is created for writing changed. */
const withCreated = (change: (handle: WriteHandle) => Partial<WriteHandle>): FileSystem => ({
  ...disk,
  async create(path, mode) {
    const handle = await disk.create(path, mode);
    return { ...handle, ...change(handle) };
  },
});

describe('a large blob is stored', () => {
  for (const size of [ASIDE_BYTES - 1, ASIDE_BYTES, ASIDE_BYTES + 1, BYTES.length]) {
    for (const algorithm of ['sha256', 'sha512'] as const) {
      test(`${size} bytes of ${algorithm}: right, told in full, and nothing beside it`, async (t) => {
        const blob = blobOf(BYTES.subarray(0, size), algorithm);
        const { ensure, final, sizes } = await bench(t, blob);
        let told = 0;
        const count = (bytes: number): void => {
          told += bytes;
        };
        assert.equal(await ensure(sourceOf(blob.bytes), disk, count), 'fetched');
        assert.equal(Buffer.compare(await readFile(final), blob.bytes), 0);
        assert.deepEqual(await sizes(), [undefined, size]);
        assert.equal(told, size);
        assert.equal(await ensure(sourceOf(blob.bytes, 0)), 'present');
      });
    }
  }

  test('eight at once, each its own', async (t) => {
    const blobs = Array.from({ length: 8 }, (_, i) => blobOf(BYTES.subarray(i, i + (i + 1) * 400_000)));
    const root = await tempDir(t);
    const store = createBlobStore(disk, root);
    await Promise.all(blobs.map((blob) => store.ensure(blob, false, sourceOf(blob.bytes))));
    for (const { digest, bytes } of blobs) assert.equal(Buffer.compare(await readFile(join(root, blobPath(digest))), bytes), 0);
  });

  test('it really goes through the writer of its own, from its first byte to its last', async (t) => {
    const { ensure } = await bench(t);
    let added = 0;
    const fs = withCreated((handle) => ({
      writeNow: () => assert.fail('here'),
      write: () => assert.fail('here'),
      digesting(algorithm, onWritten) {
        const writer = handle.digesting?.(algorithm, onWritten) as DigestingWriter;
        return {
          ...writer,
          async add(piece) {
            added += piece.length;
            await writer.add(piece);
          },
        };
      },
    }));
    assert.equal(await ensure(sourceOf(BYTES), fs), 'fetched');
    assert.equal(added, BYTES.length);
  });

  test('also where the file system has no threads', async (t) => {
    const { ensure, final } = await bench(t);
    const fs: FileSystem = {
      ...disk,
      async create(path, mode) {
        const { digesting: _, ...handle } = await disk.create(path, mode);
        return handle;
      },
    };
    assert.equal(await ensure(sourceOf(BYTES), fs), 'fetched');
    assert.equal(Buffer.compare(await readFile(final), BYTES), 0);
  });
});

describe('what is not the promised blob leaves nothing behind', () => {
  /** How large the part was when it was removed. */
  async function refused(t: Ending, bytes: Uint8Array, code: 'E_DIGEST' | 'E_SIZE', message: RegExp): Promise<number[]> {
    const { ensure, sizes } = await bench(t);
    const removed: number[] = [];
    const fs: FileSystem = {
      ...disk,
      async unlink(path) {
        removed.push((await stat(path)).size);
        await disk.unlink(path);
      },
    };
    const error = await rejectsWith(ensure(sourceOf(bytes), fs), code, message);
    assert.equal(error.origin, 'source');
    assert.ok(error.message.includes(BLOB.digest));
    assert.deepEqual(await sizes(), [undefined, undefined]);
    return removed;
  }

  test('one wrong byte in the middle: E_DIGEST', async (t) => {
    const wrong = Buffer.from(BYTES);
    wrong[3 * MIB] = (wrong[3 * MIB] as number) ^ 1;
    assert.deepEqual(await refused(t, wrong, 'E_DIGEST', /have digest sha256:/), [BLOB.size]);
  });

  test('too many bytes: E_SIZE, and the disk never held more than was promised', async (t) => {
    const long = Buffer.concat([BYTES, BYTES]);
    const [size = 0, ...more] = await refused(t, long, 'E_SIZE', /more than the promised/);
    assert.deepEqual(more, []);
    assert.ok(size <= BLOB.size, `${size} bytes were on the disk`);
  });

  test('one byte too many, in a piece of its own', async (t) => {
    const { ensure, sizes } = await bench(t);
    const fetch: BlobFetch = async function* () {
      yield* piecesOf(BYTES);
      yield Buffer.from('!');
    };
    await rejectsWith(ensure(fetch), 'E_SIZE', /more than the promised/);
    assert.deepEqual(await sizes(), [undefined, undefined]);
  });

  test('one byte too few: E_SIZE', async (t) => {
    await refused(t, BYTES.subarray(0, -1), 'E_SIZE', new RegExp(`got ${BLOB.size - 1} bytes, want ${BLOB.size}`));
  });

  test('nothing at all: E_SIZE', async (t) => {
    await refused(t, new Uint8Array(), 'E_SIZE', /got 0 bytes/);
  });
});

describe('a download that ends early is gone on from', () => {
  test('a connection that breaks: all that came stays, and the next run asks for what is missing', async (t) => {
    const { ensure, final, sizes } = await bench(t);
    const came = 2 * MIB + 77_777;
    await rejectsWith(ensure(sourceOf(BYTES, came)), 'E_NETWORK');
    assert.deepEqual(await sizes(), [came, undefined]);
    const rest = sourceOf(BYTES);
    let told = 0;
    const count = (bytes: number): void => {
      told += bytes;
    };
    assert.equal(await ensure(rest, disk, count), 'resumed');
    assert.deepEqual(rest.asked, [came]);
    assert.equal(told, BLOB.size);
    assert.equal(Buffer.compare(await readFile(final), BYTES), 0);
    assert.deepEqual(await sizes(), [undefined, BLOB.size]);
  });

  test('it breaks again and again, before the first byte too', async (t) => {
    const { ensure, final, sizes } = await bench(t);
    for (const until of [0, 300_000, 300_001, 3 * MIB, BLOB.size]) {
      await rejectsWith(ensure(sourceOf(BYTES, until)), 'E_NETWORK');
      assert.deepEqual(await sizes(), [until, undefined]);
    }
    const never = sourceOf(BYTES);
    assert.equal(await ensure(never), 'resumed'); // the whole had come
    assert.deepEqual(never.asked, []);
    assert.equal(Buffer.compare(await readFile(final), BYTES), 0);
  });

  test('a part that is damaged, or somebody else’s: it begins anew, once', async (t) => {
    const { ensure, part, final } = await bench(t);
    await mkdir(dirname(part), { recursive: true });
    await writeFile(part, Buffer.alloc(2 * MIB, 'not it'));
    const source = sourceOf(BYTES);
    assert.equal(await ensure(source), 'fetched');
    assert.deepEqual(source.asked, [2 * MIB, 0]);
    assert.equal(Buffer.compare(await readFile(final), BYTES), 0);
  });
});

describe('a disk that fails in the middle of a large blob', () => {
  for (const [errno, code] of [
    ['ENOSPC', 'E_DISK_FULL'],
    ['EIO', 'E_DISK'],
  ] as const satisfies [Errno, string][]) {
    test(`${errno}: ${code}, and the next run goes on from what is there`, async (t) => {
      const { ensure, root, final, sizes } = await bench(t);
      const counting = createFaultFileSystem(disk);
      await createBlobStore(counting, `${root}/counted`).ensure(BLOB, false, sourceOf(BYTES));
      const writes = counting.operations.flatMap(({ change }, i) => (change === 'write' ? [i + 1] : []));
      assert.ok(writes.length > 10, `${writes.length} writes`);
      const fs = createFaultFileSystem(disk, { fail: errno, at: writes[writes.length >> 1] as number });
      await rejectsWith(ensure(sourceOf(BYTES), fs), code);
      assert.equal(fs.struck, 1);
      const [left = 0] = await sizes();
      assert.ok(left > MIB && left < 4 * MIB, `${left} bytes are left`);
      const rest = sourceOf(BYTES);
      assert.equal(await ensure(rest), 'resumed');
      assert.deepEqual(rest.asked, [left]);
      assert.equal(Buffer.compare(await readFile(final), BYTES), 0);
    });
  }

  test('killed in the middle of any write: what is there is the beginning of the blob, and the next run goes on from it', async (t) => {
    const { root } = await bench(t);
    for (const [i, kill] of (['torn', 'before', 'after'] as const).entries()) {
      const directory = join(root, kill);
      const fs = createFaultFileSystem(disk, { kill, at: 8 + i * 4 });
      await assert.rejects(createBlobStore(fs, directory).ensure(BLOB, false, sourceOf(BYTES)), Killed);
      assert.equal(fs.operations.at(-1)?.change, 'write');
      const left = await readFile(join(directory, ingestPath(BLOB.digest)));
      assert.ok(left.length > 0 && left.equals(BYTES.subarray(0, left.length)), kill);
      const rest = sourceOf(BYTES);
      assert.equal(await createBlobStore(disk, directory).ensure(BLOB, false, rest), 'resumed');
      assert.deepEqual(rest.asked, [left.length]);
    }
  });

  test('the thread itself meets the full disk while pieces are on their way', {
    skip: process.platform !== 'linux' && '/dev/full',
  }, async (t) => {
    const { ensure, sizes } = await bench(t);
    const full = await disk.append('/dev/full');
    t.after(() => full.close());
    const fs = withCreated(() => ({ digesting: (algorithm, back) => full.digesting?.(algorithm, back) as DigestingWriter }));
    const error = await rejectsWith(ensure(sourceOf(BYTES), fs), 'E_DISK_FULL', /no space left/);
    assert.ok(error.hint);
    assert.deepEqual(await sizes(), [0, undefined]);
    assert.equal(await ensure(sourceOf(BYTES)), 'fetched');
  });
});

describe('the file is closed when nothing more is written to it', () => {
  test('whatever ended the download, the writer is settled before', async (t) => {
    const wrong = Buffer.alloc(BLOB.size);
    for (const source of [sourceOf(BYTES), sourceOf(BYTES, MIB), sourceOf(wrong), sourceOf(Buffer.concat([BYTES, BYTES]))]) {
      const { ensure } = await bench(t);
      const events: string[] = [];
      const fs = withCreated((handle) => ({
        digesting(algorithm, onWritten) {
          const writer = handle.digesting?.(algorithm, onWritten) as DigestingWriter;
          return {
            ...writer,
            async settled() {
              await writer.settled();
              events.push('settled');
            },
          };
        },
        async close() {
          events.push('close');
          await handle.close();
        },
      }));
      await ensure(source, fs).catch(() => undefined);
      assert.deepEqual(events, ['settled', 'close']);
    }
  });

  test('a hundred downloads that break with pieces on their way write into no file that is opened next', async (t) => {
    const { ensure, root, part } = await bench(t);
    await mkdir(join(root, 'others'));
    for (let round = 0; round < 100; round++) {
      await rejectsWith(ensure(sourceOf(BYTES, 300_000 + round)), 'E_NETWORK');
      const others = [1, 2, 3].map((i) => openSync(join(root, 'others', `${round}-${i}`), 'wx'));
      for (const fd of others) writeSync(fd, 'only this');
      const came = readFileSync(part);
      assert.equal(came.length, 300_000 + round);
      assert.ok(came.equals(BYTES.subarray(0, came.length)));
      await disk.unlink(part); // so that it is in a thread each time
      for (const fd of others) closeSync(fd);
    }
    const names = await readdir(join(root, 'others'));
    assert.equal(names.length, 300);
    for (const name of names) assert.equal(await readFile(join(root, 'others', name), 'utf8'), 'only this', name);
  });
});

describe('a large blob that is there is hashed in a thread', () => {
  async function stored(t: Ending) {
    const { root, final } = await bench(t);
    await createBlobStore(disk, root).ensure(BLOB, false, sourceOf(BYTES));
    return { root, final };
  }
  const verify = (root: string, fs: FileSystem = disk, onBytes?: (count: number) => void): Promise<void> =>
    createBlobStore(fs, root).verify(BLOB, onBytes);
  const withDigest = (digest: () => Promise<string>): FileSystem => ({
    ...disk,
    openRead: async (path) => ({ ...(await disk.openRead(path)), digest }),
  });

  test('right: no error, and all its bytes are told', async (t) => {
    const { root } = await stored(t);
    let told = 0;
    await verify(root, disk, (count) => {
      told += count;
    });
    assert.equal(told, BLOB.size);
  });

  test('one bit turned: E_DIGEST of the bundle, and "check" removes it', async (t) => {
    const { root, final } = await stored(t);
    const handle = await open(final, 'r+');
    await handle.write(Buffer.from([(BYTES[2 * MIB] as number) ^ 1]), 0, 1, 2 * MIB);
    await handle.close();
    const error = await rejectsWith(verify(root), 'E_DIGEST');
    assert.equal(error.origin, 'bundle');
    assert.equal(error.detail.expected, BLOB.digest);
    const store = createBlobStore(disk, root);
    assert.equal(await store.check(BLOB, true), true); // trusted: by its size
    assert.equal(await store.check(BLOB, false), false);
    assert.equal(await store.size(BLOB.digest), undefined);
  });

  test('shorter, longer, or gone: E_SIZE, E_MISSING', async (t) => {
    const { root, final } = await stored(t);
    await writeFile(final, BYTES.subarray(0, -1));
    await rejectsWith(verify(root), 'E_SIZE', /has \d+ bytes, want/);
    await writeFile(final, Buffer.concat([BYTES, Buffer.from('!')]));
    await rejectsWith(verify(root), 'E_SIZE', /has \d+ bytes, want/);
    await disk.unlink(final);
    await rejectsWith(verify(root), 'E_MISSING');
  });

  test('it becomes shorter while it is hashed: E_SIZE', async (t) => {
    const { root, final } = await stored(t);
    const fs: FileSystem = {
      ...disk,
      async openRead(path) {
        const handle = await disk.openRead(path);
        await writeFile(final, BYTES.subarray(0, MIB));
        return handle;
      },
    };
    await rejectsWith(verify(root, fs), 'E_SIZE', /got 1048576 bytes/);
  });

  test('a medium that can’t be read any more: E_DISK, and the file is closed', async (t) => {
    const { root } = await stored(t);
    const failing = withDigest(async () => {
      throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO', errno: -5, syscall: 'read' });
    });
    let closed = 0;
    const fs: FileSystem = {
      ...failing,
      async openRead(path) {
        const handle = await failing.openRead(path);
        return {
          ...handle,
          async close() {
            closed++;
            await handle.close();
          },
        };
      },
    };
    await rejectsWith(verify(root, fs), 'E_DISK', /reading blob/);
    assert.equal(closed, 1);
    // It may be the reader and not the blob: nothing is removed for that.
    await rejectsWith(createBlobStore(fs, root).check(BLOB, false), 'E_DISK');
    assert.equal(await createBlobStore(disk, root).size(BLOB.digest), BLOB.size);
  });

  test('under the name of another algorithm its bytes are not believed', async (t) => {
    const { root } = await stored(t);
    const digest = `sha512:${'0'.repeat(128)}` as Digest;
    await mkdir(dirname(join(root, blobPath(digest))), { recursive: true });
    await writeFile(join(root, blobPath(digest)), BYTES);
    await rejectsWith(createBlobStore(disk, root).verify({ digest, size: BLOB.size }), 'E_DIGEST', /sha512/);
  });
});
