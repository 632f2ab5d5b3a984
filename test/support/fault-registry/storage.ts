/** What the stand-in holds, in memory, per repository. */
import { createHash } from 'node:crypto';
import { blobOf, type TestBlob, type TestImage } from '../random-image.ts';

export type StoredManifest = Readonly<{ digest: string; mediaType: string; bytes: Buffer }>;
export type StoredBlob = Omit<TestBlob, 'digest'> & Readonly<{ digest: string }>;

export type Session = {
  readonly id: string;
  readonly repository: string;
  chunks: Buffer[];
  size: number;
  /** Changes with each answer: the Location before is not honoured any more. */
  state: number;
  patches: number;
};

export type Repository = {
  readonly blobs: Map<string, StoredBlob>;
  readonly manifests: Map<string, StoredManifest>;
  readonly tags: Map<string, string>;
};

export type Storage = ReturnType<typeof createStorage>;

export const digestWith = (algorithm: string, bytes: Uint8Array): string =>
  `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;

export const storedBlob = (bytes: Buffer, digest = digestWith('sha256', bytes)): StoredBlob => ({ ...blobOf(bytes), digest });

export function createStorage() {
  const repositories = new Map<string, Repository>();
  const sessions = new Map<string, Session>();
  const repository = (name: string): Repository => {
    const existing = repositories.get(name);
    if (existing !== undefined) return existing;
    const made: Repository = { blobs: new Map(), manifests: new Map(), tags: new Map() };
    repositories.set(name, made);
    return made;
  };
  return {
    repositories,
    sessions,
    /** Makes it when it is not there. */
    repository,
    find: (name: string): Repository | undefined => repositories.get(name),
    /** Puts a whole image in, as if it had been pushed. */
    add(name: string, tag: string | undefined, image: TestImage): void {
      const into = repository(name);
      for (const blob of image.blobs) into.blobs.set(blob.digest, blob);
      for (const { digest, mediaType, bytes } of image.manifests) into.manifests.set(digest, { digest, mediaType, bytes });
      if (tag !== undefined) into.tags.set(tag, image.digest);
    },
    manifest(name: string, reference: string): StoredManifest | undefined {
      const found = repositories.get(name);
      if (found === undefined) return undefined;
      return found.manifests.get(reference.includes(':') ? reference : (found.tags.get(reference) ?? ''));
    },
    blob: (name: string, digest: string): StoredBlob | undefined => repositories.get(name)?.blobs.get(digest),
    openSession(name: string): Session {
      const session = {
        id: createHash('sha1').update(`${sessions.size}${Math.random()}`).digest('hex'),
        repository: name,
        chunks: [],
        size: 0,
        state: 0,
        patches: 0,
      };
      sessions.set(session.id, session);
      return session;
    },
  };
}
