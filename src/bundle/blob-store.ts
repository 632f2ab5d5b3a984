import pLimit from 'p-limit';
import type { Descriptor } from '../core/descriptor.ts';
import { algorithmOf, type Digest } from '../core/digest.ts';
import { BundleError, diskError } from '../core/errors.ts';
import { inParallel } from '../core/in-parallel.ts';
import { readAll, requireRight, verified } from '../core/verified.ts';
import { removeFile } from '../files/durable-write.ts';
import type { FileSystem, ReadHandle } from '../files/file-system.ts';
import { readAhead } from '../files/read-ahead.ts';
import { ASIDE_BYTES, type BlobFetch, dropUnsynced, ingest, isWrongContent } from './ingest.ts';
import { BLOBS, blobPath, INGEST } from './layout.ts';

type Blob = Pick<Descriptor, 'digest' | 'size'>;

export type Stored = 'present' | 'resumed' | 'fetched';

/** The one write path and the one read path of blobs (docs/design.md, "Write order"). */
export interface BlobStore {
  /** Size of the file under the blob's name, or undefined. Says nothing of its content. */
  size(digest: Digest): Promise<number | undefined>;
  /** Makes sure that the blob is there with the right bytes; `trusted` blobs (of a committed generation) are believed by size, others hashed again. */
  ensure(blob: Blob, trusted: boolean, fetch: BlobFetch, onBytes?: (count: number) => void): Promise<Stored>;
  /** Whether a blob is there and right, without fetching it; a wrong one is removed. */
  check(blob: Blob, trusted: boolean): Promise<boolean>;
  /** Hashes while reading and throws before the end is reported. @throws BundleError E_MISSING, E_SIZE, E_DIGEST */
  read(blob: Blob): AsyncIterable<Uint8Array>;
  /** Hashes the whole, in a thread of its own where that is worth it. @throws BundleError E_MISSING, E_SIZE, E_DIGEST */
  verify(blob: Blob, onBytes?: (count: number) => void): Promise<void>;
  /** A part, or the whole, without hashing: for who hashes himself. @throws BundleError E_MISSING, E_SIZE */
  readPart(blob: Blob, start: number, end: number): AsyncIterable<Uint8Array>;
  readWhole(blob: Blob, maxBytes: number): Promise<Buffer>;
  list(): Promise<Digest[]>;
  remove(digest: Digest): Promise<void>;
  /** fsync of blobs written by this run and of the directories that hold them: before the commit point. */
  sync(blobs: readonly Blob[]): Promise<void>;
  /** Waits for the syncs that the store began by itself: before the lock on the directory is let go. */
  idle(): Promise<void>;
  /** Removes downloads that nothing wants any more. */
  clearIngest(): Promise<void>;
}

/** At once: journals gather them, and a disk that waits for each alone takes as many times longer. */
const SYNCS = 4;

/** While blobs still come: the disk is at work, and threads are left for reading. */
const EARLY_SYNCS = 2;

export function createBlobStore(fs: FileSystem, root: string): BlobStore {
  const pathOf = (digest: Digest): string => `${root}/${blobPath(digest)}`;
  const size = async (digest: Digest): Promise<number | undefined> => {
    const stat = await fs.stat(pathOf(digest));
    if (stat === undefined) return undefined;
    if (stat.kind !== 'file')
      throw new BundleError('E_NOT_REGULAR', `${pathOf(digest)} is not a regular file`, { origin: 'bundle' });
    return stat.size;
  };

  async function check(blob: Blob, trusted: boolean): Promise<boolean> {
    const found = await size(blob.digest);
    if (found === undefined) return false;
    if (found === blob.size && (trusted || (await isIntact(blob)))) return true;
    await removeFile(fs, pathOf(blob.digest));
    return false;
  }

  async function isIntact(blob: Blob): Promise<boolean> {
    try {
      await verify(blob);
      return true;
    } catch (error) {
      if (isWrongContent(error)) return false;
      throw error;
    }
  }

  const read = (blob: Blob): AsyncIterable<Uint8Array> =>
    verified(readPart(blob, 0, blob.size), blob, `blob ${blob.digest}`, 'bundle');

  /** @throws BundleError E_MISSING, E_SIZE */
  async function open(blob: Blob): Promise<ReadHandle> {
    const path = pathOf(blob.digest);
    if ((await fs.stat(path)) === undefined)
      throw new BundleError('E_MISSING', `blob ${blob.digest} is missing`, { origin: 'bundle', detail: { digest: blob.digest } });
    const handle = await fs.openRead(path);
    if (handle.size === blob.size) return handle;
    await handle.close();
    throw new BundleError('E_SIZE', `blob ${blob.digest}: has ${handle.size} bytes, want ${blob.size}`, { origin: 'bundle' });
  }

  async function* readPart(blob: Blob, start: number, end: number): AsyncGenerator<Uint8Array> {
    try {
      const handle = await open(blob);
      try {
        yield* readAhead(handle, start, end);
      } finally {
        await handle.close();
      }
    } catch (error) {
      // Here, because while it is pushed an EIO of the medium would be taken for one of the network.
      throw diskError(error, `reading blob ${blob.digest}`);
    }
  }

  async function verify(blob: Blob, onBytes: (count: number) => void = () => undefined): Promise<void> {
    const aside = blob.size < ASIDE_BYTES ? undefined : await digestAside(blob, onBytes);
    if (aside === undefined) for await (const chunk of read(blob)) onBytes(chunk.length);
    else requireRight(blob, aside, `blob ${blob.digest}`, 'bundle');
  }

  /** undefined where the file system has no threads for it. */
  async function digestAside(blob: Blob, onBytes: (count: number) => void): Promise<Blob | undefined> {
    try {
      const handle = await open(blob);
      try {
        const algorithm = algorithmOf(blob.digest);
        let size = 0;
        const hex = await handle.digest?.(algorithm, (count) => {
          size += count;
          onBytes(count);
        });
        return hex === undefined ? undefined : { size, digest: `${algorithm}:${hex}` as Digest };
      } finally {
        await handle.close();
      }
    } catch (error) {
      throw diskError(error, `reading blob ${blob.digest}`);
    }
  }

  // Once per run and folder, not for each of a thousand small blobs.
  const made = new Map<string, Promise<void>>();
  const makeDirectory = (path: string): Promise<void> => {
    const pending = made.get(path) ?? fs.mkdir(path);
    made.set(path, pending);
    pending.catch(() => made.delete(path));
    return pending;
  };

  const syncBlob = (digest: Digest): Promise<void> =>
    fs.syncFile(pathOf(digest)).catch((error) => dropUnsynced(fs, pathOf(digest), error));

  /** Blobs of this run that are on their way to the disk before somebody asks for it: `sync` then has little left to wait for. */
  const early = new Map<Digest, Promise<void>>();
  const earlyLimit = pLimit(EARLY_SYNCS);
  const syncEarly = (digest: Digest): void => {
    const done = earlyLimit(() => syncBlob(digest));
    done.catch(() => undefined); // thrown by `sync`
    early.set(digest, done);
  };

  return {
    size,
    check,
    read,
    verify,
    readPart,
    readWhole: (blob, maxBytes) => readAll(read(blob), maxBytes, `blob ${blob.digest}`),
    async ensure(blob, trusted, fetch, onBytes = () => undefined) {
      try {
        if (await check(blob, trusted)) return 'present';
        const stored = await ingest(fs, root, makeDirectory, blob, fetch, onBytes);
        syncEarly(blob.digest);
        return stored;
      } catch (error) {
        throw diskError(error, `storing blob ${blob.digest}`);
      }
    },
    async list() {
      const found: Digest[] = [];
      for (const algorithm of ['sha256', 'sha512']) {
        const directory = `${root}/${BLOBS}/${algorithm}`;
        if ((await fs.stat(directory))?.kind !== 'directory') continue;
        for (const name of await fs.list(directory)) found.push(`${algorithm}:${name}` as Digest);
      }
      return found;
    },
    remove: (digest) => removeFile(fs, pathOf(digest)),
    async sync(blobs) {
      try {
        await inParallel(blobs, SYNCS, ({ digest }) => early.get(digest) ?? syncBlob(digest));
        for (const algorithm of new Set(blobs.map((b) => b.digest.slice(0, 6))))
          await fs.syncDir(`${root}/${BLOBS}/${algorithm}`);
        await fs.syncDir(`${root}/${BLOBS}`);
      } catch (error) {
        throw diskError(error, `writing ${root}/${BLOBS} to the disk`);
      }
    },
    idle: async () => void (await Promise.allSettled(early.values())),
    async clearIngest() {
      const directory = `${root}/${INGEST}`;
      if ((await fs.stat(directory))?.kind !== 'directory') return;
      for (const name of await fs.list(directory)) await removeFile(fs, `${directory}/${name}`);
      await fs.rmdir(directory);
      made.delete(directory);
    },
  };
}
