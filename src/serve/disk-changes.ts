import { dirname } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { diskError } from '../core/errors.ts';
import { removeQuietly, writeFileDurable } from '../files/durable-write.ts';
import type { StoredManifest } from './content.ts';
import { ensureDirectory, makeLink, removeIfThere } from './disk-files.ts';
import { readTag } from './disk-opening.ts';
import { readManifest } from './disk-reading.ts';
import type { DiskStore } from './disk-store.ts';
import { parsedManifest, referrerOf } from './referrer.ts';

/** Makes bytes that `place` puts where they belong a blob of the repository. In the turn of the digest. */
export async function keepBlob(
  store: DiskStore,
  repository: string,
  digest: Digest,
  place: (path: string) => Promise<void>,
): Promise<void> {
  try {
    await place(store.paths.blob(digest));
    await linkBlob(store, repository, digest);
  } catch (error) {
    await dropUnused(store, digest).catch(() => undefined); // the failure that made it necessary is the news
    throw error;
  }
}

/** In the turn of the digest. */
export async function linkBlob({ fs, paths, members, elapsed }: DiskStore, repository: string, digest: Digest): Promise<void> {
  if (members.promise('blobs', repository, digest, elapsed())) return;
  await makeLink(fs, paths.blobLink(repository, digest));
  members.add('blobs', repository, digest, elapsed());
}

/**
 * Takes a blob from the repository. In the turn of the digest. It is gone from memory before anything waits: whoever is told that it is there was
 * told so before.
 * @returns bytes freed on the disk; undefined when the repository has no such blob
 */
export async function dropBlob(store: DiskStore, repository: string, digest: Digest): Promise<number | undefined> {
  const { fs, paths, members } = store;
  const promisedAt = members.remove('blobs', repository, digest);
  if (promisedAt === undefined) return undefined;
  const path = paths.blobLink(repository, digest);
  try {
    await removeIfThere(fs, path);
  } catch (error) {
    members.add('blobs', repository, digest, promisedAt);
    throw error;
  }
  await fs.syncDir(dirname(path));
  return dropUnused(store, digest);
}

/** Removes bytes that no repository has any more, as a blob or as a manifest. In the turn of the digest. @returns bytes freed */
export async function dropUnused({ fs, paths, members }: DiskStore, digest: Digest): Promise<number> {
  if (members.isHeld(digest)) return 0;
  const path = paths.blob(digest);
  const file = await fs.stat(path);
  // Not synced: bytes that a power cut brings back go at the next start.
  return file !== undefined && (await removeIfThere(fs, path)) ? file.size : 0;
}

/** The record comes last: until it is there the manifest is not. In the turns of the repository and the digest. */
export async function keepManifest(store: DiskStore, repository: string, manifest: StoredManifest): Promise<void> {
  const { fs, paths, members, index, elapsed } = store;
  const { digest, mediaType, bytes } = manifest;
  promiseNamed(store, repository, manifest);
  const isNew = !members.promise('manifests', repository, digest, elapsed());
  const known = isNew ? undefined : await readManifest(fs, paths, repository, digest);
  if (known?.mediaType === mediaType && Buffer.compare(known.bytes, bytes) === 0) return;
  const record = paths.record(repository, digest);
  const referrer = referrerOf(manifest);
  const link = referrer && paths.referrer(repository, referrer.subject, digest);
  try {
    await ensureDirectory(fs, dirname(paths.blob(digest)));
    await writeFileDurable(fs, paths.blob(digest), bytes);
    if (link !== undefined) await makeLink(fs, link);
    await ensureDirectory(fs, dirname(record));
    await writeFileDurable(fs, record, Buffer.from(JSON.stringify({ mediaType })));
  } catch (error) {
    if (isNew) {
      for (const path of [record, link]) if (path !== undefined) await removeQuietly(fs, path);
      await dropUnused(store, digest).catch(() => undefined);
    }
    throw error;
  }
  index.forget(digest);
  members.add('manifests', repository, digest, elapsed());
}

/** What a manifest that comes in names stays until the next collection sees the manifest itself. */
function promiseNamed({ members, elapsed }: DiskStore, repository: string, stored: StoredManifest): void {
  for (const digest of namedBy(stored)?.digests ?? []) {
    members.promise('blobs', repository, digest, elapsed());
    members.promise('manifests', repository, digest, elapsed());
  }
}

export type Named = Readonly<{ digests: readonly Digest[]; subject?: Digest }>;

/** What keeps what alive; undefined for bytes that say nothing. */
export function namedBy(stored: StoredManifest): Named | undefined {
  const manifest = parsedManifest(stored);
  if (manifest === undefined) return undefined;
  const children = manifest.kind === 'index' ? manifest.manifests : [manifest.config, ...manifest.layers];
  const subject = manifest.subject === undefined ? {} : { subject: manifest.subject.digest };
  return { digests: children.map(({ digest }) => digest), ...subject };
}

/** Tags go first: one that points at nothing must not be listed. In the turns of the repository and the digest. @returns as {@link dropBlob} */
export async function dropManifest(store: DiskStore, repository: string, digest: Digest): Promise<number | undefined> {
  const { fs, paths, members } = store;
  if (!members.has('manifests', repository, digest)) return undefined;
  const tags = [...members.tags(repository)].filter(([, target]) => target === digest);
  for (const [tag] of tags) await dropTag(store, repository, tag);
  const promisedAt = members.remove('manifests', repository, digest);
  if (promisedAt === undefined) return undefined;
  const record = paths.record(repository, digest);
  let stored: StoredManifest | undefined;
  try {
    stored = await readManifest(fs, paths, repository, digest);
    await removeIfThere(fs, record);
  } catch (error) {
    members.add('manifests', repository, digest, promisedAt);
    throw error;
  }
  await fs.syncDir(dirname(record));
  const referrer = stored && referrerOf(stored);
  // Not synced: a link to a manifest that is gone says nothing, and goes at the next start.
  if (referrer !== undefined) await removeIfThere(fs, paths.referrer(repository, referrer.subject, digest));
  return dropUnused(store, digest);
}

/** In the turn of the repository. What the tag pointed at before is promised: who has just resolved it may be about to pull. */
export async function setTag(store: DiskStore, repository: string, tag: string, digest: Digest): Promise<void> {
  const { fs, paths, members, index, elapsed } = store;
  const previous = members.tags(repository).get(tag);
  try {
    await writeFileDurable(fs, paths.tag(repository, tag), Buffer.from(digest));
    members.setTag(repository, tag, digest);
  } catch (error) {
    // Replaced, perhaps, and not synced: what the disk says is what holds.
    const target = await readTag(fs, paths, repository, tag).catch(() => previous);
    if (target !== undefined) members.setTag(repository, tag, target);
    throw error;
  } finally {
    index.changed();
  }
  if (previous !== undefined) members.promise('manifests', repository, previous, elapsed());
}

/** In the turn of the repository. @returns false when it was not there */
export async function dropTag(store: DiskStore, repository: string, tag: string): Promise<boolean> {
  const { fs, paths, members, index, elapsed } = store;
  const target = members.tags(repository).get(tag);
  const path = paths.tag(repository, tag);
  try {
    // Damaged ones are not in memory, and go all the same.
    if (!(await removeIfThere(fs, path))) return false;
    members.removeTag(repository, tag);
    index.changed();
    if (target !== undefined) members.promise('manifests', repository, target, elapsed());
    await fs.syncDir(dirname(path));
    return true;
  } catch (error) {
    throw diskError(error, `removing tag ${repository}:${tag}`);
  }
}
