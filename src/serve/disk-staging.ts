import { dirname } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { BundleError, diskError } from '../core/errors.ts';
import { removeQuietly } from '../files/durable-write.ts';
import type { FileSystem, WriteHandle } from '../files/file-system.ts';
import { readFileRange } from './blob-stream.ts';
import type { Staging } from './content.ts';
import { ensureDirectory } from './disk-files.ts';
import type { DiskFloor } from './disk-floor.ts';
import { createGatherer } from './disk-gatherer.ts';

/** Stores the finished bytes: calls `place` with the path that they get, on the same file system. */
export type Keep = (repository: string, digest: Digest, place: (path: string) => Promise<void>) => Promise<void>;

export type DiskStagingOptions = Readonly<{
  fs: FileSystem;
  floor: DiskFloor;
  /** The bytes' file, which is there. */
  path: string;
  /** Of the session, where it is to outlive the process. */
  recordPath: string | undefined;
  /** Open at the end of the file; opened when it is first written to otherwise. */
  handle?: WriteHandle;
  keep: Keep;
  /** When it is over, one way or the other. */
  ended: () => void;
}>;

/** An upload in a file of its own. @throws BundleError E_DISK, E_DISK_FULL from all that writes */
export function createDiskStaging({ fs, floor, path, recordPath, handle, keep, ended }: DiskStagingOptions): Staging {
  let opened: Promise<WriteHandle> | undefined = handle && Promise.resolve(handle);
  let isOver = false;
  const open = async (): Promise<WriteHandle> => {
    // A request that is cut off while the server ends: the file may be another process's by now.
    if (isOver) throw new BundleError('E_INTERRUPTED', 'the upload was let go of', { origin: 'host' });
    opened ??= fs.append(path);
    return opened;
  };
  const gatherer = createGatherer(open);
  const coming = floor.announce();
  const over = async (): Promise<void> => {
    if (!isOver) ended();
    isOver = true;
    await coming.set(0);
  };
  const guarded = async <T>(what: string, step: () => Promise<T>): Promise<T> => {
    try {
      return await step();
    } catch (error) {
      throw diskError(error, what);
    }
  };
  const flush = (): Promise<void> => guarded('writing an upload', gatherer.flush);
  const close = async (): Promise<void> => {
    const file = opened;
    opened = undefined;
    await (await file)?.close();
  };
  /** The record first: one without bytes would look like an empty upload. */
  const remove = async (): Promise<void> => {
    if (recordPath !== undefined) await removeQuietly(fs, recordPath);
    await removeQuietly(fs, path);
  };
  return {
    announce: (bytes) => coming.set(bytes),
    write: (chunk) =>
      guarded('writing an upload', async () => {
        await coming.took(chunk.length);
        await gatherer.write(chunk);
      }),
    flush,
    async *read() {
      await flush();
      yield* readFileRange(fs, path);
    },
    commit: (repository, digest) =>
      guarded(`storing blob ${digest}`, async () => {
        await gatherer.flush();
        await (await open()).sync();
        await close();
        // The rename goes over an equal file when two uploads race, over a damaged one when it is pushed again.
        await keep(repository, digest, async (place) => {
          await ensureDirectory(fs, dirname(place));
          await fs.rename(path, place);
          await fs.syncDir(dirname(place));
        });
        if (recordPath !== undefined) await removeQuietly(fs, recordPath);
        await over();
      }),
    async discard() {
      if (isOver) return;
      await gatherer.flush().catch(() => undefined); // the write may be what failed
      await close().catch(() => undefined);
      await remove();
      await over();
    },
    suspend: () =>
      guarded('writing an upload', async () => {
        await gatherer.flush();
        await over();
        await close();
        if (recordPath === undefined) await remove();
      }),
  };
}
