import { isDigest } from '../core/digest.ts';
import { diskError } from '../core/errors.ts';
import type { FileSystem } from '../files/file-system.ts';
import { createBlobStore } from './blob-store.ts';
import { pruneGenerations } from './generation.ts';

/**
 * Keeps the newest `keep` generations and the blobs they list; removes older generations first, then blobs that nothing lists any more. Runs under
 * the directory lock and only after a commit, so a blob that a running pull still needs is never among them.
 */
export async function collectGarbage(
  fs: FileSystem,
  root: string,
  keep: number,
): Promise<{ generations: number[]; blobs: number }> {
  try {
    const { removed, listed } = await pruneGenerations(fs, root, keep);
    const store = createBlobStore(fs, root);
    let blobs = 0;
    for (const digest of await store.list()) {
      if (!isDigest(digest) || listed.has(digest)) continue;
      await store.remove(digest);
      blobs++;
    }
    return { generations: removed, blobs };
  } catch (error) {
    throw diskError(error, `removing old content of ${root}`);
  }
}
