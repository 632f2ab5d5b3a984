import { dirname } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { diskError } from '../core/errors.ts';
import { removeTree, writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import type { StoredManifest, WritableContent } from './content.ts';
import { ensureDirectory, makeLink, removeLink } from './disk-files.ts';
import { type DiskPaths, diskPaths } from './disk-paths.ts';
import { listTags, readDiskContent, readManifest, repositoryNames, tagTarget } from './disk-reading.ts';
import { createDiskStaging } from './disk-staging.ts';
import { createTurns } from './in-turn.ts';
import { referrerOf } from './referrer.ts';

/**
 * A registry's content in the directory `root`, which is made when absent. One process at a time. Bytes go when the last repository that has
 * them deletes them; a kill in between leaves bytes that nobody can reach.
 * @throws BundleError E_DISK
 */
export async function openDiskContent(fs: FileSystem, root: string): Promise<WritableContent> {
  const paths = diskPaths(root);
  try {
    await removeTree(fs, paths.uploads); // sessions do not survive the process, so neither do their bytes
    await ensureDirectory(fs, paths.uploads);
    await ensureDirectory(fs, paths.repositories);
  } catch (error) {
    throw diskError(error, `opening the registry directory ${root}`);
  }
  return writeDiskContent(fs, paths);
}

function writeDiskContent(fs: FileSystem, paths: DiskPaths): WritableContent {
  // A change takes its turn in its repository first, then with the digest: what one deletes another may be linking.
  const inTurn = createTurns();
  const linkBlob = (repository: string, digest: Digest): Promise<void> => makeLink(fs, paths.blobLink(repository, digest));
  return {
    ...readDiskContent(fs, paths),
    stage: () =>
      createDiskStaging(fs, paths.uploads, (repository, digest, place) =>
        inTurn(digest, async () => {
          await place(paths.blob(digest));
          await linkBlob(repository, digest);
        }),
      ),
    mount: (repository, digest, from) =>
      inTurn(digest, async () => {
        const found = await isSomewhere(fs, paths, digest, from);
        if (found) await linkBlob(repository, digest);
        return found;
      }),
    putManifest: (repository, manifest, tags) =>
      inTurn(repository, async () => {
        await inTurn(manifest.digest, () => keepManifest(fs, paths, repository, manifest));
        for (const tag of tags) await writeFileDurable(fs, paths.tag(repository, tag), Buffer.from(manifest.digest));
      }),
    deleteManifest: (repository, digest) =>
      inTurn(repository, () => inTurn(digest, () => dropManifest(fs, paths, repository, digest))),
    deleteTag: (repository, tag) => inTurn(repository, () => removeLink(fs, paths.tag(repository, tag))),
    deleteBlob: (repository, digest) =>
      inTurn(digest, async () => {
        const removed = await removeLink(fs, paths.blobLink(repository, digest));
        if (removed) await dropUnused(fs, paths, digest);
        return removed;
      }),
  };
}

/** Whether repository `from`, or any when undefined, has the blob. */
async function isSomewhere(fs: FileSystem, paths: DiskPaths, digest: Digest, from: string | undefined): Promise<boolean> {
  if ((await fs.stat(paths.blob(digest))) === undefined) return false;
  if (from !== undefined) return (await fs.stat(paths.blobLink(from, digest))) !== undefined;
  for await (const repository of repositoryNames(fs, paths)) {
    if ((await fs.stat(paths.blobLink(repository, digest))) !== undefined) return true;
  }
  return false;
}

/** Removes bytes that no repository has any more, as a blob or as a manifest. */
async function dropUnused(fs: FileSystem, paths: DiskPaths, digest: Digest): Promise<void> {
  for await (const repository of repositoryNames(fs, paths)) {
    for (const path of [paths.blobLink(repository, digest), paths.record(repository, digest)]) {
      if ((await fs.stat(path)) !== undefined) return;
    }
  }
  await removeLink(fs, paths.blob(digest));
}

/** The record comes last: until it is there the manifest is not. */
async function keepManifest(fs: FileSystem, paths: DiskPaths, repository: string, manifest: StoredManifest): Promise<void> {
  const { digest, mediaType, bytes } = manifest;
  const known = await readManifest(fs, paths, repository, digest);
  if (known !== undefined && known.mediaType === mediaType && Buffer.compare(known.bytes, bytes) === 0) return;
  await ensureDirectory(fs, dirname(paths.blob(digest)));
  await writeFileDurable(fs, paths.blob(digest), bytes);
  const referrer = referrerOf(manifest);
  if (referrer !== undefined) await makeLink(fs, paths.referrer(repository, referrer.subject, digest));
  const record = paths.record(repository, digest);
  await ensureDirectory(fs, dirname(record));
  await writeFileDurable(fs, record, Buffer.from(JSON.stringify({ mediaType })));
}

/** Tags go first: one that points at nothing must not be listed. */
async function dropManifest(fs: FileSystem, paths: DiskPaths, repository: string, digest: Digest): Promise<boolean> {
  const stored = await readManifest(fs, paths, repository, digest);
  if (stored === undefined) return false;
  for (const tag of await listTags(fs, paths, repository)) {
    if ((await tagTarget(fs, paths, repository, tag)) === digest) await removeLink(fs, paths.tag(repository, tag));
  }
  await removeLink(fs, paths.record(repository, digest));
  const referrer = referrerOf(stored);
  if (referrer !== undefined) await removeLink(fs, paths.referrer(repository, referrer.subject, digest));
  await dropUnused(fs, paths, digest);
  return true;
}
