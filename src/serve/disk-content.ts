import { diskError } from '../core/errors.ts';
import { type DirectoryLock, lockDirectory } from '../files/directory-lock.ts';
import { sweepTemporary, writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import type { SavedUpload, WritableContent } from './content.ts';
import { type CollectionNotes, diskCollectable, diskScrubbable } from './disk-care.ts';
import { dropBlob, dropManifest, dropTag, keepBlob, keepManifest, linkBlob, setTag } from './disk-changes.ts';
import { ensureDirectory, listSwept } from './disk-files.ts';
import { createDiskFloor } from './disk-floor.ts';
import { openLayoutIndex } from './disk-index.ts';
import { readMembers, requireOwnDirectory } from './disk-opening.ts';
import { type DiskPaths, diskPaths } from './disk-paths.ts';
import { readDiskContent, readMediaType } from './disk-reading.ts';
import type { DiskStore } from './disk-store.ts';
import { createDiskUploads } from './disk-uploads.ts';
import type { Collectable, Collected } from './garbage.ts';
import { createTurns } from './in-turn.ts';
import type { Scrubbable } from './scrub.ts';
import type { Timer } from './timer.ts';

export type DiskOptions = Readonly<{
  /** Take over the lock of a process on another host. */
  breakLock?: boolean;
  /** Shown to whoever finds the directory locked. */
  command?: string;
  /** New uploads and manifests are refused when less would be left free on the file system; default 0. */
  minFreeBytes?: number;
  /** ms since 1970 */
  now?: () => number;
  /** ms on a clock that nobody sets. */
  elapsed?: () => number;
  /** What an operator should know and no client is told. */
  warn?: (message: string) => void;
  /** From a change of a tag to the writing of index.json; default three seconds. */
  indexDelayMs?: number;
  timer?: Timer;
}>;

export type DiskStats = Readonly<{
  repositories: number;
  /** Digests that are a blob, or a manifest, of some repository. */
  blobs: number;
  manifests: number;
  openUploads: number;
  /** On the file system, for an ordinary user. */
  freeBytes: number;
  /** What is to stay free of them. */
  floorBytes: number;
  /** Set aside by the scrub since the start. */
  damaged: number;
  collection: (Collected & Readonly<{ at: number }>) | undefined;
}>;

export interface DiskContent extends WritableContent {
  readonly collectable: Collectable;
  readonly scrubbable: Scrubbable;
  /** Costs one look at the file system. */
  stats(): Promise<DiskStats>;
  /** Writes index.json and lets go of the directory; once. After the server and everything regular has been stopped. @throws BundleError E_DISK */
  close(): Promise<void>;
}

/** image-spec "oci-layout file". */
const LAYOUT = Buffer.from('{"imageLayoutVersion":"1.0.0"}');

/**
 * A registry's content in the directory `root`, which is made when absent: an OCI image layout with the repositories beside it. What a killed
 * process left is swept; bytes are not read. One process at a time.
 * @throws BundleError E_LOCKED, E_USAGE for a directory of other things, E_NOT_REGULAR for links in it, E_DISK, E_DISK_FULL
 */
export async function openDiskContent(fs: FileSystem, root: string, options: DiskOptions = {}): Promise<DiskContent> {
  const { breakLock = false, command = 'registry' } = options;
  let lock: DirectoryLock | undefined;
  try {
    await requireOwnDirectory(fs, root);
    await ensureDirectory(fs, root);
    lock = await lockDirectory(fs, root, { command, breakForeign: breakLock });
    return await openLocked(fs, diskPaths(root), options, lock);
  } catch (error) {
    await lock?.release().catch(() => undefined);
    throw diskError(error, `opening the registry directory ${root}`);
  }
}

async function openLocked(fs: FileSystem, paths: DiskPaths, options: DiskOptions, lock: DirectoryLock): Promise<DiskContent> {
  const { minFreeBytes = 0, now = Date.now, elapsed = () => performance.now() } = options;
  const { warn = () => undefined, indexDelayMs, timer } = options;
  await ensureDirectory(fs, paths.repositories); // first: it is what makes the directory ours
  for (const path of [paths.uploads, paths.blobs]) await ensureDirectory(fs, path);
  await sweepTemporary(fs, `${paths.root}/.`);
  if ((await fs.stat(paths.layout)) === undefined) await writeFileDurable(fs, paths.layout, LAYOUT);
  if ((await fs.stat(`${paths.root}/OCI-LAYOUT`)) !== undefined)
    warn(`${paths.root} does not tell upper from lower case: tags that differ in nothing else become one`);
  await listSwept(fs, paths.aside); // for links: nothing else is done there before a scrub
  const members = await readMembers(fs, paths, elapsed(), warn);
  const index = await openLayoutIndex({
    fs,
    path: paths.index,
    members,
    warn,
    delayMs: indexDelayMs,
    timer,
    async factsOf(repository, digest) {
      const [mediaType, file] = [await readMediaType(fs, paths, repository, digest), await fs.stat(paths.blob(digest))];
      return mediaType === undefined || file?.kind !== 'file' ? undefined : { mediaType, size: file.size };
    },
  });
  const floor = createDiskFloor(fs, paths.root, minFreeBytes, elapsed);
  const store: DiskStore = { fs, paths, members, index, floor, now, elapsed, warn, inTurn: createTurns() };
  const { inTurn } = store;
  const uploads = createDiskUploads({
    fs,
    paths,
    floor,
    keep: (repository, digest, place) => inTurn(digest, () => keepBlob(store, repository, digest, place)),
  });
  let saved: readonly SavedUpload[] = await uploads.saved();
  let closing: Promise<void> | undefined;
  const notes: CollectionNotes = { damaged: 0, collection: undefined };
  return {
    ...readDiskContent(store),
    ...writingSide(store),
    stage: (record) => told('opening an upload', () => uploads.stage(record)),
    async savedUploads() {
      const given = saved;
      saved = [];
      return given;
    },
    collectable: diskCollectable(store, notes),
    scrubbable: diskScrubbable(store, notes),
    async stats() {
      const freeBytes = await told('free space', () => fs.freeBytes(paths.root));
      return { ...members.figures(), ...notes, openUploads: uploads.openCount(), freeBytes, floorBytes: minFreeBytes };
    },
    close() {
      closing ??= told(`closing the registry directory ${paths.root}`, async () => {
        try {
          await index.close();
        } finally {
          await lock.release();
        }
      });
      return closing;
    },
  };
}

type Changes = Pick<WritableContent, 'mount' | 'putManifest' | 'deleteManifest' | 'deleteTag' | 'deleteBlob'>;

function writingSide(store: DiskStore): Changes {
  const { fs, paths, members, inTurn, floor } = store;
  return {
    mount: (repository, digest, from) =>
      told(`mounting ${digest}`, () =>
        inTurn(digest, async () => {
          const isMember = from === undefined ? members.isSomewhere('blobs', digest) : members.has('blobs', from, digest);
          if (!isMember || (await fs.stat(paths.blob(digest)))?.kind !== 'file') return false;
          await linkBlob(store, repository, digest);
          return true;
        }),
      ),
    putManifest: (repository, manifest, tags) =>
      told(`storing manifest ${manifest.digest}`, () =>
        inTurn(repository, async () => {
          await floor.requireRoom(manifest.bytes.length);
          await inTurn(manifest.digest, () => keepManifest(store, repository, manifest));
          for (const tag of tags) await setTag(store, repository, tag, manifest.digest);
        }),
      ),
    deleteManifest: (repository, digest) =>
      told(`deleting manifest ${digest}`, () =>
        inTurn(repository, () => inTurn(digest, async () => (await dropManifest(store, repository, digest)) !== undefined)),
      ),
    deleteTag: (repository, tag) => inTurn(repository, () => dropTag(store, repository, tag)),
    deleteBlob: (repository, digest) =>
      told(`deleting blob ${digest}`, () =>
        inTurn(digest, async () => (await dropBlob(store, repository, digest)) !== undefined),
      ),
  };
}

async function told<T>(what: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    throw diskError(error, what);
  }
}
