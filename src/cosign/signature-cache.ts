import { createHash, verify } from 'node:crypto';
import { preAuthEncoding } from '@sigstore/core/dist/dsse.js';
import { hexOf } from '../core/digest.ts';
import { isBundleError } from '../core/errors.ts';
import { isObject, parseStrictJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { strictBase64 } from '../sign/pem.ts';
import { type PublicKey, toKeyObject } from '../sign/public-key.ts';
import type { SigningKey } from '../sign/signing-key.ts';
import { parseLegacy } from './legacy.ts';
import { COSIGN_ANNOTATION } from './media-types.ts';

/** Signatures made before, so that a signer with fresh nonces (a KMS, an HSM) signs the same bytes once and not every night. */
export type SignatureCache = Readonly<{
  /** Every signature of a `.sig`, whoever made it. What can't be read is passed over. */
  addLegacy(manifest: Uint8Array, mediaType: string): void;
  /** The DSSE signature of a Sigstore bundle. What can't be read is passed over. */
  addBundle(bundle: Uint8Array): void;
  /** The key, which signs only what it has not signed yet. A signature is reused only after it has verified with the key's public half. */
  wrap(key: SigningKey): SigningKey;
}>;

export function createSignatureCache(): SignatureCache {
  /** By SHA-256 of the signed bytes (hex), base64. Who made one shows when it verifies: what a manifest says of it is anybody's word. */
  const known = new Map<string, Set<string>>();

  const note = (dataSha256: string, signature: string): void => {
    const found = known.get(dataSha256) ?? new Set();
    // Each costs a verification; a `.sig` holds no more of them.
    if (found.size < LIMITS.legacyLayers) known.set(dataSha256, found.add(signature));
  };

  const reusable = (publicKey: PublicKey, dataSha256: string, data: Uint8Array): Buffer | undefined => {
    const key = toKeyObject(publicKey);
    // Sorted, as several of one key may be there, and the order of reading must not decide.
    for (const text of [...(known.get(dataSha256) ?? [])].sort()) {
      const signature = Buffer.from(text, 'base64');
      if (verify('sha256', data, key, signature)) return signature;
    }
    return undefined;
  };

  return {
    addLegacy(manifest, mediaType) {
      const legacy = readable(() => parseLegacy(manifest, mediaType, 'signatures'));
      for (const { descriptor } of legacy?.layers ?? []) {
        const signature = descriptor.annotations?.[COSIGN_ANNOTATION.signature];
        if (isSignature(signature) && descriptor.digest.startsWith('sha256:')) note(hexOf(descriptor.digest), signature);
      }
    },
    addBundle(bundle) {
      if (bundle.length > LIMITS.evidenceBlobBytes) return;
      const envelope = readable(() => parseStrictJson(bundle, 'bundle', 'E_SIGNATURE'))?.dsseEnvelope;
      if (!isObject(envelope) || typeof envelope.payloadType !== 'string' || typeof envelope.payload !== 'string') return;
      const payload = strictBase64(envelope.payload);
      const [signature] = Array.isArray(envelope.signatures) ? (envelope.signatures as unknown[]) : [];
      if (payload === undefined || !isObject(signature) || !isSignature(signature.sig)) return;
      note(sha256(preAuthEncoding(envelope.payloadType, payload)), signature.sig);
    },
    wrap({ publicKey, signer }) {
      const pending = new Map<string, ReturnType<typeof signer.sign>>();
      const signNew = async (data: Buffer, dataSha256: string): ReturnType<typeof signer.sign> => {
        try {
          const made = await signer.sign(data);
          note(dataSha256, made.signature.toString('base64'));
          return made;
        } finally {
          pending.delete(dataSha256);
        }
      };
      return {
        publicKey,
        signer: {
          async sign(data) {
            const dataSha256 = sha256(data);
            // Two who ask at once must get one signature, or one image would get two referrers.
            const running = pending.get(dataSha256);
            if (running !== undefined) return running;
            const signature = reusable(publicKey, dataSha256, data);
            if (signature !== undefined) {
              return { signature, key: { $case: 'publicKey', publicKey: publicKey.pem, hint: publicKey.hint } };
            }
            const signing = signNew(data, dataSha256);
            pending.set(dataSha256, signing);
            return signing;
          },
        },
      };
    },
  };
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** An RSA-4096 signature has 684 characters, ours at most 96. */
const isSignature = (text: unknown): text is string =>
  typeof text === 'string' && text.length <= 1024 && strictBase64(text) !== undefined;

function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isBundleError(error)) return undefined;
    throw error;
  }
}
