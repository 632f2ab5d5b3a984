import { randomUUID } from 'node:crypto';
import { dirname } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { diskError } from '../core/errors.ts';
import { removeQuietly } from '../files/durable-write.ts';
import type { FileSystem, WriteHandle } from '../files/file-system.ts';
import type { Staging } from './content.ts';
import { ensureDirectory } from './disk-files.ts';

/** Sockets give 64 KiB at a time; a quarter of the system calls, and small uploads stay cheap. */
const BUFFER_BYTES = 256 * 1024;

/** Bytes of `path` from `start` to `end`, opened when the first chunk is asked for. */
export async function* readFileRange(fs: FileSystem, path: string, start?: number, end?: number): AsyncGenerator<Uint8Array> {
  const handle = await fs.openRead(path);
  try {
    yield* handle.read(start, end);
  } finally {
    await handle.close();
  }
}

/** Gathers small chunks and writes one buffer while the other fills. */
function createGatherer(handle: WriteHandle) {
  let [filling, spare]: [Buffer?, Buffer?] = [];
  let filled = 0;
  let writing: Promise<void> = Promise.resolve();
  const turnOver = async (): Promise<void> => {
    await writing;
    if (filling === undefined || filled === 0) return;
    writing = handle.write(filling.subarray(0, filled));
    writing.catch(() => undefined); // reported by the next `await writing`
    [filling, spare] = [spare, filling];
    filled = 0;
  };
  return {
    async write(chunk: Uint8Array): Promise<void> {
      for (let done = 0; done < chunk.length; ) {
        filling ??= Buffer.allocUnsafeSlow(BUFFER_BYTES);
        const part = chunk.subarray(done, done + BUFFER_BYTES - filled);
        filling.set(part, filled);
        filled += part.length;
        done += part.length;
        if (filled === BUFFER_BYTES) await turnOver();
      }
    },
    async flush(): Promise<void> {
      await turnOver();
      await writing;
    },
  };
}

/** Stores the finished bytes: calls `place` with the path that they get, on the same file system. */
export type Keep = (repository: string, digest: Digest, place: (path: string) => Promise<void>) => Promise<void>;

/** An upload in a file of its own under `directory`. @throws BundleError E_DISK, E_DISK_FULL */
export async function createDiskStaging(fs: FileSystem, directory: string, keep: Keep): Promise<Staging> {
  const path = `${directory}/${randomUUID()}`;
  const handle = await fs.create(path);
  const gatherer = createGatherer(handle);
  const guarded = async <T>(what: string, step: () => Promise<T>): Promise<T> => {
    try {
      return await step();
    } catch (error) {
      throw diskError(error, what);
    }
  };
  return {
    write: (chunk) => guarded('writing an upload', () => gatherer.write(chunk)),
    async *read() {
      await guarded('writing an upload', gatherer.flush);
      yield* readFileRange(fs, path);
    },
    commit: (repository, digest) =>
      guarded(`storing blob ${digest}`, async () => {
        await gatherer.flush();
        await handle.sync();
        await handle.close();
        // The rename goes over an equal file when two uploads race, over a damaged one when it is pushed again.
        await keep(repository, digest, async (place) => {
          await ensureDirectory(fs, dirname(place));
          await fs.rename(path, place);
          await fs.syncDir(dirname(place));
        });
      }),
    async discard() {
      await gatherer.flush().catch(() => undefined); // the write may be what failed
      await handle.close().catch(() => undefined); // closed already when commit failed half-way
      await removeQuietly(fs, path);
    },
  };
}
