import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { byteOrder } from '../core/json.ts';
import type { RegistryContent, Staging, StoredBlob, StoredManifest, WritableContent } from './content.ts';
import { referrerOf } from './referrer.ts';

/** As they came in: joining a gigabyte would cost more than serving it. */
type Chunks = readonly Uint8Array[];

type Repository = Readonly<{
  blobs: Map<Digest, Chunks>;
  manifests: Map<Digest, StoredManifest>;
  tags: Map<string, Digest>;
  referrers: Map<Digest, Map<Digest, Descriptor>>;
}>;
type Repositories = Map<string, Repository>;

/** A registry's content in memory: for tests and demonstrations. Repositories share bytes, not membership. */
export function createMemoryContent(): WritableContent {
  const repositories: Repositories = new Map();
  return {
    ...readingSide(repositories),
    savedUploads: async () => [],
    stage: async () => createStaging((name, digest, chunks) => repositoryOf(repositories, name).blobs.set(digest, chunks)),
    async mount(name, digest, from) {
      const sources = from === undefined ? [...repositories.values()] : [repositories.get(from)];
      const chunks = sources.map((source) => source?.blobs.get(digest)).find((found) => found !== undefined);
      if (chunks !== undefined) repositoryOf(repositories, name).blobs.set(digest, chunks);
      return chunks !== undefined;
    },
    async putManifest(name, manifest, tags) {
      const repository = repositoryOf(repositories, name);
      repository.manifests.set(manifest.digest, manifest);
      const referrer = referrerOf(manifest);
      if (referrer !== undefined) referrersOf(repository, referrer.subject).set(manifest.digest, referrer.descriptor);
      for (const tag of tags) repository.tags.set(tag, manifest.digest);
    },
    async deleteManifest(name, digest) {
      const repository = repositories.get(name);
      const manifest = repository?.manifests.get(digest);
      if (repository === undefined || manifest === undefined) return false;
      for (const [tag, target] of repository.tags) if (target === digest) repository.tags.delete(tag);
      const referrer = referrerOf(manifest);
      if (referrer !== undefined) repository.referrers.get(referrer.subject)?.delete(digest);
      return repository.manifests.delete(digest);
    },
    deleteTag: async (name, tag) => repositories.get(name)?.tags.delete(tag) ?? false,
    deleteBlob: async (name, digest) => repositories.get(name)?.blobs.delete(digest) ?? false,
  };
}

function readingSide(repositories: Repositories): RegistryContent {
  return {
    async manifest(name, reference) {
      const repository = repositories.get(name);
      return repository?.manifests.get(repository.tags.get(reference) ?? (reference as Digest));
    },
    async blob(name, digest) {
      const chunks = repositories.get(name)?.blobs.get(digest);
      return chunks && blobOf(chunks);
    },
    repositories: async () => [...repositories.keys()].sort(byteOrder),
    async tags(name) {
      const repository = repositories.get(name);
      return repository && [...repository.tags.keys()].sort(byteOrder);
    },
    async referrers(name, digest) {
      const found = repositories.get(name)?.referrers.get(digest);
      return found === undefined ? [] : [...found.values()].sort((a, b) => byteOrder(a.digest, b.digest));
    },
  };
}

function repositoryOf(repositories: Repositories, name: string): Repository {
  const found = repositories.get(name) ?? { blobs: new Map(), manifests: new Map(), tags: new Map(), referrers: new Map() };
  repositories.set(name, found);
  return found;
}

function referrersOf(repository: Repository, subject: Digest): Map<Digest, Descriptor> {
  const found = repository.referrers.get(subject) ?? new Map<Digest, Descriptor>();
  repository.referrers.set(subject, found);
  return found;
}

function blobOf(chunks: Chunks): StoredBlob {
  const size = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  return {
    size,
    async *open(start = 0, end = size) {
      let at = 0;
      for (const chunk of chunks) {
        const part = chunk.subarray(Math.max(0, start - at), Math.max(0, end - at));
        at += chunk.length;
        if (part.length > 0) yield part;
      }
    },
  };
}

function createStaging(keep: (repository: string, digest: Digest, chunks: Chunks) => void): Staging {
  const chunks: Uint8Array[] = [];
  const nothing = async (): Promise<void> => undefined;
  let isOver = false;
  const requireOpen = (): void => {
    if (isOver) throw new BundleError('E_INTERRUPTED', 'the upload was let go of', { origin: 'host' });
  };
  return {
    announce: nothing,
    flush: nothing,
    suspend: nothing,
    async write(chunk) {
      requireOpen();
      chunks.push(chunk);
    },
    async *read() {
      yield* chunks;
    },
    async commit(repository, digest) {
      requireOpen();
      keep(repository, digest, chunks);
    },
    async discard() {
      isOver = true;
      chunks.length = 0;
    },
  };
}
