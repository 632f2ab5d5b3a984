import { createHash, type Hash } from 'node:crypto';
import { BundleError } from './errors.ts';
import { shown } from './json.ts';

/** `sha256:<64 hex>` or `sha512:<128 hex>`. Only {@link parseDigest} and {@link digestOf} make one, so a Digest is always safe as a path. */
export type Digest = string & { readonly __digest: unique symbol };

export type DigestAlgorithm = 'sha256' | 'sha512';

// image-spec v1.1 descriptor.md "Registered Algorithms": lower-case hex of exactly this length.
const HEX_LENGTH: Readonly<Record<DigestAlgorithm, number>> = { sha256: 64, sha512: 128 };
const FORM = /^(sha256|sha512):([0-9a-f]+)$/;

export function isDigest(value: unknown): value is Digest {
  if (typeof value !== 'string' || value.length > 140) return false;
  const match = FORM.exec(value);
  return match !== null && match[2]?.length === HEX_LENGTH[match[1] as DigestAlgorithm];
}

/** @throws BundleError E_DIGEST_INVALID when `value` is not a digest of a supported algorithm. */
export function parseDigest(value: unknown, where = 'digest'): Digest {
  if (isDigest(value)) return value;
  throw new BundleError('E_DIGEST_INVALID', `${where}: ${shown(value)} is not a sha256 or sha512 digest`);
}

export const algorithmOf = (digest: Digest): DigestAlgorithm => digest.slice(0, 6) as DigestAlgorithm;
export const hexOf = (digest: Digest): string => digest.slice(7);

export const createHasher = (algorithm: DigestAlgorithm): Hash => createHash(algorithm);

export const finishDigest = (algorithm: DigestAlgorithm, hasher: Hash): Digest =>
  `${algorithm}:${hasher.digest('hex')}` as Digest;

export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return finishDigest(algorithm, createHash(algorithm).update(bytes));
}
