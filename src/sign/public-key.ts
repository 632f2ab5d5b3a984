import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { BundleError, type ErrorCode } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { pemBlocks, toPem } from './pem.ts';

/** A P-256 key. `keyid` is the hex, `hint` the base64 SHA-256 of `spkiDer`: the form cosign and sigstore-go give the hint. */
export type PublicKey = Readonly<{ pem: string; spkiDer: Uint8Array; keyid: string; hint: string }>;

// RFC 5480: id-ecPublicKey, prime256v1, then an uncompressed point (SEC 1 section 2.3.3). One key has exactly one such encoding, so that
// a fingerprint stands for a key: a compressed point or spelled-out curve parameters would give the same key a second fingerprint.
const P256_PREFIX = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex');
const P256_LENGTH = P256_PREFIX.length + 64;

/** @throws BundleError `code` for anything but a P-256 key in its one canonical encoding */
export function publicKeyFromSpki(der: Uint8Array, what: string, code: ErrorCode = 'E_TRUST_FILE'): PublicKey {
  let found: string;
  try {
    const key = createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' });
    found = `${key.asymmetricKeyType ?? 'unknown'} ${key.asymmetricKeyDetails?.namedCurve ?? ''}`.trim();
  } catch (error) {
    throw new BundleError(code, `${what}: not a public key (SPKI)`, { cause: error });
  }
  const canonical = der.length === P256_LENGTH && P256_PREFIX.equals(der.subarray(0, P256_PREFIX.length));
  if (found !== 'ec prime256v1' || !canonical) {
    const got = found === 'ec prime256v1' ? 'a P-256 key in an unusual encoding' : `a key of type ${found}`;
    throw new BundleError(code, `${what}: got ${got}, want an ECDSA P-256 key with a named curve and an uncompressed point`, {
      hint: 'make a pair with `bundle keys generate` or `cosign generate-key-pair`',
    });
  }
  const spkiDer = Buffer.from(der);
  const fingerprint = createHash('sha256').update(spkiDer).digest();
  return { pem: toPem('PUBLIC KEY', spkiDer), spkiDer, keyid: fingerprint.toString('hex'), hint: fingerprint.toString('base64') };
}

/**
 * The public keys in a PEM text, one per block, each key once.
 * @throws BundleError `code`
 */
export function parsePublicKeys(text: string, what: string, code: ErrorCode = 'E_TRUST_FILE'): PublicKey[] {
  if (text.length > LIMITS.keyFileBytes) {
    throw new BundleError(code, `${what}: longer than the limit of ${LIMITS.keyFileBytes} bytes`);
  }
  const keys = pemBlocks(text, what, code).map((block) => {
    if (block.label === 'PUBLIC KEY') return publicKeyFromSpki(block.bytes, what, code);
    const isPrivate = block.label.endsWith('PRIVATE KEY');
    throw new BundleError(code, `${what}: it holds ${isPrivate ? 'a private key' : `a block ${block.label}`}, want PUBLIC KEY`, {
      hint: isPrivate
        ? 'give the .pub file of the pair; the private key belongs on the signing machine alone'
        : 'give public keys in PEM form (SPKI); certificates are not accepted yet',
    });
  });
  return distinctKeys(keys);
}

/** Each key once, in the order of its first appearance; which file or hint named it does not matter. */
export function distinctKeys(keys: readonly PublicKey[]): PublicKey[] {
  return [...new Map(keys.map((key) => [key.keyid, key])).values()];
}

const keyObjects = new WeakMap<PublicKey, KeyObject>();

/** Made once for each key: parsing one costs as much as half a verification. */
export function toKeyObject(key: PublicKey): KeyObject {
  const made = keyObjects.get(key) ?? createPublicKey({ key: Buffer.from(key.spkiDer), format: 'der', type: 'spki' });
  keyObjects.set(key, made);
  return made;
}

/** `SHA256 0123456789abcdef…` for people; never for machines. */
export const shortKeyid = (keyid: string): string => `${keyid.slice(0, 16)}…`;
