import { type Digest, digestOf, isDigest } from '../core/digest.ts';
import { isBundleError } from '../core/errors.ts';
import { parseStrictJson } from '../core/json.ts';
import { isForeignLayerType, withoutParameters } from '../core/media-types.ts';
import { type OciManifest, parseOciManifest } from '../core/oci-manifest.ts';
import type { RegistryContent } from './content.ts';
import { Refusal } from './refusal.ts';

/** Enough to act on; a sparse index of thousands need not be spelled out. */
const NAMED = 100;

/** Parameters are ignored; without the header the body's own `mediaType` counts. @throws Refusal 400 MANIFEST_INVALID */
export function mediaTypeOf(header: string | undefined, bytes: Uint8Array): string {
  const type = withoutParameters(header ?? '');
  if (type !== '') return type;
  const inside = invalidUnless(() => parseStrictJson(bytes, 'the manifest', 'E_OCI_MANIFEST').mediaType);
  if (typeof inside === 'string') return inside;
  throw new Refusal(400, 'MANIFEST_INVALID', 'neither Content-Type nor mediaType says what this is');
}

/** @throws Refusal 400 MANIFEST_INVALID */
export const checkedManifest = (bytes: Uint8Array, mediaType: string): OciManifest =>
  invalidUnless(() => parseOciManifest(bytes, mediaType, 'the manifest'));

function invalidUnless<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (isBundleError(error)) throw new Refusal(400, 'MANIFEST_INVALID', error.message, { cause: error });
    throw error;
  }
}

/** The digest that the bytes get: the one in the path, which must fit, or the canonical one. @throws Refusal 400 DIGEST_INVALID */
export function digestFor(reference: string, bytes: Uint8Array): Digest {
  if (!isDigest(reference)) return digestOf(bytes);
  const actual = digestOf(bytes, reference.startsWith('sha512:') ? 'sha512' : 'sha256');
  if (actual === reference) return actual;
  throw new Refusal(400, 'DIGEST_INVALID', 'the manifest has another digest than the one in the path', {
    detail: { expected: reference, actual },
  });
}

/**
 * What the manifest needs and its repository lacks, the first hundred; foreign layers live elsewhere, and a subject may come later or never.
 */
export async function missingFrom(
  content: RegistryContent,
  repository: string,
  manifest: OciManifest,
): Promise<readonly Digest[]> {
  const missing: Digest[] = [];
  for (const digest of new Set(neededBy(manifest))) {
    const found =
      (manifest.kind === 'index' && (await content.manifest(repository, digest))) || (await content.blob(repository, digest));
    if (!found) missing.push(digest);
    if (missing.length >= NAMED) break;
  }
  return missing;
}

const lacks = (manifest: OciManifest): string =>
  `this repository lacks ${manifest.kind === 'index' ? 'manifests' : 'blobs'} that the manifest names`;

export const incomplete = (manifest: OciManifest, missing: readonly Digest[]): Refusal =>
  new Refusal(400, 'MANIFEST_BLOB_UNKNOWN', lacks(manifest), { detail: { missing } });

/** A header's worth: 20 sha512 digests are 2 800 bytes, and distribution-spec "Warnings" allows 4 096 in all. */
const WARNED = 20;

/** The `Warning` of a push that was taken although things are missing (distribution-spec "Warnings"): code 299, and `-` for the agent. */
export function sparseWarning(manifest: OciManifest, missing: readonly Digest[]): string {
  const rest = missing.length > WARNED ? ', and more' : '';
  return `299 - "${lacks(manifest)}: ${missing.slice(0, WARNED).join(', ')}${rest}"`;
}

function neededBy(manifest: OciManifest): Digest[] {
  if (manifest.kind === 'index') return manifest.manifests.map(({ digest }) => digest);
  const layers = manifest.layers.filter(({ mediaType }) => !isForeignLayerType(mediaType));
  return [manifest.config, ...layers].map(({ digest }) => digest);
}
