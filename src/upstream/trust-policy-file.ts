import { join } from 'node:path';
import { BundleError } from '../core/errors.ts';
import type { FileSystem } from '../files/file-system.ts';

const FILE = 'trust.yaml';
/** What people write for it, and what a file system without case gives back for it. */
const MEANT = /^trust\.ya?ml$/i;

/**
 * The path of `trust.yaml` in a folder of trusted keys; undefined when there is none: nothing is demanded of upstream's signatures then. So a file that
 * only means to be one is refused.
 * @throws BundleError E_TRUST_FILE
 */
export async function trustPolicyFile(fs: FileSystem, folder: string): Promise<string | undefined> {
  const meant = (await namesIn(fs, folder)).filter((name) => MEANT.test(name));
  const other = meant.find((name) => name !== FILE);
  if (other === undefined) return meant.length === 0 ? undefined : join(folder, FILE);
  throw new BundleError('E_TRUST_FILE', `${join(folder, other)} is not read under this name`, {
    origin: 'host',
    hint: `call it ${FILE}, or move it away: whoever put it there expects it to be obeyed`,
  });
}

async function namesIn(fs: FileSystem, folder: string): Promise<string[]> {
  try {
    return await fs.list(folder);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new BundleError('E_TRUST_FILE', `${folder}: can't be read: ${why}`, {
      cause: error,
      origin: 'host',
      hint: `it may hold a ${FILE}, which must not be passed over`,
    });
  }
}
