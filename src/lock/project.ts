import { dirname } from 'node:path';
import { digestOf, hexOf } from '../core/digest.ts';
import { BundleError, diskError, isBundleError, isSystemError } from '../core/errors.ts';
import { byteOrder } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { formatReference } from '../core/reference.ts';
import { writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import { findManifest } from '../manifest/find-manifest.ts';
import { expandImageLists, parseImageList } from '../manifest/image-list.ts';
import { isListUrl, listName } from '../manifest/list-source.ts';
import type { Manifest } from '../manifest/manifest.ts';
import { decodeText, readManifest } from '../manifest/read-manifest.ts';
import { encodeLockFile, type LockedList, type LockFile, parseLockFile } from './lock-file.ts';

/** A manifest with its lists read, and the lock beside it. */
export type Project = Readonly<{
  manifest: Manifest;
  manifestPath: string;
  lock: LockFile | undefined;
  lockPath: string;
  lists: readonly LockedList[];
}>;

export type OpenOptions = Readonly<{
  file?: string | undefined;
  /** Reads lists behind URLs again, although the lock says what they said. */
  refreshLists: boolean;
  fetchText: (url: string, maxBytes: number) => Promise<string>;
}>;

/** @throws BundleError E_USAGE, E_MANIFEST, E_LOCK, E_NETWORK (a list behind a URL) */
export async function openProject(fs: FileSystem, options: OpenOptions): Promise<Project> {
  const manifestPath = await findManifest(fs, options.file);
  const written = await readManifest(fs, manifestPath);
  const lockPath = `${dirname(manifestPath)}/${written.name}.lock.json`;
  const lock = await readLock(fs, lockPath);
  if (lock !== undefined && lock.name !== written.name)
    throw new BundleError('E_LOCK', `${lockPath} is the lock of "${lock.name}", not of "${written.name}"`);
  const lists: LockedList[] = [];
  const manifest = await expandImageLists(written, async (source) => {
    if (!isListUrl(source)) return readListFile(fs, source);
    const known = options.refreshLists ? undefined : lock?.lists?.find((l) => l.source === keyOf(source));
    const text = known?.refs.join('\n') ?? (await options.fetchText(source, LIMITS.imageListBytes));
    lists.push({ source: keyOf(source), refs: parseImageList(text, listName(source)).map((i) => formatReference(i.ref)) });
    return text;
  });
  return { manifest, manifestPath, lock, lockPath, lists: lists.sort((a, b) => byteOrder(a.source, b.source)) };
}

/** The address without its query, which can hold a signature; a hash of the whole tells two of them apart. */
const keyOf = (source: string): string => `${listName(source)}#${hexOf(digestOf(Buffer.from(source))).slice(0, 12)}`;

async function readLock(fs: FileSystem, path: string): Promise<LockFile | undefined> {
  const bytes = await readLockBytes(fs, path);
  return bytes === undefined ? undefined : parseLockFile(bytes, path);
}

/** Links are followed: the lock is the user's own file, beside the manifest. @throws BundleError E_LOCK, E_DISK, E_LIMIT */
async function readLockBytes(fs: FileSystem, path: string): Promise<Buffer | undefined> {
  try {
    const kind = (await fs.stat(path))?.kind;
    if (kind === undefined) return undefined;
    // A pipe in its place would wait for a writer for ever.
    return await (kind === 'link' ? fs.readUserFile(path, LIMITS.lockFileBytes) : fs.readFile(path, LIMITS.lockFileBytes));
  } catch (error) {
    if (isBundleError(error) && error.code === 'E_NOT_REGULAR')
      throw new BundleError('E_LOCK', `${path}: want a lock file, found something that is no file`, {
        cause: error,
        hint: 'move it away and run lock again',
      });
    if (isSystemError(error, 'ENOENT'))
      throw new BundleError('E_LOCK', `${path} is a link to nothing`, {
        cause: error,
        hint: 'remove the link and run lock again',
      });
    throw diskError(error, `reading the lock ${path}`);
  }
}

async function readListFile(fs: FileSystem, path: string): Promise<string> {
  try {
    return decodeText(await fs.readUserFile(path, LIMITS.imageListBytes), path);
  } catch (error) {
    if (isBundleError(error))
      throw error.code === 'E_MANIFEST'
        ? error
        : new BundleError('E_MANIFEST', `image list ${path}: ${error.message}`, { cause: error });
    throw new BundleError('E_MANIFEST', `image list ${path} can't be read: ${(error as Error).message}`, {
      cause: error,
      hint: 'paths are meant from the folder of the manifest',
    });
  }
}

/** Writes only when the bytes differ. @returns whether it was written */
export async function writeLock(fs: FileSystem, path: string, lock: LockFile): Promise<boolean> {
  const bytes = encodeLockFile(lock);
  if ((await readLockBytes(fs, path))?.equals(bytes)) return false;
  await writeFileDurable(fs, path, bytes);
  return true;
}
