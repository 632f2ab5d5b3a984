import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { pemBlocks } from '../sign/pem.ts';

/** A public key of somebody else's. `keyid` is the hex, `hint` the base64 SHA-256 of its SPKI; `source` says where it came from. */
export type UpstreamKey = Readonly<{ keyid: string; hint: string; source: string; scheme: Scheme; key: KeyObject }>;

/**
 * How a key signs. cosign 2 hashes by SHA-256 for every curve, cosign 3 by the hash of the curve's strength, and signs with Ed25519 as it is or
 * prehashed (RFC 8032 Ed25519ph): each is that key's signature over these bytes, so each counts.
 */
type Scheme = Readonly<{ name: string; hashes: readonly ('sha256' | 'sha384' | 'sha512')[] }> | Readonly<{ name: 'Ed25519' }>;

const EC: Readonly<Record<string, Scheme>> = {
  prime256v1: { name: 'ECDSA P-256', hashes: ['sha256'] },
  secp384r1: { name: 'ECDSA P-384', hashes: ['sha384', 'sha256'] },
  secp521r1: { name: 'ECDSA P-521', hashes: ['sha512', 'sha256'] },
};
/** NIST SP 800-131A: shorter ones sign nothing any more. */
const LEAST_RSA_BITS = 2048;
const RSA_EXPONENT = 65_537n;
const WANTED = `want ECDSA (P-256, P-384, P-521), RSA of ${LEAST_RSA_BITS} to ${LIMITS.rsaBits} bits, or Ed25519`;

const refused = (what: string, why: string, hint?: string, cause?: unknown): BundleError =>
  new BundleError('E_TRUST_FILE', `${what}: ${why}`, { hint, cause, origin: 'host' });

function schemeOf(key: KeyObject, what: string): Scheme {
  const { namedCurve = '', modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'ed25519') return { name: 'Ed25519' };
  if (key.asymmetricKeyType === 'ec') {
    const scheme = EC[namedCurve];
    if (scheme !== undefined) return scheme;
    throw refused(what, `is a key on the curve ${namedCurve === '' ? 'that it spells out itself' : namedCurve}: ${WANTED}`);
  }
  if (key.asymmetricKeyType !== 'rsa') throw refused(what, `is a key of type ${key.asymmetricKeyType ?? 'unknown'}: ${WANTED}`);
  if (modulusLength < LEAST_RSA_BITS || modulusLength > LIMITS.rsaBits)
    throw refused(what, `is an RSA key of ${modulusLength} bits: ${WANTED}`);
  // With an exponent of 1 everybody can sign.
  if (publicExponent < RSA_EXPONENT) throw refused(what, `is an RSA key with the exponent ${publicExponent}, want 65537 or more`);
  return { name: `RSA ${modulusLength}`, hashes: ['sha256', 'sha384', 'sha512'] };
}

/** @throws BundleError E_TRUST_FILE for what is no public key of a kind that can be verified by */
function keyFromSpki(der: Buffer, what: string): UpstreamKey {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: der, format: 'der', type: 'spki' });
  } catch (error) {
    throw refused(what, 'holds no public key (SPKI)', undefined, error);
  }
  const scheme = schemeOf(key, what);
  const fingerprint = createHash('sha256')
    .update(key.export({ format: 'der', type: 'spki' }))
    .digest();
  return { keyid: fingerprint.toString('hex'), hint: fingerprint.toString('base64'), source: what, scheme, key };
}

/** The public keys in a PEM text, one per block. @throws BundleError E_TRUST_FILE */
export function parseUpstreamKeys(text: string, what: string): UpstreamKey[] {
  return pemBlocks(text, what, 'E_TRUST_FILE').map(({ label, bytes }) => {
    if (label === 'PUBLIC KEY') return keyFromSpki(bytes, what);
    const hint = label.endsWith('PRIVATE KEY')
      ? 'give the public half; a private key has no business here'
      : 'make a PUBLIC KEY block of it: `openssl rsa -RSAPublicKey_in -pubout`, or `openssl x509 -pubkey -noout` for a certificate';
    throw refused(what, `holds a block ${label}, want PUBLIC KEY`, hint);
  });
}

/** True when `signature` is by this key over exactly `data`, in one of the ways that cosign signs with such a key. */
export async function verifiesWith({ key, scheme }: UpstreamKey, data: Uint8Array, signature: Uint8Array): Promise<boolean> {
  if ('hashes' in scheme) return scheme.hashes.some((hash) => attempt(() => verify(hash, data, key, signature)));
  if (attempt(() => verify(null, data, key, signature))) return true;
  const { ed25519ph } = await import('@noble/curves/ed25519.js');
  const raw = key.export({ format: 'der', type: 'spki' }).subarray(-32);
  // Strict: the group's rules of RFC 8032 rather than the looser ZIP 215.
  return attempt(() => ed25519ph.verify(signature, data, raw, { zip215: false }));
}

/** What can't be read as a signature is none. */
function attempt(check: () => boolean): boolean {
  try {
    return check();
  } catch {
    return false;
  }
}
