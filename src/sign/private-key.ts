import { createECDH, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { BundleError } from '../core/errors.ts';
import { type PublicKey, publicKeyFromSpki } from './public-key.ts';

/** The secret stays inside Node's KeyObject, which prints and serialises as nothing. */
export type PrivateKey = Readonly<{ keyObject: KeyObject; publicKey: PublicKey }>;

/**
 * A P-256 private key from its DER form, checked against the public half that it carries.
 * @throws BundleError E_KEY_FILE
 */
export function privateKeyFromDer(der: Uint8Array, type: 'pkcs8' | 'sec1', what: string): PrivateKey {
  let keyObject: KeyObject;
  try {
    keyObject = createPrivateKey({ key: Buffer.from(der), format: 'der', type });
  } catch (error) {
    throw new BundleError('E_KEY_FILE', `${what}: not a private key (${type === 'sec1' ? 'SEC 1' : 'PKCS#8'})`, { cause: error });
  }
  const curve = keyObject.asymmetricKeyDetails?.namedCurve;
  if (keyObject.asymmetricKeyType !== 'ec' || curve !== 'prime256v1') {
    const got = curve ?? keyObject.asymmetricKeyType ?? 'unknown';
    throw new BundleError('E_KEY_FILE', `${what}: got a key of type ${got}, want ECDSA P-256`, {
      hint: 'make a pair with `bundle keys generate` or `cosign generate-key-pair`',
    });
  }
  const publicKey = publicKeyFromSpki(createPublicKey(keyObject).export({ format: 'der', type: 'spki' }), what, 'E_KEY_FILE');
  // A key file may name a public half that is not its own: OpenSSL believes it, and nothing signed would verify.
  const ecdh = createECDH('prime256v1');
  ecdh.setPrivateKey(secretScalar(keyObject));
  if (!ecdh.getPublicKey().equals(publicKey.spkiDer.subarray(26))) {
    throw new BundleError('E_KEY_FILE', `${what}: its public half does not belong to its private half`);
  }
  return { keyObject, publicKey };
}

/** The 32 secret bytes (big-endian). For signing only; never keep or print them. */
export function secretScalar(keyObject: KeyObject): Buffer {
  const { d } = keyObject.export({ format: 'jwk' });
  if (d === undefined) throw new BundleError('E_KEY_FILE', 'not a private key');
  return Buffer.from(d, 'base64url');
}
