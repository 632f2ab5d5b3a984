import { type GraphManifest, isUncarried, rootOf } from '../bundle/graph.ts';
import type { VerifiedBundle, VerifiedContent } from '../bundle/verify.ts';
import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import type { Reporter } from '../core/progress.ts';
import type { RegistryClient } from '../registry/client.ts';
import type { PushOutcome } from '../registry/uploads.ts';
import { blobsOf, pushBlobOnce, pushKey, readForPush } from './push-blobs.ts';
import { placesAt, type Target } from './target.ts';

export type PushPorts = Readonly<{
  client: RegistryClient;
  report: Reporter;
  signal: AbortSignal /** Called before each write, so that a failure knows whether anything changed. */;
  onWrite: () => void;
}>;

/** What became of one reference at one target. */
export type LoadedItem = Readonly<{
  ref: string;
  outcome: 'pushed' | 'present' | 'failed';
  targetDigest: Digest;
  /** Names at the target, without its host. */
  names: readonly string[];
  blobs: Readonly<Record<PushOutcome, number>>;
  bytesPushed: number;
  /** The origin's own index, where it differs: whether this target took it although children are missing. */
  originalIndex?: 'pushed' | 'refused';
  error?: BundleError;
}>;

export type PushContext = Readonly<{
  bundle: VerifiedBundle;
  target: Target;
  ports: PushPorts;
  /** First repository to which each blob went (or goes): others mount from there. */
  first: Map<Digest, { repository: string; done: Promise<PushOutcome> }>;
  /** (repository, blob) pairs under way or done: two references of one repository share them. */
  pushed: Map<string, Promise<PushOutcome>>;
  /** Original indexes that this target refused when it took this same generation: not tried again, so that a rerun writes nothing. */
  refused: ReadonlySet<Digest>;
  /** What the target has shown of the referrers API so far. It only ever rises. */
  referrersApi: { known: ReferrersApi };
  /** Take what belongs to another: the site's own `.sbom`. */
  forceTags: boolean;
}>;

/** `absent`: none for an image that is there; `answers`: it answers, maybe with an empty list whatever it has; `lists`: it named what was put there. */
export type ReferrersApi = 'unknown' | 'absent' | 'answers' | 'lists';

export const createPushContext = (
  { bundle, target, forceTags }: Pick<PushContext, 'bundle' | 'target' | 'forceTags'>,
  ports: PushPorts,
  refused: ReadonlySet<Digest>,
): PushContext => ({
  bundle,
  target,
  forceTags,
  ports,
  refused,
  referrersApi: { known: 'unknown' },
  first: new Map(),
  pushed: new Map(),
});

/** Pushes all that one reference needs, children before parents, by digest; no tag moves here. */
export async function pushContent(context: PushContext, verified: VerifiedContent): Promise<LoadedItem> {
  const { content, target: graph } = verified;
  const places = placesAt(context.target, content.ref, content.aliases ?? []);
  const counts: Record<PushOutcome, number> = { present: 0, mounted: 0, pushed: 0 };
  let bytes = 0;
  const count = (outcome: PushOutcome, d: Descriptor): void => {
    counts[outcome]++;
    if (outcome === 'pushed') bytes += d.size;
  };
  let wrote = false;
  const repositories = [...new Set(places.map((p) => p.repository))];
  for (const repository of repositories) {
    await Promise.all(
      blobsOf(verified).map(async (d) => {
        // Another reference of this repository may bring it: then it counts there.
        const mine = !context.pushed.has(pushKey(repository, d));
        const outcome = await pushBlobOnce(context, repository, d);
        count(mine ? outcome : 'present', d);
      }),
    );
    for (const manifest of graph.manifests) wrote = (await pushManifest(context, repository, manifest)) !== 'present' || wrote;
  }
  const originalIndex =
    verified.original === undefined ? undefined : await pushOriginal(context, repositories[0] as string, verified);
  return {
    ref: content.ref,
    outcome: wrote || counts.pushed > 0 || counts.mounted > 0 ? 'pushed' : 'present',
    targetDigest: content.targetDigest,
    names: places.map((p) => `${p.repository}${p.tag === undefined ? `@${content.targetDigest}` : `:${p.tag}`}`),
    blobs: counts,
    bytesPushed: bytes,
    ...(originalIndex === undefined ? {} : { originalIndex }),
  };
}

/** A manifest that was written; `subjectHandled`: the registry says that it takes note of the `subject` inside. */
export type PutOutcome = Readonly<{ subjectHandled: boolean }>;

/** @param absent the registry has just said that it is not there, so that it is not asked again */
export async function pushManifest(
  context: PushContext,
  repository: string,
  node: GraphManifest,
  absent = false,
): Promise<'present' | PutOutcome> {
  const { ports, target } = context;
  return ports.client.inSlot(target.host, async () => {
    ports.signal.throwIfAborted();
    if (!absent && (await isThere(context, repository, node.descriptor.digest))) return 'present';
    ports.onWrite();
    const blobs = node.manifest.kind === 'manifest' ? [node.manifest.config, ...node.manifest.layers] : [];
    return withBlobs(context, repository, blobs, () => put(context, repository, node));
  });
}

/**
 * A registry that names a blob missing although it said "exists" gets it again, once (distribution CVE-2026-35172). Inside a slot.
 * @param blobs what the manifest that is put needs and the bundle has
 */
export async function withBlobs<T>(
  { ports, target, bundle }: PushContext,
  repository: string,
  blobs: readonly Descriptor[],
  putNow: () => Promise<T>,
): Promise<T> {
  try {
    return await putNow();
  } catch (error) {
    const carried = blobs.filter((blob) => !isUncarried(blob));
    if (!isBlobUnknown(error) || carried.length === 0) throw error;
    for (const blob of carried) {
      await ports.client.pushBlob(target.host, {
        repository,
        blob,
        read: (start, end) => readForPush(bundle, blob, start, end),
        force: true,
        signal: ports.signal,
      });
    }
    return await putNow();
  }
}

/** Whether the registry says that it has a manifest. Inside a slot. */
export async function isThere({ ports, target }: PushContext, repository: string, digest: Digest): Promise<boolean> {
  return (await ports.client.lookUp(target.host, repository, digest, ports.signal)) !== undefined;
}

export const notFound = (error: unknown): undefined => {
  if (isBundleError(error) && error.code === 'E_NOT_FOUND') return undefined;
  throw error;
};

const isBlobUnknown = (error: unknown): boolean =>
  isBundleError(error) &&
  Array.isArray(error.detail.codes) &&
  error.detail.codes.some((code) => ['MANIFEST_BLOB_UNKNOWN', 'BLOB_UNKNOWN', 'MANIFEST_UNVERIFIED'].includes(String(code)));

/** Puts by digest and reads back: the registry must give the very bytes that were sent. */
async function put(context: PushContext, repository: string, node: GraphManifest): Promise<PutOutcome> {
  const { client, signal } = context.ports;
  const { digest, mediaType } = node.descriptor;
  const manifest = { digest, mediaType, bytes: node.bytes };
  const outcome = await client.putManifest(context.target.host, repository, digest, manifest, signal);
  const back = await client.getManifest(context.target.host, repository, digest, signal);
  if (Buffer.compare(back.bytes, node.bytes) === 0 && back.mediaType === mediaType) return outcome;
  throw new BundleError(
    'E_TARGET_DIGEST',
    `${context.target.name}/${repository}@${digest}: the registry gives back other bytes or another type than were pushed`,
    { origin: 'target' },
  );
}

/** The origin's own index with children missing: not every registry takes it, and nothing depends on it. */
async function pushOriginal(context: PushContext, repository: string, verified: VerifiedContent): Promise<'pushed' | 'refused'> {
  const nodes = verified.original?.manifests ?? [];
  const inTarget = new Set(verified.target.manifests.map((m) => m.descriptor.digest));
  for (const node of nodes) {
    if (inTarget.has(node.descriptor.digest)) continue;
    if (context.refused.has(verified.content.digest) && node.manifest.kind === 'index') return 'refused';
    try {
      await pushManifest(context, repository, node);
    } catch (error) {
      if (node.manifest.kind === 'index' && isBundleError(error) && error.code === 'E_REGISTRY') return 'refused';
      if (node.manifest.kind === 'index' && isBlobUnknown(error)) return 'refused';
      throw error;
    }
  }
  return 'pushed';
}

/** Moves the tags of one reference: the last thing that happens to a target. Each is asked back. @returns how many moved */
export async function pushTags(context: PushContext, verified: VerifiedContent): Promise<number> {
  const { content, target: graph } = verified;
  const { client, signal } = context.ports;
  const root = rootOf(graph);
  let moved = 0;
  for (const { repository, tag } of placesAt(context.target, content.ref, content.aliases ?? [])) {
    if (tag === undefined) continue;
    await client.inSlot(context.target.host, async () => {
      const now = await client.headManifest(context.target.host, repository, tag, signal).catch(notFound);
      if (now?.digest === content.targetDigest) return;
      signal.throwIfAborted();
      const { targetMediaType: mediaType, targetDigest: digest } = content;
      await putTag(context, repository, tag, { mediaType, digest, bytes: root.bytes });
      moved++;
    });
  }
  return moved;
}

/** Puts what is there by digest already under a tag, and asks it back. Inside a slot. */
export async function putTag(
  context: PushContext,
  repository: string,
  tag: string,
  manifest: Readonly<{ mediaType: string; digest: Digest; bytes: Uint8Array }>,
): Promise<void> {
  const { client, signal, onWrite } = context.ports;
  const { host } = context.target;
  onWrite();
  await client.putManifest(host, repository, tag, manifest, signal);
  const after =
    (await client.headManifest(host, repository, tag, signal)) ?? (await client.getManifest(host, repository, tag, signal));
  if (after.digest === manifest.digest) return;
  throw new BundleError(
    'E_TARGET_DIGEST',
    `${context.target.name}/${repository}:${tag} means ${after.digest} after the push, want ${manifest.digest}`,
    { origin: 'target' },
  );
}
