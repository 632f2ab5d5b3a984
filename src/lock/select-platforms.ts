import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { digestOf } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { isObject } from '../core/json.ts';
import { isIndexType } from '../core/media-types.ts';
import { encodeIndex, type ImageIndex } from '../core/oci-manifest.ts';
import { isUnknownPlatform, type Platform, platformOf } from '../core/platform.ts';

export type AskedPlatforms = 'all' | readonly Platform[];

export type PlatformManifest = Readonly<{ platform: Platform; digest: Digest; size: number }>;

/**
 * What a reference means at the target (design.md section 4):
 * whole: the origin's own manifest or index; single: one platform's manifest; derived: an index that pull makes of the children taken.
 */
export type Selection = Readonly<{
  form: 'whole' | 'single' | 'derived';
  targetDigest: Digest;
  platforms: readonly PlatformManifest[];
  /** Present for `derived`. */
  derived?: Readonly<{ mediaType: string; bytes: Uint8Array }>;
  /** Children carried, attestation entries of the platforms taken included. Empty for `whole`, which carries everything. */
  children: readonly Descriptor[];
}>;

/** A leaf of an index: its descriptor, and the object it was read from (unknown fields are kept in a derived index). */
export type Leaf = Readonly<{ descriptor: Descriptor; raw: unknown }>;

/** The raw entries of an index beside their parsed descriptors. */
export function leavesOf(index: ImageIndex, bytes: Uint8Array): Leaf[] {
  const json: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
  const raw: readonly unknown[] = isObject(json) && Array.isArray(json.manifests) ? json.manifests : [];
  return index.manifests.map((descriptor, i) => ({ descriptor, raw: raw[i] }));
}

// moby/buildkit docs/attestations/attestation-storage.md
const ATTESTED = 'vnd.docker.reference.digest';

/** The platforms that an index offers, attestation entries left out. */
export const platformsOf = (leaves: readonly Leaf[]): PlatformManifest[] =>
  leaves.flatMap(({ descriptor: d }) =>
    d.platform === undefined || isUnknownPlatform(d.platform)
      ? []
      : [{ platform: platformOf(d.platform), digest: d.digest, size: d.size }],
  );

/**
 * Chooses among the leaves of an index. Everything offered asked for means the original index; leaves without a platform go along with any choice.
 * @throws BundleError E_PLATFORM_MISSING with the list of those it has
 */
export function selectPlatforms(
  index: ImageIndex,
  leaves: readonly Leaf[],
  indexDigest: Digest,
  asked: AskedPlatforms,
  what: string,
): Selection {
  const offered = platformsOf(leaves);
  const whole: Selection = { form: 'whole', targetDigest: indexDigest, platforms: offered, children: [] };
  if (asked === 'all' || offered.length === 0) return whole;
  const missing = asked.filter((platform) => !offered.some((o) => o.platform === platform));
  if (missing.length > 0)
    throw missingPlatforms(
      what,
      missing,
      offered.map((o) => o.platform),
    );
  const taken = new Set(offered.filter((o) => asked.includes(o.platform)).map((o) => o.digest));
  if (offered.every((o) => taken.has(o.digest))) return whole;
  const kept = leaves.filter(({ descriptor: d }) => isKept(d, taken));
  const platforms = offered.filter((o) => taken.has(o.digest));
  const children = kept.map((leaf) => leaf.descriptor);
  const runnable = kept.filter(({ descriptor: d }) => !isUnknownPlatform(d.platform));
  if (runnable.length === 1)
    return { form: 'single', targetDigest: runnable[0]?.descriptor.digest as Digest, platforms, children };
  const bytes = encodeIndex(
    index.mediaType,
    kept.map((leaf) => leaf.raw),
    index.annotations,
  );
  return { form: 'derived', targetDigest: digestOf(bytes), platforms, children, derived: { mediaType: index.mediaType, bytes } };
}

function isKept(d: Descriptor, taken: ReadonlySet<Digest>): boolean {
  if (taken.has(d.digest)) return true;
  if (isUnknownPlatform(d.platform)) return taken.has(d.annotations?.[ATTESTED] as Digest);
  return d.platform === undefined && !isIndexType(d.mediaType);
}

export function missingPlatforms(what: string, missing: readonly string[], has: readonly string[]): BundleError {
  const list = [...new Set(has)].join(', ');
  return new BundleError(
    'E_PLATFORM_MISSING',
    `${what} has no ${missing.join(', ')}; it has ${list === '' ? 'no platform of its own' : list}`,
    {
      hint: 'name one it has under this image\'s "platforms", or take another tag',
      detail: { missing, has },
    },
  );
}
