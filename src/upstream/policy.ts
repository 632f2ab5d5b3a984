import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { FileSystem } from '../files/file-system.ts';
import type { KeyFile, VerifySetting } from '../manifest/verify-setting.ts';
import { readTrustFile } from './read-trust-file.ts';
import { parseUpstreamKeys, type UpstreamKey } from './upstream-key.ts';

/** What a user demands of upstream's signatures, with the keys read. `attestation`: a predicate type that counts instead of cosign's signature. */
export type VerifyPolicy =
  | Readonly<{ kind: 'key'; keys: readonly PolicyKey[]; attestation?: string }>
  | Readonly<{ kind: 'keyless'; issuer: string; identity: string; attestation?: string }>
  | Readonly<{ kind: 'unsigned' }>;

/** `until`: it counts for what was signed before this instant, milliseconds since 1970. */
export type PolicyKey = UpstreamKey & Readonly<{ until?: number }>;

/** A certificate can't be checked without a root, and of a key that ends it must be known when it signed. */
export const wantsSigstoreRoot = (policy: VerifyPolicy): boolean =>
  policy.kind === 'keyless' || (policy.kind === 'key' && policy.keys.some((key) => key.until !== undefined));

/** Reads the key files that a setting names. @throws BundleError E_TRUST_FILE naming the file */
export async function loadPolicy(fs: FileSystem, setting: VerifySetting): Promise<VerifyPolicy> {
  if (setting.kind !== 'key') return setting;
  const keys = (await Promise.all(setting.keys.map((file) => loadKeys(fs, file)))).flat();
  if (keys.length > LIMITS.policyKeys)
    throw new BundleError(
      'E_TRUST_FILE',
      `${keys.length} keys to verify one image by, more than the limit of ${LIMITS.policyKeys}`,
    );
  return { kind: 'key', keys, ...(setting.attestation === undefined ? {} : { attestation: setting.attestation }) };
}

const KEY_HINT = "give the signer's public key in PEM form; the path is meant from the folder of the file that names it";

async function loadKeys(fs: FileSystem, { path, until }: KeyFile): Promise<PolicyKey[]> {
  const bytes = await readTrustFile(fs, path, LIMITS.keyFileBytes, KEY_HINT);
  return parseUpstreamKeys(bytes.toString('latin1'), path).map((key) => (until === undefined ? key : { ...key, until }));
}
