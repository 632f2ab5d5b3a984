import type { BlobStore } from '../bundle/blob-store.ts';
import type { Generation } from '../bundle/generation.ts';
import { isBundleError } from '../core/errors.ts';
import type { Evidence } from '../core/evidence.ts';
import { LIMITS } from '../core/limits.ts';
import { parseOciManifest } from '../core/oci-manifest.ts';
import { isBundleReferrer } from '../cosign/bundle-referrer.ts';
import { createSignatureCache, type SignatureCache } from '../cosign/signature-cache.ts';
import type { SigningKey } from '../sign/signing-key.ts';

/**
 * The keys, made to use again what they signed for the generation before: signers outside draw a new nonce each time, and a night without change must
 * make no new byte; a key file need not compute a thousand signatures anew. Each one is checked before it is used.
 */
export async function withKnownSignatures(
  keys: readonly SigningKey[],
  previous: Generation | undefined,
  store: BlobStore,
): Promise<SigningKey[]> {
  const cache = createSignatureCache();
  if (keys.length > 0 && previous !== undefined)
    for (const content of previous.statement.predicate.contents)
      for (const evidence of content.evidence ?? []) await addFrom(store, evidence, cache);
  return keys.map((key) => cache.wrap(key));
}

/** What is damaged is signed again. */
async function addFrom(store: BlobStore, evidence: Evidence, cache: SignatureCache): Promise<void> {
  if (evidence.superseded || (evidence.tag !== undefined && !evidence.tag.endsWith('.sig'))) return;
  try {
    const bytes = await store.readWhole(evidence, LIMITS.ociManifestBytes);
    if (evidence.tag !== undefined) {
      cache.addLegacy(bytes, evidence.mediaType);
      return;
    }
    const manifest = parseOciManifest(bytes, evidence.mediaType, evidence.digest);
    const layer = manifest.kind === 'manifest' && isBundleReferrer(manifest) ? manifest.layers[0] : undefined;
    if (layer !== undefined && layer.size <= LIMITS.evidenceBlobBytes)
      cache.addBundle(await store.readWhole(layer, LIMITS.evidenceBlobBytes));
  } catch (error) {
    if (!isBundleError(error)) throw error;
  }
}
