import { BundleError } from '../core/errors.ts';
import type { FileSystem } from '../files/file-system.ts';

/** A file of the user's that decides whom to believe: whatever keeps it from being read is a fault of trust. @throws BundleError E_TRUST_FILE */
export async function readTrustFile(fs: FileSystem, path: string, maxBytes: number, hint: string): Promise<Buffer> {
  try {
    return await fs.readUserFile(path, maxBytes);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new BundleError('E_TRUST_FILE', `${path}: can't be read: ${why}`, { cause: error, origin: 'host', hint });
  }
}
