import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import { diskError, isSystemError } from '../core/errors.ts';
import type { FileSystem } from './file-system.ts';

/** Temporary names start so; a run that was killed may leave one, and `sweepTemporary` removes it. */
export const TEMPORARY_PREFIX = '.tmp-';

/**
 * Replaces a file so that after a crash at any instant it holds either the old or the new bytes: temporary file beside it, fsync, rename,
 * fsync of the directory (docs/design.md, "Write order").
 * @param mode of the new file, default 0o644
 * @throws BundleError E_DISK, E_DISK_FULL
 */
export async function writeFileDurable(fs: FileSystem, path: string, bytes: Uint8Array, mode = 0o644): Promise<void> {
  const directory = dirname(path);
  const temporary = `${directory}/${TEMPORARY_PREFIX}${randomBytes(6).toString('hex')}`;
  try {
    await fs.mkdir(directory);
    const handle = await fs.create(temporary, mode);
    try {
      await handle.write(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await fs.rename(temporary, path);
    await fs.syncDir(directory);
  } catch (error) {
    await removeQuietly(fs, temporary);
    throw diskError(error, `writing ${path}`);
  }
}

export const TEMPORARY_NAME = new RegExp(`^${TEMPORARY_PREFIX.replace('.', '\\.')}[0-9a-f]{12}$`);

/** Removes the temporary files that killed runs left in a directory. Only under the lock that all its writers take. */
export async function sweepTemporary(fs: FileSystem, directory: string): Promise<void> {
  if ((await fs.stat(directory))?.kind !== 'directory') return;
  for (const name of await fs.list(directory))
    if (TEMPORARY_NAME.test(name) && (await fs.stat(`${directory}/${name}`))?.kind === 'file')
      await removeFile(fs, `${directory}/${name}`);
}

/** Removes a file if it is there. Only for tidying up after a failure: its own failure is not the news. */
export async function removeQuietly(fs: FileSystem, path: string): Promise<void> {
  try {
    await fs.unlink(path);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
  }
}

/** Removes a file; one that is already gone is fine. */
export async function removeFile(fs: FileSystem, path: string): Promise<void> {
  try {
    await fs.unlink(path);
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error;
  }
}

/** Removes a directory tree without following links; one that is already gone, or that somebody else removes at the same time, is fine. */
export async function removeTree(fs: FileSystem, path: string): Promise<void> {
  const stat = await fs.stat(path);
  if (stat === undefined) return;
  if (stat.kind !== 'directory') return removeFile(fs, path);
  try {
    for (const name of await fs.list(path)) await removeTree(fs, `${path}/${name}`);
    await fs.rmdir(path);
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error;
  }
}
