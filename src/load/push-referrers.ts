import type { CarriedEvidence } from '../bundle/verify-content.ts';
import type { Descriptor } from '../core/descriptor.ts';
import { algorithmOf, type Digest, digestOf } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { fallbackTag } from '../core/fallback-tag.ts';
import { MEDIA_TYPE } from '../core/media-types.ts';
import { artifactTypeOf, parseOciManifest } from '../core/oci-manifest.ts';
import { mergeFallbackIndex } from '../cosign/fallback-index.ts';
import type { FetchedManifest } from '../registry/manifests.ts';
import type { EvidencePlace } from './evidence-places.ts';
import { isThere, notFound, type PushContext, pushManifest, putTag } from './push.ts';
import { inSlot, type PlaceOutcome, pushUnderRoot, rootOf } from './push-carried.ts';

/** Who names what: the registry's own list, and the index under the fallback tag. */
type Listed = Readonly<{ api: boolean; byApi: ReadonlySet<Digest>; byTag: ReadonlySet<Digest> }>;

/**
 * Puts referrers by digest. Where the registry keeps no list of them (no API, no answer to this subject, no OCI-Subject, or a list that leaves out what
 * it was given), the client keeps one under the fallback tag (distribution-spec v1.1 "Pushing Manifests with Subject").
 * @throws BundleError of the client; E_OCI_MANIFEST for a fallback index that can't be read where one is needed
 */
export async function pushReferrers(context: PushContext, place: EvidencePlace): Promise<PlaceOutcome> {
  const { repository, wanted } = place;
  const { api, byApi, byTag } = await inSlot(context, () => listed(context, place));
  const unlisted: CarriedEvidence[] = [];
  const taken: CarriedEvidence[] = [];
  let [written, bytes] = [false, 0];
  for (const carried of wanted) {
    const { digest } = carried.evidence;
    if (byApi.has(digest)) continue;
    // An index under a tag goes on naming what was deleted.
    if (byTag.has(digest) && (await inSlot(context, () => isThere(context, repository, digest)))) continue;
    bytes += await pushUnderRoot(context, repository, carried);
    const outcome = await pushManifest(context, repository, rootOf(carried), true);
    written = true;
    const handled = api && outcome !== 'present' && outcome.subjectHandled;
    (handled ? taken : unlisted).push(carried);
  }
  unlisted.push(...(await leftOut(context, place, taken)));
  const add = unlisted.filter(({ evidence }) => !byTag.has(evidence.digest));
  if (add.length === 0) return { written, bytes };
  return { written, bytes, finish: () => inSlot(context, () => finishFallback(context, place, add)) };
}

/** Inside a slot. */
async function listed(context: PushContext, place: EvidencePlace): Promise<Listed> {
  const none: ReadonlySet<Digest> = new Set();
  if (context.referrersApi.known === 'absent') return { api: false, byApi: none, byTag: await listedByTag(context, place) };
  const { api, digests } = await askReferrers(context, place, place.wanted);
  if (!api) return { api, byApi: none, byTag: digests };
  if (place.wanted.every(({ evidence }) => digests.has(evidence.digest))) return { api, byApi: digests, byTag: none };
  // Only for what an earlier run left in it, so that what can't be read names nothing.
  const byTag = await listedByTag(context, place).catch((error: unknown) => {
    if (isBundleError(error) && error.code === 'E_OCI_MANIFEST') return none;
    throw error;
  });
  return { api, byApi: digests, byTag };
}

/**
 * Whether a target has the API is learned once: its repositories are one registry's. That it has none is believed of an image alone, which is there: 404
 * may also mean that the subject is unknown, and 400 that sha512 is.
 * @returns `api` false: no list of the registry's own for this subject, `digests` are those of the fallback index
 */
async function askReferrers(
  context: PushContext,
  { repository, subject, onImage }: EvidencePlace,
  looked: readonly CarriedEvidence[],
): Promise<Readonly<{ api: boolean; digests: ReadonlySet<Digest> }>> {
  const { ports, target, referrersApi } = context;
  const { api, descriptors } = await ports.client
    .listReferrers(target.host, repository, subject, ports.signal)
    .catch((error: unknown) => {
      throw unreadable(error);
    });
  const digests = new Set(descriptors.map(({ digest }) => digest));
  if (api && looked.some(({ evidence }) => digests.has(evidence.digest))) referrersApi.known = 'lists';
  else if (api && referrersApi.known !== 'lists') referrersApi.known = 'answers';
  else if (!api && referrersApi.known === 'unknown' && onImage && algorithmOf(subject) === 'sha256')
    referrersApi.known = 'absent';
  return { api, digests };
}

/** Of what the registry has said to take note of: what it does not name all the same. A registry that names one is believed from then on. */
async function leftOut(
  context: PushContext,
  place: EvidencePlace,
  taken: readonly CarriedEvidence[],
): Promise<readonly CarriedEvidence[]> {
  if (taken.length === 0 || context.referrersApi.known === 'lists') return [];
  const { api, digests } = await inSlot(context, () => askReferrers(context, place, taken));
  return taken.filter(({ evidence }) => !api || !digests.has(evidence.digest));
}

/** @throws BundleError E_OCI_MANIFEST and others for an index that can't be read */
async function listedByTag(context: PushContext, { repository, subject }: EvidencePlace): Promise<ReadonlySet<Digest>> {
  const found = await fallbackAt(context, repository, subject);
  if (found === undefined) return new Set();
  const index = readable(() => parseOciManifest(found.bytes, found.mediaType, found.digest));
  return new Set(index.kind === 'index' ? index.manifests.map(({ digest }) => digest) : []);
}

/** Read again at the last moment: the index is shared. Inside a slot. @returns whether it had to be written */
async function finishFallback(
  context: PushContext,
  { repository, subject }: EvidencePlace,
  add: readonly CarriedEvidence[],
): Promise<boolean> {
  const existing = await fallbackAt(context, repository, subject);
  const bytes = readable(() => mergeFallbackIndex(existing, add.map(fallbackDescriptor)));
  if (bytes === undefined) return false;
  await putTag(context, repository, fallbackTag(subject), { mediaType: MEDIA_TYPE.ociIndex, digest: digestOf(bytes), bytes });
  return true;
}

/** undefined for none, for an image of schema 1, and for the subject itself, to which GitLab resolves the tag. */
async function fallbackAt(context: PushContext, repository: string, subject: Digest): Promise<FetchedManifest | undefined> {
  const { ports, target } = context;
  const found = await ports.client
    .getManifest(target.host, repository, fallbackTag(subject), ports.signal)
    .catch((error: unknown) => {
      if (isBundleError(error) && error.code === 'E_SCHEMA1') return undefined;
      return notFound(unreadable(error));
    });
  return found?.digest === subject ? undefined : found;
}

function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw unreadable(error);
  }
}

/** What can't be read may be a list of others' referrers: it is never replaced. */
function unreadable(error: unknown): unknown {
  if (!isBundleError(error) || error.code !== 'E_OCI_MANIFEST') return error;
  return new BundleError('E_OCI_MANIFEST', `${error.message}; it may list referrers of others, so it stays as it is`, {
    origin: 'target',
    hint: 'look what the registry, or a proxy before it, has under this tag; if nobody needs that, delete the tag and load again',
    cause: error,
  });
}

/** With type and annotations: Kyverno filters by the first, `cosign tree` shows the second. */
function fallbackDescriptor(carried: CarriedEvidence): Descriptor {
  const { descriptor, manifest } = rootOf(carried);
  const artifactType = artifactTypeOf(manifest);
  const { mediaType, digest, size } = descriptor;
  return {
    mediaType,
    digest,
    size,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(manifest.annotations === undefined ? {} : { annotations: manifest.annotations }),
  };
}
