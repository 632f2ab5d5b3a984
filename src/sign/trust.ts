import { BundleError } from '../core/errors.ts';
import { type JsonObject, parseStrictJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import type { FileSystem } from '../files/file-system.ts';
import { distinctKeys, parsePublicKeys } from './public-key.ts';
import { isFullForm, parseTrustDocument, type TrustDocument, trustedKeysOf } from './trust-document.ts';
import { distinctTerms, type TrustedKey, withRevocations } from './trust-key.ts';

/**
 * Who may sign, and how many different ones must have. A key may be there several times under different terms. `sources` says which path each key
 * came from, for messages.
 */
export type Trust = Readonly<{
  keys: readonly TrustedKey[];
  threshold: number;
  sources: readonly Readonly<{ path: string; keyids: readonly string[] }>[];
}>;

export const TRUST_FILE = 'trust.json';
const HINT = 'give --trust a .pub file or a directory of them, got from the signer by another way than the medium';

/**
 * Reads trust from public key files and directories: of the simple form (`*.pub`, and optionally `trust.json` with `{"threshold": n}`) or of the full
 * one (trust-document.ts). Several paths add up; of several thresholds the highest counts. A key that a full document lists counts as that says, wherever
 * else it is found without terms, and what one document revokes no other brings back.
 * @throws BundleError E_TRUST_FILE
 */
export async function loadTrust(fs: FileSystem, paths: readonly string[]): Promise<Trust> {
  if (paths.length === 0) throw new BundleError('E_TRUST_FILE', 'no trust was given', { hint: HINT });
  const parts = [];
  for (const path of paths) parts.push(await loadTrustPath(fs, path));
  const keys = distinctTerms(withRevocations(withDocumentsFirst(parts)));
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

/** Without the bare keys that a document lists: they have its terms. */
function withDocumentsFirst(parts: readonly TrustPart[]): TrustedKey[] {
  const listed = new Set(parts.flatMap(({ document }) => document?.keys.map((key) => key.keyid) ?? []));
  return parts.flatMap(({ document, keys }) => (document !== undefined ? keys : keys.filter((key) => !listed.has(key.keyid))));
}

/** A threshold of 0, -1 or NaN would let everything pass. @throws BundleError E_TRUST_FILE */
export function assertTrust({ keys, threshold }: Pick<Trust, 'keys' | 'threshold'>, what = 'trust'): void {
  const count = distinctKeys(keys.filter((key) => key.revoked === undefined)).length;
  if (keys.length === 0) throw new BundleError('E_TRUST_FILE', `${what}: no key in it`, { hint: HINT });
  if (Number.isInteger(threshold) && threshold >= 1 && threshold <= count) return;
  throw new BundleError(
    'E_TRUST_FILE',
    `${what}: the threshold is ${threshold}, want a whole number from 1 to ${count} (the distinct keys${count < distinctKeys(keys).length ? ' that are not revoked' : ''})`,
    {
      hint: 'the same key in two files counts once: add the missing signers\' .pub files or lower "threshold"',
    },
  );
}

/** What one path trusts. `document`: when it is of the full form. */
export type TrustPart = Readonly<{ path: string; keys: readonly TrustedKey[]; threshold: number; document?: TrustDocument }>;

/** @throws BundleError E_TRUST_FILE */
export async function loadTrustPath(fs: FileSystem, path: string): Promise<TrustPart> {
  const stat = await reading(path, () => fs.stat(path));
  if (stat === undefined) throw new BundleError('E_TRUST_FILE', `${path}: no such file or directory`, { hint: HINT });
  return stat.kind === 'directory' ? loadDirectory(fs, path) : { path, keys: await loadKeys(fs, path), threshold: 1 };
}

async function loadDirectory(fs: FileSystem, path: string): Promise<TrustPart> {
  const names = await reading(path, () => fs.list(path));
  // Hidden names: macOS leaves `._signer.pub` on FAT and exFAT, which holds no key.
  const files = names.filter((name) => name.endsWith('.pub') && !name.startsWith('.'));
  const json = names.includes(TRUST_FILE) ? await readSettings(fs, `${path}/${TRUST_FILE}`) : undefined;
  if (json !== undefined && isFullForm(json.value)) return loadDocument(path, json.bytes, files);
  if (files.length === 0) throw new BundleError('E_TRUST_FILE', `${path}: no *.pub file in this directory`, { hint: HINT });
  if (files.length > LIMITS.trustedKeys) {
    throw new BundleError('E_TRUST_FILE', `${path}: ${files.length} *.pub files, more than the limit of ${LIMITS.trustedKeys}`);
  }
  const keys: TrustedKey[] = [];
  for (const name of files) keys.push(...(await loadKeys(fs, `${path}/${name}`)));
  const threshold = json === undefined ? 1 : simpleThreshold(json.value, `${path}/${TRUST_FILE}`);
  assertTrust({ keys, threshold }, path);
  return { path, keys, threshold };
}

/** A key that was dropped into the directory must not count for more than the document that people agreed on. */
function loadDocument(path: string, bytes: Uint8Array, files: readonly string[]): TrustPart {
  const [loose] = files;
  if (loose !== undefined) {
    throw new BundleError('E_TRUST_FILE', `${path}/${loose}: a key file beside a ${TRUST_FILE} that lists the keys itself`, {
      hint: `move it away; "bundle trust add ${path} NAME=FILE" adds a key`,
    });
  }
  const document = parseTrustDocument(bytes, `${path}/${TRUST_FILE}`);
  return { path, keys: trustedKeysOf(document), threshold: document.threshold, document };
}

async function loadKeys(fs: FileSystem, path: string): Promise<TrustedKey[]> {
  const bytes = await reading(path, () => fs.readUserFile(path, LIMITS.keyFileBytes));
  if (bytes.length === 0) throw new BundleError('E_TRUST_FILE', `${path}: the file is empty, want a public key in PEM form`);
  return parsePublicKeys(bytes.toString('latin1'), path);
}

async function readSettings(fs: FileSystem, path: string): Promise<{ bytes: Uint8Array; value: JsonObject }> {
  const bytes = await reading(path, () => fs.readUserFile(path, LIMITS.trustDocumentBytes));
  return { bytes, value: parseStrictJson(bytes, path, 'E_TRUST_FILE') };
}

function simpleThreshold(json: JsonObject, path: string): number {
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
