import type { GraphManifest } from '../bundle/graph.ts';
import type { VerifiedBundle } from '../bundle/verify.ts';
import type { CarriedEvidence } from '../bundle/verify-content.ts';
import type { Descriptor } from '../core/descriptor.ts';
import { type Digest, digestOf } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { fallbackTag } from '../core/fallback-tag.ts';
import { isIndexType, MEDIA_TYPE } from '../core/media-types.ts';
import { artifactTypeOf, parseOciManifest } from '../core/oci-manifest.ts';
import { mergeFallbackIndex } from '../cosign/fallback-index.ts';
import { type LegacyLayer, mergeLegacy, parseLegacy } from '../cosign/legacy.ts';
import type { FetchedManifest } from '../registry/manifests.ts';
import { notFound, type PushContext, pushBlobOnce, pushKey, pushManifest, putTag } from './push.ts';
import { placesAt, type Target } from './target.ts';

/**
 * Signatures and other evidence at the target (design.md section 4). Two kinds of places are shared with others, so that what is there already is kept:
 * cosign's tags, whose layers are united, and the fallback indexes of registries without a referrers API.
 */
export type EvidencePlace = Readonly<{
  repository: string;
  /** cosign's tag; undefined: referrers of `subject`. */
  tag: string | undefined;
  subject: Digest;
  wanted: readonly CarriedEvidence[];
}>;

/** Every place once, however many references share it. */
export function evidencePlaces({ contents }: Pick<VerifiedBundle, 'contents'>, target: Target): EvidencePlace[] {
  const places = new Map<string, { place: Omit<EvidencePlace, 'wanted'>; wanted: Map<Digest, CarriedEvidence> }>();
  for (const { content, evidence } of contents) {
    for (const repository of new Set(placesAt(target, content.ref, content.aliases ?? []).map((p) => p.repository))) {
      for (const carried of evidence) {
        if (carried.evidence.superseded) continue;
        const { tag, subject, digest } = carried.evidence;
        const key = `${repository} ${tag ?? ''} ${subject}`;
        const found = places.get(key) ?? { place: { repository, tag, subject }, wanted: new Map() };
        found.wanted.set(digest, carried);
        places.set(key, found);
      }
    }
  }
  return [...places.values()].map(({ place, wanted }) => ({ ...place, wanted: [...wanted.values()] }));
}

/** `finish` moves the place's tag, once everything else is there. */
export type PlaceOutcome = Readonly<{ written: boolean; bytes: number; finish?: () => Promise<void> }>;

const COMPLETE: PlaceOutcome = { written: false, bytes: 0 };

/** Brings what is missing by digest. No tag moves here. */
export const pushEvidence = (context: PushContext, place: EvidencePlace): Promise<PlaceOutcome> =>
  place.tag === undefined ? pushReferrers(context, place) : pushTagged(context, place, place.tag);

/** Signatures have a few hundred bytes: sending one costs less than asking for it. */
const SMALL_BYTES = 64 * 1024;

/** @returns bytes of blobs that went over the wire for this one */
async function pushBlobs(context: PushContext, repository: string, { graph }: CarriedEvidence): Promise<number> {
  const sizes = graph.blobs.map(async (blob) => {
    const mine = !context.pushed.has(pushKey(repository, blob));
    const outcome = await pushBlobOnce(context, repository, blob, blob.size <= SMALL_BYTES);
    return outcome === 'pushed' && mine ? blob.size : 0;
  });
  return (await Promise.all(sizes)).reduce((a, b) => a + b, 0);
}

/** All but the root, which is put under its tag, or by digest, once everything else is there. */
async function pushUnderRoot(context: PushContext, repository: string, carried: CarriedEvidence): Promise<number> {
  const bytes = await pushBlobs(context, repository, carried);
  for (const manifest of carried.graph.manifests.slice(0, -1)) await pushManifest(context, repository, manifest);
  return bytes;
}

const rootOf = ({ graph }: CarriedEvidence): GraphManifest => graph.manifests.at(-1) as GraphManifest;

async function pushTagged(context: PushContext, place: EvidencePlace, tag: string): Promise<PlaceOutcome> {
  const { repository, wanted } = place;
  const there = await inSlot(context, () => tagAt(context, repository, tag, wanted));
  if (there === 'as wanted') return COMPLETE;
  const union = uniteWith(there, wanted, tag);
  if (union === 'complete') return COMPLETE;
  if (union === 'foreign') {
    const text = `${context.target.name}/${repository}:${tag} stays as it is: there or in the bundle it is no list of signatures`;
    context.ports.report({ type: 'warning', text });
    return COMPLETE;
  }
  let bytes = 0;
  for (const carried of wanted) {
    // Where lists are united the manifest is a new one: of ours only the layers go.
    if (union === 'ours') bytes += await pushUnderRoot(context, repository, carried);
    else bytes += await pushBlobs(context, repository, carried);
  }
  return { written: true, bytes, finish: () => inSlot(context, () => finishTag(context, repository, tag, wanted)) };
}

/** Read again at the last moment: somebody may have signed meanwhile. */
async function finishTag(
  context: PushContext,
  repository: string,
  tag: string,
  wanted: readonly CarriedEvidence[],
): Promise<void> {
  const there = await tagAt(context, repository, tag, wanted);
  if (there === 'as wanted') return;
  const union = uniteWith(there, wanted, tag);
  if (union === 'complete' || union === 'foreign') return;
  if (union === 'ours') {
    const { descriptor, bytes } = rootOf(wanted.at(-1) as CarriedEvidence);
    await putTag(context, repository, tag, { ...descriptor, bytes });
    return;
  }
  const { config, manifest } = union;
  const blob = { digest: config.digest, size: config.bytes.length };
  context.ports.onWrite();
  await context.ports.client.pushBlob(context.target.host, {
    repository,
    blob,
    read: (start, end) => once(config.bytes.subarray(start, end)),
    signal: context.ports.signal,
  });
  await putTag(context, repository, tag, manifest);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function tagAt(
  { ports, target }: PushContext,
  repository: string,
  tag: string,
  wanted: readonly CarriedEvidence[],
): Promise<'as wanted' | FetchedManifest | undefined> {
  const found = await ports.client.lookUp(target.host, repository, tag, ports.signal);
  if (found === undefined) return undefined;
  if (wanted.length === 1 && found.digest === wanted[0]?.evidence.digest) return 'as wanted';
  return ports.client.getManifest(target.host, repository, tag, ports.signal).catch(notFound);
}

type Union = NonNullable<ReturnType<typeof mergeLegacy>>;

/** `.sbom` is one document: the bundle's replaces the target's. Lists of signatures are united, the target's first, and nothing is dropped. */
function uniteWith(
  there: FetchedManifest | undefined,
  wanted: readonly CarriedEvidence[],
  tag: string,
): Union | 'complete' | 'foreign' | 'ours' {
  const ours = wanted.map((carried) => {
    const { descriptor, bytes } = rootOf(carried);
    return parseLegacy(bytes, descriptor.mediaType, descriptor.digest);
  });
  if (there === undefined && wanted.length === 1) return 'ours';
  if (tag.endsWith('.sbom')) return there?.digest === wanted.at(-1)?.evidence.digest ? 'complete' : 'ours';
  if (there === undefined && ours.some((list) => list === undefined)) return 'ours';
  const theirs = there && parseLegacy(there.bytes, there.mediaType, there.digest);
  // What is no list can't be united with anything, on either side: what is there stays.
  if ((there !== undefined && theirs === undefined) || ours.some((list) => list === undefined)) return 'foreign';
  const layers: LegacyLayer[] = ours.flatMap((list) => list?.layers ?? []);
  return mergeLegacy(there, layers) ?? 'complete';
}

async function pushReferrers(context: PushContext, place: EvidencePlace): Promise<PlaceOutcome> {
  const { repository, wanted } = place;
  const { api, digests } = await inSlot(context, () => listed(context, place));
  let [written, bytes] = [false, 0];
  for (const carried of wanted) {
    // A list made by the registry names what it has; one under a tag may name what was deleted since.
    if (digests.has(carried.evidence.digest) && (api || (await inSlot(context, () => isThere(context, repository, carried)))))
      continue;
    bytes += await pushUnderRoot(context, repository, carried);
    const { descriptor, bytes: manifest } = rootOf(carried);
    await inSlot(context, () => {
      context.ports.onWrite();
      const { client, signal } = context.ports;
      return client.putManifest(context.target.host, repository, descriptor.digest, { ...descriptor, bytes: manifest }, signal);
    });
    written = true;
  }
  if (api || wanted.every((carried) => digests.has(carried.evidence.digest))) return { written, bytes };
  return { written: true, bytes, finish: () => inSlot(context, () => finishFallback(context, place)) };
}

/** Whether a target has the referrers API is asked once: its repositories are one registry's. */
async function listed(
  context: PushContext,
  { repository, subject }: EvidencePlace,
): Promise<Readonly<{ api: boolean; digests: ReadonlySet<Digest> }>> {
  const { client, signal } = context.ports;
  const { host } = context.target;
  if (context.referrersApi.known === false) {
    const index = await fallbackAt(context, repository, subject);
    return { api: false, digests: new Set(index === undefined ? [] : descriptorsIn(index)) };
  }
  const { api, descriptors } = await client.listReferrers(host, repository, subject, signal);
  context.referrersApi.known = api;
  return { api, digests: new Set(descriptors.map((d) => d.digest)) };
}

function descriptorsIn({ bytes, mediaType, digest }: FetchedManifest): Digest[] {
  if (!isIndexType(mediaType)) return [];
  const index = parseOciManifest(bytes, mediaType, digest);
  return index.kind === 'index' ? index.manifests.map((d) => d.digest) : [];
}

async function isThere({ ports, target }: PushContext, repository: string, { evidence }: CarriedEvidence): Promise<boolean> {
  return (await ports.client.lookUp(target.host, repository, evidence.digest, ports.signal)) !== undefined;
}

/** distribution-spec v1.1 "Referrers Tag Schema": the client keeps the list where the registry does not. */
async function finishFallback(context: PushContext, { repository, subject, wanted }: EvidencePlace): Promise<void> {
  const existing = await fallbackAt(context, repository, subject);
  const bytes = mergeFallbackIndex(existing, wanted.map(fallbackDescriptor));
  if (bytes === undefined) return;
  await putTag(context, repository, fallbackTag(subject), { mediaType: MEDIA_TYPE.ociIndex, digest: digestOf(bytes), bytes });
}

/** undefined for none, and for the subject itself, to which GitLab resolves the tag. */
async function fallbackAt(
  { ports, target }: PushContext,
  repository: string,
  subject: Digest,
): Promise<FetchedManifest | undefined> {
  const found = await ports.client
    .getManifest(target.host, repository, fallbackTag(subject), ports.signal)
    .catch(notFoundOrForeign);
  return found?.digest === subject ? undefined : found;
}

/** `cosign copy` leaves the image's own manifest under this tag, others leave what is no manifest at all: neither is a list of anything. */
const notFoundOrForeign = (error: unknown): undefined => {
  if (isBundleError(error) && error.code === 'E_OCI_MANIFEST') return undefined;
  return notFound(error);
};

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

const inSlot = <T>({ ports, target }: PushContext, task: () => Promise<T>): Promise<T> =>
  ports.client.inSlot(target.host, async () => {
    ports.signal.throwIfAborted();
    return task();
  });

/** Names the place in what went wrong. */
export function evidenceFault(place: EvidencePlace, error: unknown): unknown {
  if (!isBundleError(error)) return error;
  const what = place.tag ?? `referrers of ${place.subject}`;
  return new BundleError(error.code, `signatures of ${place.repository}, ${what}: ${error.message}`, {
    hint: error.hint,
    origin: error.origin,
    cause: error,
    detail: error.detail,
  });
}
