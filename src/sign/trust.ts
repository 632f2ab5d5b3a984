import { BundleError } from '../core/errors.ts';
import { parseStrictJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import type { FileSystem } from '../files/file-system.ts';
import { distinctKeys, type PublicKey, parsePublicKeys } from './public-key.ts';

/** Who may sign, and how many different ones must have. `sources` says which path each key came from, for messages. */
export type Trust = Readonly<{
  keys: readonly PublicKey[];
  threshold: number;
  sources: readonly Readonly<{ path: string; keyids: readonly string[] }>[];
}>;

const SETTINGS = 'trust.json';
const HINT = 'give --trust a .pub file or a directory of them, got from the signer by another way than the medium';

/**
 * Reads trust from public key files and directories (`*.pub`, and optionally `trust.json` with `{"threshold": n}`). Several paths add up;
 * of several thresholds the highest counts, so that one more path can never lower it.
 * @throws BundleError E_TRUST_FILE
 */
export async function loadTrust(fs: FileSystem, paths: readonly string[]): Promise<Trust> {
  if (paths.length === 0) throw new BundleError('E_TRUST_FILE', 'no trust was given', { hint: HINT });
  const parts = [];
  for (const path of paths) parts.push(await loadPath(fs, path));
  const keys = distinctKeys(parts.flatMap((part) => part.keys));
  if (keys.length > LIMITS.trustedKeys) {
    throw new BundleError('E_TRUST_FILE', `got ${keys.length} trusted keys, more than the limit of ${LIMITS.trustedKeys}`);
  }
  const trust = {
    keys,
    threshold: Math.max(...parts.map((part) => part.threshold)),
    sources: parts.map((part) => ({ path: part.path, keyids: distinctKeys(part.keys).map((key) => key.keyid) })),
  };
  assertTrust(trust);
  return trust;
}

/** A threshold of 0, -1 or NaN would let everything pass. @throws BundleError E_TRUST_FILE */
export function assertTrust({ keys, threshold }: Pick<Trust, 'keys' | 'threshold'>, what = 'trust'): void {
  const count = distinctKeys(keys).length;
  if (count === 0) throw new BundleError('E_TRUST_FILE', `${what}: no key in it`, { hint: HINT });
  if (Number.isInteger(threshold) && threshold >= 1 && threshold <= count) return;
  throw new BundleError(
    'E_TRUST_FILE',
    `${what}: the threshold is ${threshold}, want a whole number from 1 to ${count} (the distinct keys)`,
    {
      hint: 'the same key in two files counts once: add the missing signers\' .pub files or lower "threshold"',
    },
  );
}

type Part = { path: string; keys: PublicKey[]; threshold: number };

async function loadPath(fs: FileSystem, path: string): Promise<Part> {
  const stat = await reading(path, () => fs.stat(path));
  if (stat === undefined) throw new BundleError('E_TRUST_FILE', `${path}: no such file or directory`, { hint: HINT });
  return stat.kind === 'directory' ? loadDirectory(fs, path) : { path, keys: await loadKeys(fs, path), threshold: 1 };
}

async function loadDirectory(fs: FileSystem, path: string): Promise<Part> {
  const names = await reading(path, () => fs.list(path));
  // Hidden names: macOS leaves `._signer.pub` on FAT and exFAT, which holds no key.
  const files = names.filter((name) => name.endsWith('.pub') && !name.startsWith('.'));
  if (files.length === 0) throw new BundleError('E_TRUST_FILE', `${path}: no *.pub file in this directory`, { hint: HINT });
  if (files.length > LIMITS.trustedKeys) {
    throw new BundleError('E_TRUST_FILE', `${path}: ${files.length} *.pub files, more than the limit of ${LIMITS.trustedKeys}`);
  }
  const keys: PublicKey[] = [];
  for (const name of files) keys.push(...(await loadKeys(fs, `${path}/${name}`)));
  const threshold = names.includes(SETTINGS) ? await loadThreshold(fs, `${path}/${SETTINGS}`) : 1;
  assertTrust({ keys, threshold }, path);
  return { path, keys, threshold };
}

async function loadKeys(fs: FileSystem, path: string): Promise<PublicKey[]> {
  const bytes = await reading(path, () => fs.readUserFile(path, LIMITS.keyFileBytes));
  if (bytes.length === 0) throw new BundleError('E_TRUST_FILE', `${path}: the file is empty, want a public key in PEM form`);
  return parsePublicKeys(bytes.toString('latin1'), path);
}

async function loadThreshold(fs: FileSystem, path: string): Promise<number> {
  const json = parseStrictJson(await reading(path, () => fs.readUserFile(path, LIMITS.keyFileBytes)), path, 'E_TRUST_FILE');
  const unknown = Object.keys(json).find((name) => name !== 'threshold');
  if (unknown !== undefined) {
    throw new BundleError('E_TRUST_FILE', `${path}: unknown key ${JSON.stringify(unknown).slice(0, 60)}, want only "threshold"`);
  }
  if (typeof json.threshold !== 'number') {
    throw new BundleError('E_TRUST_FILE', `${path}: "threshold" is missing or not a number`, { hint: 'write {"threshold": 2}' });
  }
  return json.threshold;
}

/** Whatever keeps a trust file from being read is a fault of trust: never a reason to go on without it. */
async function reading<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new BundleError('E_TRUST_FILE', `${path}: can't be read: ${why}`, { cause: error, hint: HINT });
  }
}
