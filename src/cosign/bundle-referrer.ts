import type { Annotations, Descriptor } from '../core/descriptor.ts';
import { digestOf } from '../core/digest.ts';
import { MEDIA_TYPE } from '../core/media-types.ts';
import { artifactTypeOf, type ImageManifest, type OciManifest } from '../core/oci-manifest.ts';
import { blobOf, type MadeBlob, type MadeManifest } from './made.ts';
import { BUNDLE_TYPE_PREFIX, COSIGN_ANNOTATION, COSIGN_TYPE } from './media-types.ts';

export type BundleReferrer = Readonly<{
  manifest: MadeManifest;
  /** The empty config and the bundle. */
  blobs: readonly MadeBlob[];
}>;

/**
 * A Sigstore bundle (v0.3, a DSSE envelope) as a referrer of what it is about (cosign specs/BUNDLE_SPEC.md). The same input gives the same bytes.
 * @param options.created RFC 3339; a time that stays the same from one night to the next, or each night adds a referrer
 */
export function encodeBundleReferrer(
  options: Readonly<{ subject: Descriptor; bundle: Uint8Array; predicateType: string; created: string }>,
): BundleReferrer {
  const { subject, predicateType, created } = options;
  const config = blobOf(Buffer.from('{}'), MEDIA_TYPE.ociEmpty);
  const bundle = blobOf(options.bundle, COSIGN_TYPE.bundle);
  const annotations: Annotations = {
    [COSIGN_ANNOTATION.bundleContent]: 'dsse-envelope',
    [COSIGN_ANNOTATION.bundlePredicateType]: predicateType,
    [COSIGN_ANNOTATION.created]: created,
  };
  const { mediaType, digest, size } = subject;
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.ociManifest,
      artifactType: COSIGN_TYPE.bundle,
      config: config.descriptor,
      layers: [bundle.descriptor],
      // Not what an index says of it besides: the referrer must not change with the place where its subject was found.
      subject: { mediaType, digest, size },
      annotations,
    }),
  );
  const manifest = { mediaType: MEDIA_TYPE.ociManifest, digest: digestOf(bytes), bytes };
  return { manifest, blobs: [config, bundle] };
}

/**
 * True for a manifest that holds one Sigstore bundle of any version as its only layer. Ask the manifest and not the descriptor in a list: cosign 3.1
 * writes another type there when it keeps the fallback tag itself.
 */
export const isBundleReferrer = (manifest: OciManifest): manifest is ImageManifest =>
  manifest.kind === 'manifest' &&
  manifest.layers.length === 1 &&
  (artifactTypeOf(manifest)?.startsWith(BUNDLE_TYPE_PREFIX) ?? false);
