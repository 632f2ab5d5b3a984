import { dirname } from 'node:path';
import { BundleError, isBundleError, isSystemError } from '../core/errors.ts';
import { removeFile, removeQuietly, TEMPORARY_NAME } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';

/** mkdir -p whose new names survive a power cut. */
export async function ensureDirectory(fs: FileSystem, path: string): Promise<void> {
  if ((await fs.stat(path)) !== undefined) return;
  await ensureDirectory(fs, dirname(path));
  await fs.mkdir(path);
  await fs.syncDir(dirname(path));
}

/** An empty file whose presence is the message; one that is there is fine. A failure leaves none. */
export async function makeLink(fs: FileSystem, path: string): Promise<void> {
  await ensureDirectory(fs, dirname(path));
  try {
    await (await fs.create(path)).close();
  } catch (error) {
    if (!isSystemError(error, 'EEXIST')) throw error;
  }
  try {
    await fs.syncDir(dirname(path));
  } catch (error) {
    await removeQuietly(fs, path);
    throw error;
  }
}

/** False when it was not there. Survives a power cut only after a `syncDir` of its directory. */
export async function removeIfThere(fs: FileSystem, path: string): Promise<boolean> {
  try {
    await fs.unlink(path);
    return true;
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return false;
    throw error;
  }
}

/** undefined too for what is longer than anything of ours, or not a file: nothing that we wrote. */
export async function readIfThere(fs: FileSystem, path: string, maxBytes: number): Promise<Buffer | undefined> {
  try {
    return await fs.readFile(path, maxBytes);
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR') || isBundleError(error)) return undefined;
    throw error;
  }
}

/**
 * Names in a directory, none when it is not there, without the temporary files that a killed process left: those are removed.
 * Only while nobody writes there. @throws BundleError E_NOT_REGULAR for a link, which could lead anywhere
 */
export async function listSwept(fs: FileSystem, path: string): Promise<string[]> {
  const kind = (await fs.stat(path))?.kind;
  if (kind === 'link') {
    throw new BundleError('E_NOT_REGULAR', `${path} is a symbolic link, and a registry directory has none`, {
      origin: 'host',
      hint: 'put the directory itself there; the whole registry directory may be behind a link',
    });
  }
  if (kind !== 'directory') return [];
  const names: string[] = [];
  for (const name of await fs.list(path)) {
    if (TEMPORARY_NAME.test(name)) await removeFile(fs, `${path}/${name}`);
    else names.push(name);
  }
  return names;
}
