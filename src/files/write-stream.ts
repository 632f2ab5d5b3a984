import { write } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { isSystemError } from '../core/errors.ts';

const DESCRIPTORS = { stdout: 1, stderr: 2 } as const;
const AGAIN_MS = 50;

/**
 * Writes all of `bytes` to a standard stream in the thread pool: Node's own streams write to pipes and files in the event loop, where a reader that
 * sleeps (a pager, a log collector) would stop a server.
 */
export async function writeStream(stream: 'stdout' | 'stderr', bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    try {
      done += await writeOnce(DESCRIPTORS[stream], bytes.subarray(done));
    } catch (error) {
      // Somebody who shares the pipe made it non-blocking.
      if (!isSystemError(error, 'EAGAIN')) throw error;
      await setTimeout(AGAIN_MS, undefined, { ref: false });
    }
  }
}

const writeOnce = (descriptor: number, bytes: Uint8Array): Promise<number> =>
  new Promise((resolve, reject) => {
    write(descriptor, bytes, (error, written) => (error ? reject(error) : resolve(written)));
  });
