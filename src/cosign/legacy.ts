import { type Descriptor, parseDescriptor } from '../core/descriptor.ts';
import { algorithmOf, type Digest, digestOf, hexOf } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { byteOrder, isObject, type JsonObject } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { isImageConfigType, MEDIA_TYPE } from '../core/media-types.ts';
import { parseOciManifest } from '../core/oci-manifest.ts';
import { blobOf, type MadeBlob, type MadeManifest } from './made.ts';
import { verbatimJson } from './verbatim-json.ts';

export const COSIGN_TAGS = ['sig', 'att', 'sbom'] as const;
export type CosignTag = (typeof COSIGN_TAGS)[number];

/**
 * Where cosign keeps what it has to say about `digest`, in the same repository. For sha512 it is longer than a tag may be (`isTag` is false):
 * cosign knows sha256 only, and nothing can be there.
 */
export const legacyTag = (digest: Digest, kind: CosignTag): string => `${algorithmOf(digest)}-${hexOf(digest)}.${kind}`;

/** One signature or attestation. `json` is its descriptor as found, with fields that we don't know. */
export type LegacyLayer = Readonly<{ json: JsonObject; descriptor: Descriptor }>;

export type { MadeBlob, MadeManifest };

export type LegacyManifest = Readonly<{ layers: LegacyLayer[]; json: JsonObject }>;

/**
 * Reads what is under one of cosign's tags: an image manifest with a layer per signature.
 * @param mediaType under which it was found
 * @returns undefined when it is something else (an index, an artifact with a config of its own), to which no signature can be added
 * @throws BundleError E_OCI_MANIFEST, E_LIMIT, E_SCHEMA1, E_DIGEST_INVALID for bytes that are no manifest at all
 */
export function parseLegacy(bytes: Uint8Array, mediaType: string, what: string): LegacyManifest | undefined {
  const manifest = parseOciManifest(bytes, mediaType, what);
  if (manifest.kind !== 'manifest' || !isImageConfigType(manifest.config.mediaType)) return undefined;
  requireRoom(manifest.layers.length, what);
  const json = verbatimJson(bytes);
  const raw = json.layers as readonly JsonObject[];
  return { layers: manifest.layers.map((descriptor, i) => ({ json: raw[i] as JsonObject, descriptor })), json };
}

/** A layer as it will be found again. @throws BundleError E_OCI_MANIFEST, E_DIGEST_INVALID */
export const legacyLayer = (json: JsonObject): LegacyLayer => ({ json, descriptor: parseDescriptor(json, 'layer') });

export type MergedLegacy = Readonly<{ manifest: MadeManifest; config: MadeBlob }>;

/**
 * The union of what is there and what is to be there: the layers of `base` first, in their order and as they are, then the missing ones. The same input
 * gives the same bytes, and a second merge finds nothing to do. A layer is the same when digest and annotations are: two keys that sign one payload
 * make two layers with one digest.
 * @returns undefined when `base` has everything
 * @throws BundleError E_LIMIT when it would be more than cosign reads; E_OCI_MANIFEST when nothing can be added to `base` ({@link parseLegacy})
 */
export function mergeLegacy(
  base: Readonly<{ bytes: Uint8Array; mediaType: string }> | undefined,
  additions: readonly LegacyLayer[],
): MergedLegacy | undefined {
  const what = 'the signatures at the registry';
  const before = base === undefined ? undefined : parseLegacy(base.bytes, base.mediaType, what);
  if (base !== undefined && before === undefined) {
    throw new BundleError('E_OCI_MANIFEST', `${what}: what is under cosign's tag is no list of signatures; nothing can be added`);
  }
  const there = new Set((before?.layers ?? []).map(identityOf));
  const missing = [...new Map(additions.map((layer) => [identityOf(layer), layer]))].flatMap(([identity, layer]) =>
    there.has(identity) ? [] : [layer],
  );
  if (missing.length === 0) return undefined;
  const layers = [...(before?.layers ?? []), ...missing];
  requireRoom(layers.length, what);
  const configType = isObject(before?.json.config) ? before.json.config.mediaType : MEDIA_TYPE.ociConfig;
  const config = encodeConfig(layers, configType as string);
  const mediaType = base?.mediaType ?? MEDIA_TYPE.ociManifest;
  const bytes = Buffer.from(
    JSON.stringify({
      ...(before?.json ?? { schemaVersion: 2, mediaType }),
      config: config.descriptor,
      layers: layers.map((layer) => layer.json),
    }),
  );
  requireSize(bytes, what);
  return { manifest: { mediaType, digest: digestOf(bytes), bytes }, config };
}

/** Independent of the order in which a writer sets annotations; no annotations and empty ones are one. */
const identityOf = ({ descriptor }: LegacyLayer): string =>
  JSON.stringify([descriptor.digest, Object.entries(descriptor.annotations ?? {}).sort(([a], [b]) => byteOrder(a, b))]);

/** As cosign writes it: an image that never was (cosign pkg/oci/empty, mutate). */
function encodeConfig(layers: readonly LegacyLayer[], mediaType: string): MadeBlob {
  const zero = '0001-01-01T00:00:00Z';
  const config = {
    architecture: '',
    created: zero,
    history: layers.map(() => ({ created: zero })),
    os: '',
    rootfs: { type: 'layers', diff_ids: layers.map(({ descriptor }) => descriptor.digest) },
    config: {},
  };
  return blobOf(Buffer.from(JSON.stringify(config)), mediaType);
}

function requireRoom(layers: number, what: string): void {
  if (layers <= LIMITS.legacyLayers) return;
  throw new BundleError(
    'E_LIMIT',
    `${what}: ${layers} signatures on one image, more than the ${LIMITS.legacyLayers} that cosign reads`,
    {
      hint: 'look who signs it so often, and remove the signatures that nobody needs',
    },
  );
}

function requireSize(bytes: Uint8Array, what: string): void {
  if (bytes.length <= LIMITS.ociManifestBytes) return;
  throw new BundleError(
    'E_LIMIT',
    `${what}: ${bytes.length} bytes in one manifest, more than the limit of ${LIMITS.ociManifestBytes}`,
    {
      hint: 'remove the signatures that nobody needs',
    },
  );
}
