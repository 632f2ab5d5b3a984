import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Anything that can run something at its end: the context of node:test. */
export type Ending = { after(fn: () => Promise<void> | void): void };

/** A new empty directory that is removed when the test ends. */
export async function tempDir(t: Ending, prefix = 'bundle-test-'): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), prefix));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** The same for code without a test context. */
export async function withTempDir<T>(use: (path: string) => Promise<T>, prefix = 'bundle-test-'): Promise<T> {
  const path = await mkdtemp(join(tmpdir(), prefix));
  try {
    return await use(path);
  } finally {
    await rm(path, { recursive: true, force: true });
  }
}
