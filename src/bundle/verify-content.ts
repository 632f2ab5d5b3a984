import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import type { Evidence } from '../core/evidence.ts';
import { inParallel } from '../core/in-parallel.ts';
import { LIMITS } from '../core/limits.ts';
import type { OciManifest } from '../core/oci-manifest.ts';
import type { Reporter } from '../core/progress.ts';
import { COSIGN_TAGS, legacyTag } from '../cosign/legacy.ts';
import type { BlobStore } from './blob-store.ts';
import type { Generation } from './generation.ts';
import { type Graph, rootOf, walkGraph } from './graph.ts';
import { ASIDE_BYTES } from './ingest.ts';
import type { Content } from './statement.ts';

/** What a reference needs, read from the bundle and checked. */
export type VerifiedContent = Readonly<{
  content: Content;
  target: Graph;
  targetDescriptor: Descriptor;
  /** The origin's own index, where the tag will mean something else. */
  original: Graph | undefined;
  originalDescriptor: Descriptor | undefined;
  /** What the statement lists for it; the manifest that `evidence` names is the last of its graph. */
  evidence: readonly CarriedEvidence[];
}>;

export type CarriedEvidence = Readonly<{ evidence: Evidence; graph: Graph }>;

/** Everything that travels for one reference. */
export const graphsOf = ({ target, original, evidence }: VerifiedContent): Graph[] => [
  target,
  ...(original === undefined ? [] : [original]),
  ...evidence.map((e) => e.graph),
];

/** Large blobs that are hashed at once: one for each thread (files/hash-threads.ts), and the next. */
const LANES = 3;

/** Small files that are read at once: most of their time is the way to a thread and back. */
const SMALL_LANES = 8;

export type HashOptions = Readonly<{ report?: Reporter; signal?: AbortSignal }>;

/** Cheap, so first: a truncated copy is found before hours of hashing. */
export async function sizeProblems(store: BlobStore, listed: ReadonlyMap<Digest, number>): Promise<BundleError[]> {
  const problems: BundleError[] = [];
  const problemOf = async ([digest, size]: readonly [Digest, number]): Promise<BundleError | undefined> => {
    try {
      const found = await store.size(digest);
      const detail = { digest };
      if (found === undefined) return new BundleError('E_MISSING', `blob ${digest} is missing`, { origin: 'bundle', detail });
      if (found === size) return undefined;
      return new BundleError('E_SIZE', `blob ${digest}: has ${found} bytes, want ${size}`, { origin: 'bundle', detail });
    } catch (error) {
      if (!isBundleError(error)) throw error;
      return error;
    }
  };
  await inParallel(listed, SMALL_LANES, async (blob) => {
    const problem = await problemOf(blob);
    if (problem !== undefined) problems.push(problem);
  });
  return problems;
}

/** A plain pull believes committed blobs of the right size. */
const DAMAGED = 'copy the bundle again; where it was made, run "bundle pull --rehash"';

/** @throws BundleError the first one, with all of them in its message and in `detail.problems` */
export function throwProblems(problems: readonly BundleError[], hint = DAMAGED): void {
  const first = problems[0];
  if (first === undefined) return;
  const shown = problems.slice(0, 20).map((p) => p.message);
  const more = problems.length > shown.length ? [`… and ${problems.length - shown.length} more`] : [];
  throw new BundleError(first.code, [...shown, ...more].join('\n'), {
    origin: 'bundle',
    hint,
    cause: first,
    detail: { problems: problems.map((p) => ({ code: p.code, message: p.message, ...p.detail })) },
  });
}

function requireListed(listed: ReadonlyMap<Digest, number>, d: Descriptor): void {
  const size = listed.get(d.digest);
  if (size === undefined)
    throw new BundleError('E_UNLISTED', `${d.digest} is needed, but the statement does not list it`, { origin: 'bundle' });
  if (size === d.size) return;
  throw new BundleError('E_SIZE', `${d.digest}: ${d.size} bytes by its parent, ${size} by the statement`, { origin: 'bundle' });
}

/** Reads (and so hashes) every manifest from the roots that the statement names. */
export async function walkContents(
  generation: Generation,
  store: BlobStore,
  listed: ReadonlyMap<Digest, number>,
): Promise<VerifiedContent[]> {
  const read = (d: Descriptor): Promise<Uint8Array> => {
    requireListed(listed, d);
    return store.readWhole(d, LIMITS.ociManifestBytes);
  };
  // References of one repository share signatures.
  const evidenceGraphs = new Map<Digest, Promise<Graph>>();
  const evidenceGraph = (item: Evidence): Promise<Graph> => {
    const graph = evidenceGraphs.get(item.digest) ?? walkGraph(item, { read });
    evidenceGraphs.set(item.digest, graph);
    return graph;
  };
  const walk = async (content: Content): Promise<VerifiedContent> => {
    const targetDescriptor: Descriptor = {
      mediaType: content.targetMediaType,
      digest: content.targetDigest,
      size: content.targetSize,
    };
    const target = await walkGraph(targetDescriptor, { read });
    const sparse = content.digest !== content.targetDigest;
    const originalDescriptor: Descriptor | undefined = sparse
      ? { mediaType: content.mediaType, digest: content.digest, size: listed.get(content.digest) ?? 0 }
      : undefined;
    const original =
      originalDescriptor === undefined
        ? undefined
        : await walkGraph(originalDescriptor, { read, carried: (d) => listed.has(d.digest) });
    requireForm(content, target, original);
    const evidence: CarriedEvidence[] = [];
    for (const item of content.evidence ?? []) evidence.push({ evidence: item, graph: await evidenceGraph(item) });
    requireEvidence(content, [target, ...(original === undefined ? [] : [original])], evidence);
    return { content, target, targetDescriptor, original, originalDescriptor, evidence };
  };
  const walked: VerifiedContent[] = [];
  await inParallel(generation.statement.predicate.contents, SMALL_LANES, async (content, i) => {
    walked[i] = await walk(content);
  });
  return walked;
}

/**
 * What the tag will mean is what the origin served, or a part of it. Whoever signed the statement says both; policies ask about the first, and the
 * second is what runs.
 */
function requireForm({ ref, form, digest, targetDigest }: Content, target: Graph, original: Graph | undefined): void {
  const fault = (why: string): BundleError => new BundleError('E_STATEMENT', `${ref}: ${why}`, { origin: 'bundle' });
  if (form === 'whole' || original === undefined) {
    if (digest === targetDigest && form === 'whole') return;
    throw fault(`"${form}", and means ${targetDigest} where the origin served ${digest}`);
  }
  const named = new Set(original.manifests.flatMap(({ manifest }) => childrenOf(manifest)));
  const root = rootOf(target).manifest;
  const parts = form === 'single' ? [targetDigest] : root.kind === 'index' ? childrenOf(root) : undefined;
  if (parts === undefined) throw fault(`"${form}", and ${targetDigest} is no index`);
  const foreign = parts.find((part) => !named.has(part));
  if (foreign !== undefined) throw fault(`would mean ${foreign}, which is no part of ${digest}`);
}

const childrenOf = (manifest: OciManifest): Digest[] =>
  manifest.kind === 'index' ? manifest.manifests.map((d) => d.digest) : [];

/**
 * Evidence is about something that is carried, and is found in the way that it says. A tag is cosign's own for its subject and no other: load writes it
 * without asking who owns it.
 */
function requireEvidence(content: Content, images: readonly Graph[], evidence: readonly CarriedEvidence[]): void {
  const known = new Set<Digest>([content.digest, content.targetDigest]);
  for (const { manifests } of images) for (const { descriptor } of manifests) known.add(descriptor.digest);
  for (const { evidence: item } of evidence) known.add(item.digest);
  for (const { evidence: item, graph } of evidence) {
    const fault = (why: string): BundleError =>
      new BundleError('E_STATEMENT', `${content.ref}: the evidence ${item.digest} ${why}`, { origin: 'bundle' });
    if (!known.has(item.subject)) throw fault(`is about ${item.subject}, which is not carried`);
    if (item.tag !== undefined) {
      const own = COSIGN_TAGS.map((kind) => legacyTag(item.subject, kind));
      if (!own.includes(item.tag)) throw fault(`has the tag ${item.tag}, which is not cosign's for ${item.subject}`);
    } else if (rootOf(graph).manifest.subject?.digest !== item.subject)
      throw fault(`is listed as a referrer of ${item.subject}, which it is not`);
  }
}

/** Both directions: everything needed is listed, with that size, and everything listed is needed. */
export function requireReachable(contents: readonly VerifiedContent[], listed: ReadonlyMap<Digest, number>): void {
  const reached = new Set<Digest>();
  for (const content of contents) {
    for (const graph of graphsOf(content)) {
      for (const d of [...graph.manifests.map((m) => m.descriptor), ...graph.blobs]) {
        reached.add(d.digest);
        requireListed(listed, d);
      }
    }
  }
  for (const digest of listed.keys())
    if (!reached.has(digest))
      throw new BundleError('E_STATEMENT', `the statement lists ${digest}, which nothing in it needs`, { origin: 'bundle' });
}

/** Hashes what the walk has not hashed already; goes on after damage, so that one run names all of it. */
export async function hashProblems(
  store: BlobStore,
  listed: ReadonlyMap<Digest, number>,
  contents: readonly VerifiedContent[],
  options: HashOptions,
): Promise<BundleError[]> {
  const hashed = new Set(
    contents.flatMap((c) => graphsOf(c).flatMap((graph) => graph.manifests.map((m) => m.descriptor.digest))),
  );
  // Large ones first: at the end no core waits for another's last long one.
  const todo = [...listed].filter(([digest]) => !hashed.has(digest)).sort((a, b) => b[1] - a[1]);
  options.report?.({ type: 'total', bytes: todo.reduce((sum, [, size]) => sum + size, 0), items: todo.length });
  const problems: BundleError[] = [];
  const verify = async ([digest, size]: readonly [Digest, number]): Promise<void> => {
    options.signal?.throwIfAborted();
    try {
      await store.verify({ digest, size }, (count) => options.report?.({ type: 'bytes', count }));
    } catch (error) {
      if (!isBundleError(error)) throw error;
      problems.push(error);
    }
  };
  const isLarge = ([, size]: readonly [Digest, number]): boolean => size >= ASIDE_BYTES;
  await inParallel(todo.filter(isLarge), LANES, verify);
  await inParallel(
    todo.filter((blob) => !isLarge(blob)),
    SMALL_LANES,
    verify,
  );
  return problems;
}
