import type { Descriptor } from '../core/descriptor.ts';
import { BundleError } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { MEDIA_TYPE } from '../core/media-types.ts';
import { parseOciManifest } from '../core/oci-manifest.ts';
import { verbatimJson } from './verbatim-json.ts';

/**
 * The index of referrers at a registry without the referrers API (distribution-spec "Referrers Tag Schema"), with more of them: what is there first, as
 * it is, then what is missing. To be pushed as an OCI index.
 * @param existing what is under the fallback tag; undefined when nothing is, or when it is the subject itself (GitLab resolves the tag to it). What
 *   reads as no index there is replaced, as nobody finds a referrer through it.
 * @param add with `artifactType` and annotations, as readers choose by them
 * @returns undefined when all are listed
 * @throws BundleError E_OCI_MANIFEST, E_LIMIT, … for what can't be read, or would be too large
 */
export function mergeFallbackIndex(
  existing: Readonly<{ bytes: Uint8Array; mediaType: string }> | undefined,
  add: readonly Descriptor[],
): Uint8Array | undefined {
  const before = existing === undefined ? undefined : parseExisting(existing.bytes, existing.mediaType);
  const listed = new Set(before?.digests);
  const missing = [...new Map(add.map((d) => [d.digest, d])).values()].filter(({ digest }) => !listed.has(digest));
  if (missing.length === 0) return undefined;
  const manifests = [...(before?.entries ?? []), ...missing.map(entryOf)];
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, ...before?.json, mediaType: MEDIA_TYPE.ociIndex, manifests }));
  if (bytes.length > LIMITS.ociManifestBytes || manifests.length > LIMITS.descriptors) {
    throw new BundleError('E_LIMIT', `${WHAT}: ${manifests.length} entries in ${bytes.length} bytes are too many for one index`, {
      hint: 'remove referrers that nobody needs, or use a registry with the referrers API',
    });
  }
  return bytes;
}

const WHAT = 'the index of referrers at the registry';

type Existing = Readonly<{ json: JsonObject; entries: readonly unknown[]; digests: readonly string[] }>;

function parseExisting(bytes: Uint8Array, mediaType: string): Existing | undefined {
  // Also of another type: an index under a wrong one is refused here, and not taken for an image.
  const index = parseOciManifest(bytes, mediaType, WHAT);
  if (index.kind !== 'index') return undefined;
  const json = verbatimJson(bytes);
  return { json, entries: json.manifests as readonly unknown[], digests: index.manifests.map(({ digest }) => digest) };
}

/** In one order of fields, whoever made the descriptor. */
const entryOf = ({ mediaType, size, digest, artifactType, annotations }: Descriptor): JsonObject => ({
  mediaType,
  size,
  digest,
  ...(artifactType === undefined ? {} : { artifactType }),
  ...(annotations === undefined ? {} : { annotations }),
});
