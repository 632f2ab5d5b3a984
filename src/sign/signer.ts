import { createHash, verify } from 'node:crypto';
import { p256 } from '@noble/curves/nist.js';
import type { Signer } from '@sigstore/sign';
import { BundleError } from '../core/errors.ts';
import { type PrivateKey, secretScalar } from './private-key.ts';
import { toKeyObject } from './public-key.ts';

/**
 * Signs with a key file: ECDSA P-256 over SHA-256, DER, with the nonce of RFC 6979, so that the same bytes and key give the same signature
 * for ever (Node's own ECDSA draws a fresh nonce each time). Made to be given to @sigstore/sign, as a KMS or HSM signer would be.
 */
export function createKeySigner({ keyObject, publicKey }: PrivateKey): Signer {
  return {
    async sign(data) {
      const digest = createHash('sha256').update(data).digest();
      // lowS off: RFC 6979 knows no such rule, cosign (Go) and Node accept both halves, and its test vectors hold only without it.
      const options = { prehash: false, lowS: false, format: 'der', extraEntropy: false } as const;
      const signature = Buffer.from(p256.sign(digest, secretScalar(keyObject), options));
      // A fault while signing deterministically can give the key away, and what doesn't verify here verifies nowhere.
      if (!verify('sha256', data, toKeyObject(publicKey), signature)) {
        throw new BundleError(
          'E_SIGNATURE',
          `the signature just made with key ${publicKey.keyid} does not verify; it was thrown away`,
        );
      }
      return { signature, key: { $case: 'publicKey', publicKey: publicKey.pem, hint: publicKey.hint } };
    },
  };
}
