import { BundleError, diskError, isBundleError } from '../core/errors.ts';
import { writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';

export type PolicyPlace = Readonly<{ path: string; text: string }>;

/**
 * Writes what is not there yet. A policy that somebody else wrote is not replaced unasked: with another one a node may pull nothing, or anything.
 * Nothing is written when one of the files is in the way.
 * @returns the paths that were written; the others hold these bytes already
 * @throws BundleError E_USAGE when a file differs and `force` is off, or is no file; E_DISK, E_DISK_FULL
 */
export async function writePolicy(fs: FileSystem, places: readonly PolicyPlace[], force: boolean): Promise<string[]> {
  const missing: PolicyPlace[] = [];
  for (const place of places) if (await mustWrite(fs, place, force)) missing.push(place);
  for (const { path, text } of missing) await writeFileDurable(fs, path, Buffer.from(text), 0o644);
  return missing.map(({ path }) => path);
}

async function mustWrite(fs: FileSystem, { path, text }: PolicyPlace, force: boolean): Promise<boolean> {
  const bytes = Buffer.from(text);
  try {
    const stat = await fs.stat(path);
    if (stat === undefined) return true;
    if (stat.kind === 'directory' || stat.kind === 'other')
      throw new BundleError('E_USAGE', `-o: ${path} is there and is no file`, { hint: 'name a file' });
    // A link differs: what it leads to is somebody else's, and writing would replace the link.
    if (stat.kind === 'file' && stat.size === bytes.length && bytes.equals(await fs.readFile(path, bytes.length))) return false;
  } catch (error) {
    throw isBundleError(error) ? error : diskError(error, `reading ${path}`);
  }
  if (force) return true;
  throw new BundleError('E_USAGE', `-o: ${path} is there already and differs from this policy`, {
    hint: 'look at it without -o; --force replaces the file',
  });
}
