import type { WriteHandle } from './file-system.ts';

/** The disk begins with the first of many MiB while the rest still comes; the fsync before the commit then has little left to wait for. */
const STEP_BYTES = 32 * 1024 * 1024;

/** Brings a file to the disk beside its being written: one fsync at a time, whenever enough has come. */
export function createFlusher(handle: WriteHandle) {
  let unflushed = 0;
  let flushing: Promise<void> | undefined;
  let failure: { error: unknown } | undefined;
  return {
    wrote(bytes: number): void {
      unflushed += bytes;
      if (unflushed < STEP_BYTES || flushing !== undefined) return;
      unflushed = 0;
      flushing = handle.sync().finally(() => {
        flushing = undefined;
      });
      flushing.catch((error: unknown) => {
        failure ??= { error };
      });
    },
    /** Before the file is closed. @throws what an fsync threw: Linux says so once, a later one would say that all is well */
    async end(): Promise<void> {
      await flushing?.catch(() => undefined);
      if (failure !== undefined) throw failure.error;
    },
  };
}
