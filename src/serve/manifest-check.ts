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
 * Everything that the manifest needs must be in its repository already; foreign layers live elsewhere, and a subject may come later or never.
 * @throws Refusal 400 MANIFEST_BLOB_UNKNOWN
 */
export async function checkComplete(content: RegistryContent, repository: string, manifest: OciManifest): Promise<void> {
  const missing: Digest[] = [];
  for (const digest of new Set(neededBy(manifest))) {
    const found =
      (manifest.kind === 'index' && (await content.manifest(repository, digest))) || (await content.blob(repository, digest));
    if (!found) missing.push(digest);
    if (missing.length >= NAMED) break;
  }
  if (missing.length === 0) return;
  const what = manifest.kind === 'index' ? 'manifests' : 'blobs';
  throw new Refusal(400, 'MANIFEST_BLOB_UNKNOWN', `this repository lacks ${what} that the manifest names`, {
    detail: { missing },
  });
}

function neededBy(manifest: OciManifest): Digest[] {
  if (manifest.kind === 'index') return manifest.manifests.map(({ digest }) => digest);
  const layers = manifest.layers.filter(({ mediaType }) => !isForeignLayerType(mediaType));
  return [manifest.config, ...layers].map(({ digest }) => digest);
}
