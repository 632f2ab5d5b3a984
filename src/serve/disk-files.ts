import { dirname } from 'node:path';
import { isSystemError } from '../core/errors.ts';
import type { FileSystem } from '../files/file-system.ts';

/** mkdir -p whose new names survive a power cut. */
export async function ensureDirectory(fs: FileSystem, path: string): Promise<void> {
  if ((await fs.stat(path)) !== undefined) return;
  await ensureDirectory(fs, dirname(path));
  await fs.mkdir(path);
  await fs.syncDir(dirname(path));
}

/** An empty file whose presence is the message; one that is there is fine. */
export async function makeLink(fs: FileSystem, path: string): Promise<void> {
  if ((await fs.stat(path)) !== undefined) return;
  await ensureDirectory(fs, dirname(path));
  try {
    await (await fs.create(path)).close();
  } catch (error) {
    if (!isSystemError(error, 'EEXIST')) throw error;
  }
  await fs.syncDir(dirname(path));
}

/** False when it was not there. */
export async function removeLink(fs: FileSystem, path: string): Promise<boolean> {
  try {
    await fs.unlink(path);
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return false;
    throw error;
  }
  await fs.syncDir(dirname(path));
  return true;
}

/** @throws BundleError E_LIMIT, E_NOT_REGULAR */
export async function readIfThere(fs: FileSystem, path: string, maxBytes: number): Promise<Buffer | undefined> {
  try {
    return await fs.readFile(path, maxBytes);
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

/** Names in a directory; none when it is not there. */
export async function listIfThere(fs: FileSystem, path: string): Promise<string[]> {
  try {
    return await fs.list(path);
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return [];
    throw error;
  }
}
