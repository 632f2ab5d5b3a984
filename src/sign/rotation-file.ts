import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import { encodeRotation, parseRotation, type Rotation } from './rotation.ts';

/** @throws BundleError E_TRUST_FILE */
export async function readRotation(fs: FileSystem, path: string): Promise<Rotation> {
  let bytes: Uint8Array;
  try {
    bytes = await fs.readUserFile(path, LIMITS.rotationBytes);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new BundleError('E_TRUST_FILE', `${path}: can't be read: ${why}`, { cause: error });
  }
  return parseRotation(bytes, path);
}

/** @throws BundleError E_DISK, E_DISK_FULL */
export const writeRotation = (fs: FileSystem, path: string, rotation: Rotation): Promise<void> =>
  writeFileDurable(fs, path, encodeRotation(rotation));

/**
 * A file that holds the same rotation already keeps its signatures; anything else under that name is left alone.
 * @throws BundleError E_USAGE
 */
export async function withSignaturesThere(fs: FileSystem, path: string, rotation: Rotation): Promise<Rotation> {
  if ((await fs.stat(path)) === undefined) return rotation;
  const there = await readRotation(fs, path).catch(() => undefined);
  if (there !== undefined && Buffer.compare(there.statementBytes, rotation.statementBytes) === 0) return there;
  throw new BundleError('E_USAGE', `${path} is there already and is not this rotation`, { hint: 'choose another name with -o' });
}
