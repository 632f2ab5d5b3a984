import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { isForeignLayerType, isManifestType } from '../core/media-types.ts';
import { type OciManifest, parseOciManifest } from '../core/oci-manifest.ts';

/** A manifest met on the walk: children come before parents. */
export type GraphManifest = Readonly<{ descriptor: Descriptor; bytes: Uint8Array; manifest: OciManifest }>;

export type Graph = Readonly<{
  /** Children before parents, each digest once. */
  manifests: readonly GraphManifest[];
  /** Configs and layers, each digest once; foreign layers that nobody carries are left out. */
  blobs: readonly Descriptor[];
}>;

/** What the walk began with: a graph has at least it, and it is the last that is met. */
export const rootOf = ({ manifests }: Pick<Graph, 'manifests'>): GraphManifest => manifests.at(-1) as GraphManifest;

export type WalkOptions = Readonly<{
  read: (descriptor: Descriptor) => Promise<Uint8Array>;
  /** False: a child of an index that is not carried (another platform of a sparse index). Default: everything is carried. */
  carried?: (descriptor: Descriptor) => boolean;
}>;

/**
 * Walks everything that a root needs. Each digest once (a diamond is no explosion), bounded in depth and number; one digest with two sizes, or one
 * manifest under two types, is refused, since readers could disagree on it. What is a blob at one place and a manifest at another is both: met as a
 * layer first, its own layers must not go missing.
 * @throws BundleError E_OCI_MANIFEST, E_LIMIT, E_SCHEMA1
 */
export async function walkGraph(root: Descriptor, options: WalkOptions): Promise<Graph> {
  const manifests: GraphManifest[] = [];
  const blobs = new Map<Digest, Descriptor>();
  const seen = { manifest: new Map<Digest, Descriptor>(), blob: new Map<Digest, Descriptor>() };
  const carried = options.carried ?? (() => true);

  /** True the first time in this role. */
  const meet = (d: Descriptor, role: 'manifest' | 'blob'): boolean => {
    const before = seen[role].get(d.digest);
    const other = before ?? seen[role === 'blob' ? 'manifest' : 'blob'].get(d.digest);
    if (other !== undefined && other.size !== d.size)
      throw new BundleError('E_OCI_MANIFEST', `${d.digest} is listed with ${other.size} bytes and with ${d.size}`);
    if (role === 'manifest' && before !== undefined && before.mediaType !== d.mediaType)
      throw new BundleError('E_OCI_MANIFEST', `${d.digest} is listed as ${before.mediaType} and as ${d.mediaType}`);
    if (before !== undefined) return false;
    seen[role].set(d.digest, d);
    if (seen.manifest.size + seen.blob.size > LIMITS.graphNodes)
      throw new BundleError('E_LIMIT', `${root.digest} needs more than ${LIMITS.graphNodes} blobs`);
    return true;
  };

  const visit = async (d: Descriptor, depth: number): Promise<void> => {
    if (depth > LIMITS.indexDepth)
      throw new BundleError('E_LIMIT', `${root.digest}: indexes nested deeper than ${LIMITS.indexDepth}`);
    if (!meet(d, 'manifest')) return;
    const bytes = await options.read(d);
    const manifest = parseOciManifest(bytes, d.mediaType, d.digest);
    if (manifest.kind === 'index') {
      for (const child of manifest.manifests) if (carried(child)) await visitEntry(child, depth + 1);
    } else {
      for (const blob of [manifest.config, ...manifest.layers])
        if (!isUncarried(blob) && meet(blob, 'blob')) blobs.set(blob.digest, blob);
    }
    manifests.push({ descriptor: d, bytes, manifest });
  };

  /** image-spec image-index.md lets an index point at anything; what is no manifest is carried as bytes. */
  const visitEntry = async (d: Descriptor, depth: number): Promise<void> => {
    if (isManifestType(d.mediaType)) await visit(d, depth);
    else if (meet(d, 'blob')) blobs.set(d.digest, d);
  };

  await visit(root, 1);
  return { manifests, blobs: [...blobs.values()] };
}

/** Foreign layers are named by URL and need not be at the registry; their URLs are never asked (containerd CVE-2020-15157). */
export const isUncarried = (d: Descriptor): boolean =>
  isForeignLayerType(d.mediaType) && d.urls !== undefined && d.urls.length > 0;
