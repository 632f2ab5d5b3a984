import { isDigest } from '../core/digest.ts';
import { diskError } from '../core/errors.ts';
import { readFileRange } from './blob-stream.ts';
import type { StoredBlob } from './content.ts';
import { dropBlob, dropManifest, dropUnused } from './disk-changes.ts';
import { ensureDirectory } from './disk-files.ts';
import { readManifest } from './disk-reading.ts';
import type { DiskStore } from './disk-store.ts';
import type { Collectable, Collected } from './garbage.ts';
import type { Scrubbable } from './scrub.ts';

/** What `stats` says of the work in the background. */
export type CollectionNotes = { damaged: number; collection: (Collected & Readonly<{ at: number }>) | undefined };

/** A registry directory as garbage collection sees it. */
export function diskCollectable(store: DiskStore, notes: CollectionNotes): Collectable {
  const { fs, paths, members, inTurn, now, elapsed, warn } = store;
  const promisedAfter = (at: number | undefined, since: number): boolean => at === undefined || at > since;
  return {
    now,
    elapsed,
    warn,
    alone: (task) =>
      inTurn('garbage collection', async () => {
        try {
          return await task();
        } catch (error) {
          throw diskError(error, 'collecting garbage');
        }
      }),
    repositories: () => members.repositories(),
    manifests: (repository) => members.all('manifests', repository),
    blobs: (repository) => members.all('blobs', repository),
    tagged: (repository) => new Set(members.tags(repository).values()),
    read: (repository, digest) => readManifest(fs, paths, repository, digest),
    storedAt: async (repository, digest) => (await fs.stat(paths.record(repository, digest)))?.mtimeMs ?? 0,
    dropManifest: (repository, digest, since) =>
      inTurn(repository, () =>
        inTurn(digest, async () => {
          const isTagged = [...members.tags(repository).values()].includes(digest);
          if (isTagged || promisedAfter(members.all('manifests', repository).get(digest), since)) return undefined;
          return dropManifest(store, repository, digest);
        }),
      ),
    dropBlob: (repository, digest, since) =>
      inTurn(digest, async () => {
        if (promisedAfter(members.all('blobs', repository).get(digest), since)) return undefined;
        return dropBlob(store, repository, digest);
      }),
    async dropUnheld() {
      let bytes = 0;
      for await (const digest of storedDigests(store)) {
        // Asked again in the turn: what is being stored just now is not held yet.
        if (!members.isHeld(digest)) bytes += await inTurn(digest, () => dropUnused(store, digest));
      }
      return { manifests: 0, blobs: 0, bytes };
    },
    collected: (result) => {
      notes.collection = { ...result, at: now() };
    },
  };
}

/** A registry directory as the scrub sees it. */
export function diskScrubbable(store: DiskStore, notes: CollectionNotes): Scrubbable {
  const { fs, paths, inTurn, warn } = store;
  /** Which file it was: a push replaces the file. */
  const seen = new WeakMap<StoredBlob, number>();
  return {
    warn,
    digests: () => storedDigests(store),
    async open(digest) {
      const path = paths.blob(digest);
      const file = await fs.stat(path);
      if (file?.kind !== 'file') return undefined;
      const blob: StoredBlob = { size: file.size, open: (start, end) => readFileRange(fs, path, start, end) };
      seen.set(blob, file.mtimeMs);
      return blob;
    },
    setAside: (digest, blob) =>
      inTurn(digest, async () => {
        const file = await fs.stat(paths.blob(digest));
        if (file === undefined || file.size !== blob.size || file.mtimeMs !== seen.get(blob)) return false;
        await ensureDirectory(fs, paths.aside);
        await fs.rename(paths.blob(digest), paths.damaged(digest));
        notes.damaged++;
        return true;
      }),
  };
}

async function* storedDigests({ fs, paths }: DiskStore) {
  for (const algorithm of ['sha256', 'sha512']) {
    const directory = `${paths.blobs}/${algorithm}`;
    if ((await fs.stat(directory))?.kind !== 'directory') continue;
    for (const hex of await fs.list(directory)) {
      const digest = `${algorithm}:${hex}`;
      if (isDigest(digest)) yield digest;
    }
  }
}
