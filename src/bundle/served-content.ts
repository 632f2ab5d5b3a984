import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { byteOrder } from '../core/json.ts';
import { artifactTypeOf } from '../core/oci-manifest.ts';
import type { RegistryContent, StoredManifest } from '../serve/content.ts';
import { verifiedContent } from '../serve/verified-content.ts';
import type { GraphManifest } from './graph.ts';
import { placesOf } from './places.ts';
import type { VerifiedBundle, VerifiedContent } from './verify.ts';
import { graphsOf } from './verify-content.ts';

type Repository = {
  tags: Map<string, Digest>;
  manifests: Map<Digest, StoredManifest>;
  blobs: Map<Digest, number>;
  referrers: Map<Digest, Map<Digest, Descriptor>>;
};

/**
 * A verified bundle as a registry sees it, with the target's paths: what `load` would push, read straight from the directory. Blobs are hashed while
 * they are read, so a medium that changes meanwhile can't get a whole wrong blob out.
 */
export const servedContent = (bundle: VerifiedBundle): RegistryContent => verifiedContent(contentOf(bundle));

function contentOf(bundle: VerifiedBundle): RegistryContent {
  const repositories = new Map<string, Repository>();
  for (const content of bundle.contents) addContent(repositories, content);
  return {
    async manifest(repository, reference) {
      const found = repositories.get(repository);
      return found?.manifests.get((found.tags.get(reference) ?? reference) as Digest);
    },
    async blob(repository, digest) {
      const size = repositories.get(repository)?.blobs.get(digest);
      return size === undefined
        ? undefined
        : { size, open: (start = 0, end = size) => bundle.store.readPart({ digest, size }, start, end) };
    },
    repositories: async () => [...repositories.keys()].sort(byteOrder),
    async tags(repository) {
      const found = repositories.get(repository);
      return found === undefined ? undefined : [...found.tags.keys()].sort(byteOrder);
    },
    async referrers(repository, digest) {
      return [...(repositories.get(repository)?.referrers.get(digest)?.values() ?? [])];
    },
  };
}

function addContent(repositories: Map<string, Repository>, verified: VerifiedContent): void {
  const { content, evidence } = verified;
  for (const { repository, tag } of placesOf(content.ref, content.aliases ?? [])) {
    const place = repositories.get(repository) ?? {
      tags: new Map(),
      manifests: new Map(),
      blobs: new Map(),
      referrers: new Map(),
    };
    repositories.set(repository, place);
    if (tag !== undefined) place.tags.set(tag, content.targetDigest);
    for (const { evidence: item } of evidence)
      if (item.tag !== undefined && !item.superseded) place.tags.set(item.tag, item.digest);
    for (const graph of graphsOf(verified)) {
      for (const node of graph.manifests) addManifest(place, node);
      for (const blob of graph.blobs) place.blobs.set(blob.digest, blob.size);
    }
  }
}

function addManifest(place: Repository, { descriptor, bytes, manifest }: GraphManifest): void {
  const { digest, mediaType, size } = descriptor;
  place.manifests.set(digest, { digest, mediaType, bytes });
  if (manifest.subject === undefined) return;
  const artifactType = artifactTypeOf(manifest);
  const listed = place.referrers.get(manifest.subject.digest) ?? new Map<Digest, Descriptor>();
  // distribution-spec "Listing Referrers": the descriptor with the manifest's own artifactType and annotations.
  listed.set(digest, {
    mediaType,
    digest,
    size,
    ...(artifactType ? { artifactType } : {}),
    ...(manifest.annotations ? { annotations: manifest.annotations } : {}),
  });
  place.referrers.set(manifest.subject.digest, listed);
}
