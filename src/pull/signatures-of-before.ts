import type { BlobStore } from '../bundle/blob-store.ts';
import type { Generation } from '../bundle/generation.ts';
import type { Digest } from '../core/digest.ts';
import { isBundleError } from '../core/errors.ts';
import type { Evidence } from '../core/evidence.ts';
import { LIMITS } from '../core/limits.ts';
import { parseOciManifest } from '../core/oci-manifest.ts';
import { parseReference } from '../core/reference.ts';
import { isBundleReferrer } from '../cosign/bundle-referrer.ts';
import { createSignatureCache, type SignatureCache } from '../cosign/signature-cache.ts';
import type { SigningKey } from '../sign/signing-key.ts';
import { readIntact } from './read-intact.ts';

export type SignaturesOfBefore = Readonly<{
  /** The keys, which sign nothing that they have signed already. */
  keys: readonly SigningKey[];
  /** `<origin>/<repository>@<digest>` of every manifest that had a Sigstore bundle in the generation before. */
  bundled: ReadonlySet<string>;
}>;

/**
 * What was signed for the generation before is used again: signers outside draw a new nonce each time, and a night without change must make no new byte; a
 * key file need not compute a thousand signatures anew. Each signature is checked before it is used.
 * @param trusted as for {@link readIntact}: what is damaged is signed, and written, again
 */
export async function signaturesOfBefore(
  keys: readonly SigningKey[],
  previous: Generation | undefined,
  store: BlobStore,
  trusted: Map<Digest, number>,
): Promise<SignaturesOfBefore> {
  const cache = createSignatureCache();
  const bundled = new Set<string>();
  if (keys.length > 0 && previous !== undefined) {
    for (const content of previous.statement.predicate.contents) {
      const { origin, repository } = parseReference(content.ref);
      for (const evidence of content.evidence ?? [])
        if (await addFrom(store, evidence, cache, trusted)) bundled.add(`${origin}/${repository}@${evidence.subject}`);
    }
  }
  return { keys: keys.map((key) => cache.wrap(key)), bundled };
}

/** @returns whether it is a Sigstore bundle */
async function addFrom(
  store: BlobStore,
  evidence: Evidence,
  cache: SignatureCache,
  trusted: Map<Digest, number>,
): Promise<boolean> {
  if (evidence.superseded || (evidence.tag !== undefined && !evidence.tag.endsWith('.sig'))) return false;
  try {
    const bytes = await readIntact(store, evidence, LIMITS.ociManifestBytes, trusted);
    if (bytes === undefined) return false;
    if (evidence.tag !== undefined) {
      cache.addLegacy(bytes, evidence.mediaType);
      return false;
    }
    const manifest = parseOciManifest(bytes, evidence.mediaType, evidence.digest);
    const layer = isBundleReferrer(manifest) ? manifest.layers[0] : undefined;
    if (layer === undefined) return false;
    if (layer.size <= LIMITS.evidenceBlobBytes) {
      const bundle = await readIntact(store, layer, LIMITS.evidenceBlobBytes, trusted);
      if (bundle !== undefined) cache.addBundle(bundle);
    }
    return true;
  } catch (error) {
    if (!isBundleError(error)) throw error;
    return false;
  }
}
