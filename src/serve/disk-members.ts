import type { Digest } from '../core/digest.ts';

/**
 * What each repository of a registry directory has, in memory: read once when the directory is opened (which one process at a time may do) and
 * changed with each change on disk. So nobody has to walk all repositories to learn whether bytes are still wanted, and "is it there" and "then
 * keep it" are one step without a wait in between, on which the safety of garbage collection rests.
 */
export type Members = ReturnType<typeof createMembers>;

/** Values: when the thing was last pushed or promised to a client (found by a HEAD, say), in ms of a clock that only goes forward. */
type Repository = Readonly<{ blobs: Map<Digest, number>; manifests: Map<Digest, number>; tags: Map<string, Digest> }>;
type Kind = 'blobs' | 'manifests';

const NOTHING: ReadonlyMap<never, never> = new Map<never, never>();

export function createMembers() {
  const repositories = new Map<string, Repository>();
  /** In how many repositories the digest is a blob, or a manifest. */
  const counts = { blobs: new Map<Digest, number>(), manifests: new Map<Digest, number>() };
  const of = (name: string): Repository => {
    const found = repositories.get(name) ?? { blobs: new Map(), manifests: new Map(), tags: new Map() };
    repositories.set(name, found);
    return found;
  };
  const count = (kind: Kind, digest: Digest, by: 1 | -1): void => {
    const left = (counts[kind].get(digest) ?? 0) + by;
    if (left === 0) counts[kind].delete(digest);
    else counts[kind].set(digest, left);
  };
  return {
    repositories: (): string[] => [...repositories.keys()],
    /** Since the start, even if all of it was deleted again. */
    knows: (name: string): boolean => repositories.has(name),
    all: (kind: Kind, name: string): ReadonlyMap<Digest, number> => repositories.get(name)?.[kind] ?? NOTHING,
    tags: (name: string): ReadonlyMap<string, Digest> => repositories.get(name)?.tags ?? NOTHING,
    setTag: (name: string, tag: string, digest: Digest): void => void of(name).tags.set(tag, digest),
    removeTag: (name: string, tag: string): void => void repositories.get(name)?.tags.delete(tag),
    add(kind: Kind, name: string, digest: Digest, at: number): void {
      const members = of(name)[kind];
      if (!members.has(digest)) count(kind, digest, 1);
      members.set(digest, at);
    },
    /** @returns when it was last promised; undefined when it was not there */
    remove(kind: Kind, name: string, digest: Digest): number | undefined {
      const members = repositories.get(name)?.[kind];
      const at = members?.get(digest);
      if (members === undefined || at === undefined) return undefined;
      members.delete(digest);
      count(kind, digest, -1);
      return at;
    },
    /** Whether it is there; if so, it was promised just now. */
    promise(kind: Kind, name: string, digest: Digest, at: number): boolean {
      const members = repositories.get(name)?.[kind];
      const is = members?.has(digest) === true;
      if (is) members.set(digest, at);
      return is;
    },
    has: (kind: Kind, name: string, digest: Digest): boolean => repositories.get(name)?.[kind].has(digest) === true,
    isSomewhere: (kind: Kind, digest: Digest): boolean => counts[kind].has(digest),
    /** Whether any repository wants the bytes. */
    isHeld: (digest: Digest): boolean => counts.blobs.has(digest) || counts.manifests.has(digest),
    /** Of blobs and of manifests that are some repository's. */
    figures: () => ({ repositories: repositories.size, blobs: counts.blobs.size, manifests: counts.manifests.size }),
  };
}
