import type { BlobStore } from '../bundle/blob-store.ts';
import { type Graph, type GraphManifest, walkGraph } from '../bundle/graph.ts';
import type { CarriedEvidence } from '../bundle/verify-content.ts';
import type { Descriptor } from '../core/descriptor.ts';
import { type Digest, digestOf } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { byteOrder } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { isIndexType } from '../core/media-types.ts';
import { parseReference, type Reference } from '../core/reference.ts';
import type { LockItem } from '../lock/lock-file.ts';
import { type ManifestReader, select } from '../lock/resolve.ts';
import type { Selection } from '../lock/select-platforms.ts';
import type { ImageEntry } from '../manifest/manifest.ts';
import type { FetchedManifest } from '../registry/manifests.ts';
import type { Verdict } from '../upstream/verdict.ts';
import type { EvidencePlanner } from './evidence.ts';
import { readIntact } from './read-intact.ts';

/** Everything one reference needs: manifests with their bytes, and the blobs still named by digest only. */
export type PlannedItem = Readonly<{
  entry: ImageEntry;
  item: LockItem;
  target: Descriptor;
  manifests: readonly GraphManifest[];
  blobs: readonly Descriptor[];
  /** What the lock says there is about it; ours joins it when the image is signed. */
  evidence: readonly CarriedEvidence[];
  /** What verification of upstream's signatures found, when the manifest asks for it. */
  verdict?: Verdict;
}>;

/** Every manifest and blob that the item needs, evidence included; a digest may come twice. */
export const neededBy = ({ manifests, blobs, evidence }: PlannedItem): { manifests: GraphManifest[]; blobs: Descriptor[] } => ({
  manifests: [...manifests, ...evidence.flatMap((e) => e.graph.manifests)],
  blobs: [...blobs, ...evidence.flatMap((e) => e.graph.blobs)],
});

/**
 * Reads manifests from the bundle where they are, else from the origin.
 * @param trusted blobs believed by size; one that turns out damaged here is taken out, so that it is written again
 */
export function createStoreFirstReader(remote: ManifestReader, store: BlobStore, trusted: Map<Digest, number>): ManifestReader {
  return async (origin, repository, wanted): Promise<FetchedManifest> => {
    const local = await readLocal(store, wanted.digest, trusted);
    if (local !== undefined) return { digest: wanted.digest, mediaType: wanted.mediaType, bytes: local };
    return remote(origin, repository, wanted);
  };
}

async function readLocal(store: BlobStore, digest: Digest, trusted: Map<Digest, number>): Promise<Buffer | undefined> {
  const size = await store.size(digest);
  if (size === undefined || size > LIMITS.ociManifestBytes) return undefined;
  if (trusted.has(digest) && trusted.get(digest) !== size) return undefined;
  return readIntact(store, { digest, size }, LIMITS.ociManifestBytes, trusted);
}

/** @throws BundleError E_LOCK when the lock and the content disagree; E_OCI_MANIFEST, E_NOT_FOUND, E_NETWORK, … */
export async function planItem(
  entry: ImageEntry,
  item: LockItem,
  read: ManifestReader,
  planEvidence: EvidencePlanner,
): Promise<PlannedItem> {
  const ref = parseReference(item.ref);
  const readBytes =
    (derived?: Selection['derived']) =>
    async (d: Descriptor): Promise<Uint8Array> =>
      derived !== undefined && d.digest === item.targetDigest ? derived.bytes : (await read(ref.origin, ref.repository, d)).bytes;
  const original: Descriptor = { mediaType: item.mediaType, digest: item.digest, size: item.size };
  const selection = await selectAgain(entry, item, ref, read);
  const evidence = await planEvidence(item);
  if (selection === undefined || item.form === 'whole') {
    const graph = await walkGraph(original, { read: readBytes() });
    return { entry, item, target: original, ...graph, evidence };
  }
  const target = targetDescriptor(item, selection);
  const children = new Set(selection.children.map((c) => c.digest));
  const targetGraph = await walkGraph(target, { read: readBytes(selection.derived) });
  const originalGraph = await walkGraph(original, {
    read: readBytes(),
    carried: (d) => children.has(d.digest) || isNestedIndex(d, selection),
  });
  return { entry, item, target, ...union(targetGraph, originalGraph), evidence };
}

/** Indexes inside an index are carried so that the path to the children taken stays whole. */
const isNestedIndex = (d: Descriptor, selection: Selection): boolean =>
  isIndexType(d.mediaType) && d.platform === undefined && selection.children.length > 0;

/**
 * Comes to the selection anew and compares: a lock that was edited or merged wrongly must not be signed as what a tag means.
 * @returns undefined for what is no index
 */
async function selectAgain(
  entry: ImageEntry,
  item: LockItem,
  ref: Reference,
  read: ManifestReader,
): Promise<Selection | undefined> {
  const { bytes } = await read(ref.origin, ref.repository, item);
  if (bytes.length !== item.size) throw stale(item, `${item.size} bytes`, `${bytes.length}`);
  if (!isIndexType(item.mediaType)) {
    if (item.form !== 'whole') throw stale(item, `a part of an index ("${item.form}")`, 'an image of its own');
    if (item.targetDigest !== item.digest) throw stale(item, item.targetDigest, item.digest);
    return undefined;
  }
  const selection = await select({ ...entry, ref }, item, read, () => Promise.reject(new Error('an index has no config')));
  if (selection.targetDigest !== item.targetDigest) throw stale(item, item.targetDigest, selection.targetDigest);
  if (selection.form !== item.form) throw stale(item, `"${item.form}"`, `"${selection.form}"`);
  const [locked, found] = [item.platforms, selection.platforms].map(platformsText) as [string, string];
  if (locked !== found) throw stale(item, `the platforms ${locked}`, found);
  return selection;
}

const platformsText = (platforms: LockItem['platforms'] | Selection['platforms']): string =>
  platforms
    .map((p) => `${p.platform} ${p.digest} ${p.size}`)
    .sort(byteOrder)
    .join(', ');

const stale = (item: LockItem, locked: string, found: string): BundleError =>
  new BundleError('E_LOCK', `${item.ref}: the lock says ${locked.slice(0, 500)}, what it names gives ${found.slice(0, 500)}`, {
    hint: 'run "bundle lock --update" for it',
  });

function targetDescriptor(item: LockItem, selection: Selection): Descriptor {
  if (selection.derived !== undefined)
    return {
      mediaType: selection.derived.mediaType,
      digest: digestOf(selection.derived.bytes),
      size: selection.derived.bytes.length,
    };
  const child = selection.children.find((c) => c.digest === item.targetDigest) as Descriptor;
  return { mediaType: child.mediaType, digest: child.digest, size: child.size };
}

function union(a: Graph, b: Graph): Graph {
  const manifests = new Map(a.manifests.map((m) => [m.descriptor.digest, m]));
  for (const m of b.manifests) if (!manifests.has(m.descriptor.digest)) manifests.set(m.descriptor.digest, m);
  const blobs = new Map([...a.blobs, ...b.blobs].map((d) => [d.digest, d]));
  return { manifests: [...manifests.values()], blobs: [...blobs.values()] };
}
