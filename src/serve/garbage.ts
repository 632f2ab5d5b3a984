import { algorithmOf, type Digest, digestOf } from '../core/digest.ts';
import type { StoredManifest } from './content.ts';
import { type Named, namedBy } from './disk-changes.ts';
import { type Repetition, repeat, type Timer } from './timer.ts';

/** What collection needs of a content: reads that promise nothing, and removals that look once more. */
export interface Collectable {
  /** One task at a time. */
  alone<T>(task: () => Promise<T>): Promise<T>;
  repositories(): readonly string[];
  /** Digests with the time when they were last pushed or promised to a client, by `elapsed`. */
  manifests(repository: string): ReadonlyMap<Digest, number>;
  blobs(repository: string): ReadonlyMap<Digest, number>;
  tagged(repository: string): ReadonlySet<Digest>;
  read(repository: string, digest: Digest): Promise<StoredManifest | undefined>;
  /** When the manifest was put on the disk, by `now`. */
  storedAt(repository: string, digest: Digest): Promise<number>;
  /** Removes it unless a tag points at it or it was promised after `since`. @returns bytes freed; undefined when it stays */
  dropManifest(repository: string, digest: Digest, since: number): Promise<number | undefined>;
  dropBlob(repository: string, digest: Digest, since: number): Promise<number | undefined>;
  /** Removes bytes that no repository has. */
  dropUnheld(): Promise<Collected>;
  /** ms since 1970 */
  now(): number;
  /** ms on a clock that nobody sets. */
  elapsed(): number;
  warn(message: string): void;
  collected(result: Collected): void;
}

/** Memberships that were ended, and the bytes that this freed. */
export type Collected = Readonly<{ manifests: number; blobs: number; bytes: number }>;

export type CollectOptions = Readonly<{
  /** What was pushed, or promised to a client, within this time stays; default one day. It must be far longer than any push takes. */
  graceMs?: number;
  /** Manifests that nothing keeps go when they were pushed so long ago; default: never. */
  untaggedMs?: number;
  signal?: AbortSignal;
}>;

const DAY_MS = 24 * 3_600_000;

/**
 * Removes what nobody wants any more while the registry runs: manifests that no tag, no index and no subject keeps (only with `untaggedMs`), blobs
 * that no manifest of their repository names, bytes without a repository. Nothing is locked while it looks: whatever a client was told is there,
 * and whatever a manifest names that comes in meanwhile, was promised after `graceMs` ago and is left alone. For the same reason nothing but bytes
 * goes within `graceMs` after the start, when it is not known what was promised before.
 * @throws BundleError E_DISK; what was removed until then stays removed, and a later run goes on
 */
export function collectGarbage(
  content: Readonly<{ collectable: Collectable }>,
  options: CollectOptions = {},
): Promise<Collected> {
  const { collectable } = content;
  return collectable.alone(async () => {
    const since = collectable.elapsed() - (options.graceMs ?? DAY_MS);
    let total = NOTHING;
    for (const repository of collectable.repositories()) {
      if (options.signal?.aborted) break;
      total = sum(total, await collectIn(collectable, repository, since, options));
    }
    total = sum(total, await collectable.dropUnheld());
    collectable.collected(total);
    return total;
  });
}

export type CollectRegularly = Omit<CollectOptions, 'signal'> &
  Readonly<{
    /** From the end of one run to the next. */
    everyMs: number;
    timer?: Timer;
    done?: (result: Collected) => void;
    /** Besides the content's warning. The next run comes all the same. */
    failed?: () => void;
  }>;

/** Collects every `everyMs` until it is stopped. */
export function collectRegularly(content: Readonly<{ collectable: Collectable }>, options: CollectRegularly): Repetition {
  const { everyMs, timer, done, failed, ...limits } = options;
  const collect = async (signal: AbortSignal): Promise<void> => {
    const collected = await collectGarbage(content, { ...limits, signal });
    done?.(collected);
  };
  const warn = (error: unknown): void => {
    content.collectable.warn(`garbage collection: ${(error as Error).message}`);
    failed?.();
  };
  return repeat(collect, everyMs, warn, timer);
}

const sum = (a: Collected, b: Collected): Collected => ({
  manifests: a.manifests + b.manifests,
  blobs: a.blobs + b.blobs,
  bytes: a.bytes + b.bytes,
});

const NOTHING: Collected = { manifests: 0, blobs: 0, bytes: 0 };

type Graph = ReadonlyMap<Digest, Named>;
/** One repository in one run. */
type Run = Readonly<{ content: Collectable; repository: string; graph: Graph; since: number; signal: AbortSignal | undefined }>;

async function collectIn(content: Collectable, repository: string, since: number, options: CollectOptions): Promise<Collected> {
  const { untaggedMs, signal } = options;
  const candidates = [...content.blobs(repository)].filter(([, promisedAt]) => promisedAt <= since).map(([digest]) => digest);
  if (candidates.length === 0 && untaggedMs === undefined) return NOTHING;
  const graph = await readGraph(content, repository, signal);
  if (graph === undefined) return NOTHING;
  const run = { content, repository, graph, since, signal };
  const gone = new Set<Digest>();
  const unwanted = untaggedMs === undefined ? [] : await unwantedManifests(run, untaggedMs);
  const inManifests = await dropManifests(run, unwanted, gone);
  const left = [...graph].filter(([digest]) => !gone.has(digest));
  const named = new Set(left.flatMap(([, { digests }]) => digests));
  return sum(
    inManifests,
    await dropBlobs(
      run,
      candidates.filter((digest) => !named.has(digest)),
    ),
  );
}

/** What each manifest names; undefined when that can't be said of all of them, for then nobody knows what is needed. */
async function readGraph(content: Collectable, repository: string, signal: AbortSignal | undefined): Promise<Graph | undefined> {
  const graph = new Map<Digest, Named>();
  for (const digest of [...content.manifests(repository).keys()]) {
    if (signal?.aborted) return undefined;
    const stored = await content.read(repository, digest);
    const isRight = stored !== undefined && digestOf(stored.bytes, algorithmOf(digest)) === digest;
    const named = isRight ? namedBy(stored) : undefined;
    if (named !== undefined) graph.set(digest, named);
    else if (content.manifests(repository).has(digest)) {
      content.warn(`nothing is collected in ${repository}: its manifest ${digest} can't be read; push it again, or delete it`);
      return undefined;
    }
  }
  return graph;
}

async function dropManifests(run: Run, unwanted: readonly Digest[], gone: Set<Digest>): Promise<Collected> {
  const { content, repository, graph, since, signal } = run;
  const spared = new Set<Digest>();
  let total = NOTHING;
  for (const digest of unwanted) {
    if (signal?.aborted) break;
    const subject = graph.get(digest)?.subject;
    const isSpared = spared.has(digest) || (subject !== undefined && isPromised(run, subject));
    const freed = isSpared ? undefined : await content.dropManifest(repository, digest, since);
    if (freed !== undefined) {
      gone.add(digest);
      total = sum(total, { manifests: 1, blobs: 0, bytes: freed });
    } else for (const child of graph.get(digest)?.digests ?? []) spared.add(child); // promised meanwhile, and all below it
  }
  return total;
}

const isPromised = ({ content, repository, since }: Run, digest: Digest): boolean =>
  (content.manifests(repository).get(digest) ?? since) > since;

async function dropBlobs({ content, repository, since, signal }: Run, unnamed: readonly Digest[]): Promise<Collected> {
  let total = NOTHING;
  for (const digest of unnamed) {
    if (signal?.aborted) break;
    const freed = await content.dropBlob(repository, digest, since);
    if (freed !== undefined) total = sum(total, { manifests: 0, blobs: 1, bytes: freed });
  }
  return total;
}

/** Manifests that nothing keeps, parents before children, so that a run that is cut off leaves no index without its images. */
async function unwantedManifests(run: Run, untaggedMs: number): Promise<Digest[]> {
  const { content, repository, graph } = run;
  const tagged = content.tagged(repository);
  const referrers = referrersIn(graph);
  const kept = new Set<Digest>();
  for (const root of graph.keys()) {
    const isRoot =
      tagged.has(root) || isPromised(run, root) || (await content.storedAt(repository, root)) > content.now() - untaggedMs;
    for (const queue = isRoot ? [root] : []; queue.length > 0; ) {
      const digest = queue.pop() as Digest;
      if (kept.has(digest)) continue;
      kept.add(digest);
      queue.push(...(graph.get(digest)?.digests ?? []), ...(referrers.get(digest) ?? []));
    }
  }
  return parentsFirst(
    graph,
    [...graph.keys()].filter((digest) => !kept.has(digest)),
  );
}

function referrersIn(graph: Graph): ReadonlyMap<Digest, readonly Digest[]> {
  const found = new Map<Digest, Digest[]>();
  for (const [digest, { subject }] of graph) {
    if (subject === undefined) continue;
    const list = found.get(subject);
    if (list === undefined) found.set(subject, [digest]);
    else list.push(digest);
  }
  return found;
}

/** Without recursion: clients decide how deep indexes are nested. A manifest can't name one that names it, so every one gets its turn. */
function parentsFirst(graph: Graph, digests: readonly Digest[]): Digest[] {
  const parents = new Map(digests.map((digest) => [digest, 0]));
  const children = (digest: Digest): Digest[] => [...new Set(graph.get(digest)?.digests)].filter((child) => parents.has(child));
  for (const digest of digests) for (const child of children(digest)) parents.set(child, (parents.get(child) ?? 0) + 1);
  const order = digests.filter((digest) => parents.get(digest) === 0);
  for (const digest of order) {
    for (const child of children(digest)) {
      const left = (parents.get(child) ?? 0) - 1;
      parents.set(child, left);
      if (left === 0) order.push(child);
    }
  }
  return order;
}
