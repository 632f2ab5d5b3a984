import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Reporter } from '../core/progress.ts';
import type { BlobStore } from './blob-store.ts';
import type { Generation } from './generation.ts';
import { type Graph, walkGraph } from './graph.ts';
import type { Content } from './statement.ts';

/** What a reference needs, read from the bundle and checked. */
export type VerifiedContent = Readonly<{
  content: Content;
  target: Graph;
  targetDescriptor: Descriptor;
  /** The origin's own index, where the tag will mean something else. */
  original: Graph | undefined;
  originalDescriptor: Descriptor | undefined;
}>;

export type HashOptions = Readonly<{ report?: Reporter; signal?: AbortSignal }>;

/** Cheap, so first: a truncated copy is found before hours of hashing. */
export async function sizeProblems(store: BlobStore, listed: ReadonlyMap<Digest, number>): Promise<BundleError[]> {
  const problems: BundleError[] = [];
  for (const [digest, size] of listed) {
    const found = await store.size(digest).catch((error: unknown) => {
      if (!isBundleError(error)) throw error;
      problems.push(error);
      return size;
    });
    if (found === undefined)
      problems.push(new BundleError('E_MISSING', `blob ${digest} is missing`, { origin: 'bundle', detail: { digest } }));
    else if (found !== size)
      problems.push(
        new BundleError('E_SIZE', `blob ${digest}: has ${found} bytes, want ${size}`, { origin: 'bundle', detail: { digest } }),
      );
  }
  return problems;
}

/** @throws BundleError the first one, with all of them in its message and in `detail.problems` */
export function throwProblems(problems: readonly BundleError[]): void {
  const first = problems[0];
  if (first === undefined) return;
  const shown = problems.slice(0, 20).map((p) => p.message);
  const more = problems.length > shown.length ? [`… and ${problems.length - shown.length} more`] : [];
  throw new BundleError(first.code, [...shown, ...more].join('\n'), {
    origin: 'bundle',
    // A plain pull believes committed blobs of the right size.
    hint: 'copy the bundle again; where it was made, run "bundle pull --rehash"; nothing was pushed',
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
  const contents: VerifiedContent[] = [];
  for (const content of generation.statement.predicate.contents) {
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
    contents.push({ content, target, targetDescriptor, original, originalDescriptor });
  }
  return contents;
}

/** Both directions: everything needed is listed, with that size, and everything listed is needed. */
export function requireReachable(contents: readonly VerifiedContent[], listed: ReadonlyMap<Digest, number>): void {
  const reached = new Set<Digest>();
  for (const { target, original } of contents) {
    for (const graph of [target, original]) {
      for (const d of [...(graph?.manifests ?? []).map((m) => m.descriptor), ...(graph?.blobs ?? [])]) {
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
    contents.flatMap((c) => [...c.target.manifests, ...(c.original?.manifests ?? [])].map((m) => m.descriptor.digest)),
  );
  const todo = [...listed].filter(([digest]) => !hashed.has(digest));
  options.report?.({ type: 'total', bytes: todo.reduce((sum, [, size]) => sum + size, 0), items: todo.length });
  const problems: BundleError[] = [];
  const queue = todo.values();
  const worker = async (): Promise<void> => {
    for (const [digest, size] of queue) {
      options.signal?.throwIfAborted();
      try {
        for await (const chunk of store.read({ digest, size })) options.report?.({ type: 'bytes', count: chunk.length });
      } catch (error) {
        if (!isBundleError(error)) throw error;
        problems.push(error);
      }
    }
  };
  await Promise.all([worker(), worker()]);
  return problems;
}
