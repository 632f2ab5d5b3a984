import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { isBundleError } from '../core/errors.ts';
import { artifactTypeOf, type OciManifest, parseOciManifest } from '../core/oci-manifest.ts';
import type { StoredManifest } from './content.ts';

export type Referrer = Readonly<{ subject: Digest; descriptor: Descriptor }>;

/** The entry of a manifest in the referrers list of its subject: distribution-spec "Listing Referrers". */
export function referrerOf(stored: StoredManifest): Referrer | undefined {
  const manifest = parsedManifest(stored);
  return manifest?.subject && { subject: manifest.subject.digest, descriptor: descriptorOf(stored, manifest) };
}

export function descriptorOf(stored: StoredManifest, manifest: OciManifest): Descriptor {
  const artifactType = artifactTypeOf(manifest);
  return {
    mediaType: stored.mediaType,
    digest: stored.digest,
    size: stored.bytes.length,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(manifest.annotations === undefined ? {} : { annotations: manifest.annotations }),
  };
}

/** A store keeps whatever it was given (tests put broken manifests there on purpose); what can't be read refers to nothing. */
export function parsedManifest(stored: StoredManifest): OciManifest | undefined {
  try {
    return parseOciManifest(stored.bytes, stored.mediaType, stored.digest);
  } catch (error) {
    if (isBundleError(error)) return undefined;
    throw error;
  }
}
