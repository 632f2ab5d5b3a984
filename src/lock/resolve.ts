import { algorithmOf, type Digest } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { parseStrictJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { isImageConfigType, isIndexType } from '../core/media-types.ts';
import { type ImageIndex, type ImageManifest, parseOciManifest } from '../core/oci-manifest.ts';
import { type Platform, platformOf } from '../core/platform.ts';
import { formatReference, type Reference } from '../core/reference.ts';
import { readAll, verified } from '../core/verified.ts';
import type { RegistryClient } from '../registry/client.ts';
import type { FetchedManifest } from '../registry/manifests.ts';
import {
  type AskedPlatforms,
  type Leaf,
  leavesOf,
  missingPlatforms,
  type PlatformManifest,
  type Selection,
  selectPlatforms,
} from './select-platforms.ts';

/** Reads an OCI manifest by digest, from the bundle where it is already there. The type is the one that its parent (or HEAD) named. */
export type ManifestReader = (
  origin: string,
  repository: string,
  wanted: Readonly<{ digest: Digest; mediaType: string }>,
) => Promise<FetchedManifest>;

export type Resolved = Readonly<{ digest: Digest; mediaType: string; size: number }>;

/**
 * Asks the origin what a reference means now: one HEAD, a GET only where HEAD says too little. A tag with a digest must mean that digest.
 * @throws BundleError E_TAG_DIGEST, E_NOT_FOUND, E_AUTH, E_NETWORK, E_DIGEST, E_SCHEMA1, …
 */
export async function resolveReference(client: RegistryClient, ref: Reference, signal?: AbortSignal): Promise<Resolved> {
  const asked = ref.tag ?? (ref.digest as Digest);
  const head = await client.headManifest(ref.origin, ref.repository, asked, signal).catch((error: unknown) => {
    // Some registries answer HEAD worse than GET (403, 405); the GET then says what is really wrong.
    if (isBundleError(error) && (error.code === 'E_REGISTRY' || error.code === 'E_AUTH')) return undefined;
    throw error;
  });
  const found = head ?? sized(await client.getManifest(ref.origin, ref.repository, asked, signal));
  if (ref.digest !== undefined && found.digest !== ref.digest) {
    throw new BundleError('E_TAG_DIGEST', `${formatReference(ref)}: the tag now means ${found.digest}`, {
      hint: 'leave the tag out to keep the digest, or write the new digest after checking what changed',
      detail: { pinned: ref.digest, found: found.digest },
    });
  }
  if (ref.tag !== undefined && algorithmOf(found.digest) !== 'sha256') {
    // A registry names what is put under a tag by its sha256: at the target the tag could not mean this digest.
    throw new BundleError(
      'E_REFERENCE',
      `${formatReference(ref)}: the tag means a ${algorithmOf(found.digest)} digest, which a tag at the target can't`,
      {
        hint: `name it by its digest alone: ${formatReference({ origin: ref.origin, repository: ref.repository, digest: found.digest })}`,
      },
    );
  }
  return { digest: found.digest, mediaType: found.mediaType, size: found.size };
}

const sized = (m: FetchedManifest): Resolved => ({ digest: m.digest, mediaType: m.mediaType, size: m.bytes.length });

export type Wanted = Readonly<{ ref: Reference; platforms: AskedPlatforms; index?: 'exact' }>;

/** A reference pinned by the digest of an index, or marked `index: exact`, takes all children, so that this digest is complete at the target. */
export const effectivePlatforms = (wanted: Wanted): AskedPlatforms =>
  wanted.ref.digest !== undefined || wanted.index === 'exact' ? 'all' : wanted.platforms;

/**
 * Chooses what of a resolved reference is carried and what it will mean at the target. The same code runs for the lock (over the network) and
 * for pull (from the bundle's own blobs), so both come to the same digests.
 * @throws BundleError E_PLATFORM_MISSING, E_OCI_MANIFEST, E_LIMIT, …
 */
export async function select(
  wanted: Wanted,
  root: Resolved,
  read: ManifestReader,
  readConfig: ConfigReader,
): Promise<Selection & { rootSize: number }> {
  const { origin, repository } = wanted.ref;
  const what = formatReference(wanted.ref);
  const { bytes, mediaType } = await read(origin, repository, root);
  const parsed = parseOciManifest(bytes, mediaType, what);
  const rootSize = bytes.length;
  if (parsed.kind === 'manifest')
    return { ...(await selectSingle(wanted, root.digest, rootSize, parsed, readConfig, what)), rootSize };
  const leaves = await flatten(parsed, bytes, (child) => read(origin, repository, child), what, 1);
  return { ...selectPlatforms(parsed, leaves, root.digest, effectivePlatforms(wanted), what), rootSize };
}

export type ConfigReader = (origin: string, repository: string, config: ImageManifest['config']) => Promise<Uint8Array>;

/** An image that is no index has the platform of its config; an artifact has none and suits every platform. */
async function selectSingle(
  wanted: Wanted,
  digest: Digest,
  size: number,
  manifest: ImageManifest,
  readConfig: ConfigReader,
  what: string,
): Promise<Selection> {
  const asked = effectivePlatforms(wanted);
  const whole = (platforms: readonly PlatformManifest[]): Selection => ({
    form: 'whole',
    targetDigest: digest,
    platforms,
    children: [],
  });
  if (!isImageConfigType(manifest.config.mediaType) || asked === 'all') return whole([]);
  if (manifest.artifactType !== undefined) return whole([]);
  const config = parseStrictJson(
    await readConfig(wanted.ref.origin, wanted.ref.repository, manifest.config),
    `${what} config`,
    'E_OCI_MANIFEST',
  );
  const platform = platformInConfig(config);
  if (platform === undefined) return whole([]);
  const missing = asked.filter((p) => p !== platform);
  if (missing.length > 0) throw missingPlatforms(what, missing, [platform]);
  return whole([{ platform, digest, size }]);
}

function platformInConfig(config: Readonly<Record<string, unknown>>): Platform | undefined {
  const { architecture, os, variant } = config;
  if (typeof architecture !== 'string' || typeof os !== 'string' || architecture === '' || os === '') return undefined;
  return platformOf({ architecture, os, ...(typeof variant === 'string' && variant !== '' ? { variant } : {}) });
}

/** Indexes inside an index have no platform of their own: their leaves count as the outer one's. */
async function flatten(
  index: ImageIndex,
  bytes: Uint8Array,
  read: (child: Leaf['descriptor']) => Promise<FetchedManifest>,
  what: string,
  depth: number,
): Promise<Leaf[]> {
  if (depth > LIMITS.indexDepth) throw new BundleError('E_LIMIT', `${what}: indexes nested deeper than ${LIMITS.indexDepth}`);
  const leaves: Leaf[] = [];
  for (const leaf of leavesOf(index, bytes)) {
    if (!isIndexType(leaf.descriptor.mediaType) || leaf.descriptor.platform !== undefined) {
      leaves.push(leaf);
      continue;
    }
    const child = await read(leaf.descriptor);
    const parsed = parseOciManifest(child.bytes, leaf.descriptor.mediaType, `${what} ${leaf.descriptor.digest}`);
    if (parsed.kind === 'index') leaves.push(...(await flatten(parsed, child.bytes, read, what, depth + 1)));
    if (leaves.length > LIMITS.descriptors)
      throw new BundleError('E_LIMIT', `${what}: more than ${LIMITS.descriptors} manifests`);
  }
  return leaves;
}

/** Reads over the network, each digest once; what was read for the lock is there for pull in the same run. */
export function createManifestReader(client: RegistryClient, signal?: AbortSignal): ManifestReader {
  const cache = new Map<Digest, Promise<FetchedManifest>>();
  return (origin, repository, wanted) => {
    let pending = cache.get(wanted.digest);
    if (pending === undefined) {
      pending = client.getManifest(origin, repository, wanted.digest, signal);
      cache.set(wanted.digest, pending);
      pending.catch(() => cache.delete(wanted.digest));
    }
    return pending.then((found) => requireType(found, wanted.mediaType, `${origin}/${repository}@${wanted.digest}`));
  };
}

/** One digest under two types is the confusion of CVE-2021-41190: the parent's word and the registry's must agree. */
function requireType(found: FetchedManifest, mediaType: string, what: string): FetchedManifest {
  if (found.mediaType === mediaType) return found;
  throw new BundleError('E_OCI_MANIFEST', `${what}: served as ${found.mediaType}, listed as ${mediaType}`, { origin: 'source' });
}

/** Reads a config whole, within its limit. */
export const createConfigReader =
  (client: RegistryClient, signal?: AbortSignal): ConfigReader =>
  async (origin, repository, config) => {
    const what = `config of ${origin}/${repository}`;
    if (config.size > LIMITS.configBytes)
      throw new BundleError('E_LIMIT', `${what}: ${config.size} bytes, more than ${LIMITS.configBytes}`);
    return readAll(
      verified(client.readBlob(origin, repository, config, 0, signal), config, what, 'source'),
      LIMITS.configBytes,
      what,
    );
  };
