import type { Descriptor } from '../core/descriptor.ts';
import { type Digest, digestOf, hexOf } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { isObject, parseStrictJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import type { Reporter } from '../core/progress.ts';
import type { FileSystem } from '../files/file-system.ts';
import type { Trust } from '../sign/trust.ts';
import { requireThreshold } from '../sign/verify-statement.ts';
import { type BlobStore, createBlobStore } from './blob-store.ts';
import { type Generation, listGenerations, readGeneration } from './generation.ts';
import { type Graph, walkGraph } from './graph.ts';
import { INDEX, isSignatureName, LOCK_FILE, OCI_LAYOUT, STATEMENT } from './layout.ts';
import type { Content } from './statement.ts';

/** What a reference needs, read from the bundle and checked. */
export type VerifiedContent = Readonly<{
  content: Content;
  target: Graph;
  targetDescriptor: Descriptor;
  original: Graph | undefined;
  originalDescriptor: Descriptor | undefined;
}>;

export type VerifiedBundle = Readonly<{
  directory: string;
  generation: Generation;
  /** Distinct keyids whose signatures verified; empty only with 'insecure-skip'. */
  signers: readonly string[];
  contents: readonly VerifiedContent[];
  store: BlobStore;
  /** Blobs of older generations and leftovers: never pushed. */
  unlisted: readonly string[];
  warnings: readonly string[];
}>;

export type VerifyOptions = Readonly<{
  trust: Trust | 'insecure-skip';
  /** Milliseconds since 1970; never earlier than the newest `created` the caller has seen. */
  now: number;
  name?: string | undefined;
  /** False: blobs that are no manifest are checked by size only, because whoever reads them hashes them (serve). Default true. */
  hashBlobs?: boolean;
  /** A sequence; default: the newest. */
  generation?: number | undefined;
  report?: Reporter;
  signal?: AbortSignal;
}>;

/** The first half of the gate: signatures, name, expiry and the files beside the blobs; enough for who needs only what the statement says. */
export async function verifyStatement(
  fs: FileSystem,
  directory: string,
  options: VerifyOptions,
): Promise<Pick<VerifiedBundle, 'generation' | 'signers' | 'warnings'>> {
  const generation = await findGeneration(fs, directory, options.generation);
  const signers =
    options.trust === 'insecure-skip' ? [] : (await requireThreshold({ ...generation, trust: options.trust })).signers;
  requireFacts(generation, options);
  return { generation, signers, warnings: await checkFiles(fs, directory, generation) };
}

/**
 * The gate (design.md promise 1): signatures by trusted keys, then every listed file, then completeness, sizes and hashes of all content. What it
 * returns is all that may be pushed.
 * @throws BundleError E_UNSIGNED, E_UNTRUSTED, E_SIGNATURE, E_THRESHOLD, E_EXPIRED, E_WRONG_NAME, E_MISSING, E_SIZE, E_DIGEST, E_UNLISTED,
 * E_STATEMENT, E_LAYOUT, E_NOT_REGULAR; with all damage of the content in `detail.problems`
 */
export async function verifyBundle(fs: FileSystem, directory: string, options: VerifyOptions): Promise<VerifiedBundle> {
  options.report?.({ type: 'phase', phase: 'verify' });
  const generation = await findGeneration(fs, directory, options.generation);
  const signers =
    options.trust === 'insecure-skip' ? [] : (await requireThreshold({ ...generation, trust: options.trust })).signers;
  requireFacts(generation, options);
  const warnings = await checkFiles(fs, directory, generation);
  const store = createBlobStore(fs, directory);
  const listed = new Map<Digest, number>(generation.statement.predicate.blobs.map((b) => [b.digest, b.size]));
  const problems = await sizeProblems(store, listed);
  throwProblems(problems);
  const contents = await walkContents(generation, store, listed);
  requireReachable(contents, listed);
  if (options.hashBlobs !== false) throwProblems(await hashProblems(store, listed, contents, options));
  const unlisted = (await store.list()).filter((digest) => !listed.has(digest));
  return { directory, generation, signers, contents, store, unlisted, warnings };
}

async function findGeneration(fs: FileSystem, directory: string, wanted: number | undefined): Promise<Generation> {
  if ((await fs.stat(directory)) === undefined)
    throw new BundleError('E_MISSING', `${directory} does not exist`, {
      origin: 'bundle',
      hint: 'name the directory of the bundle',
    });
  const sequences = await listGenerations(fs, directory);
  if (sequences.length === 0) {
    throw new BundleError('E_LAYOUT', `${directory} is no bundle, or its first pull never finished: it has no generation`, {
      origin: 'bundle',
      hint: 'run "bundle pull" to the end, or copy the bundle again',
    });
  }
  if (wanted !== undefined && !sequences.includes(wanted)) {
    throw new BundleError('E_MISSING', `${directory} has no generation ${wanted}; it has ${sequences.join(', ')}`, {
      origin: 'bundle',
    });
  }
  return readGeneration(fs, directory, wanted ?? (sequences.at(-1) as number));
}

function requireFacts(generation: Generation, options: VerifyOptions): void {
  const { name, sequence, expires } = generation.statement.predicate;
  if (sequence !== generation.sequence) {
    throw new BundleError(
      'E_STATEMENT',
      `the folder of generation ${generation.sequence} holds the statement of generation ${sequence}`,
      { origin: 'bundle' },
    );
  }
  if (options.name !== undefined && options.name !== name)
    throw new BundleError('E_WRONG_NAME', `this is the bundle "${name}", wanted is "${options.name}"`, { origin: 'bundle' });
  if (expires !== undefined && Date.parse(expires) <= options.now) {
    throw new BundleError('E_EXPIRED', `generation ${sequence} of "${name}" expired at ${expires}`, {
      origin: 'bundle',
      hint: "bring a newer generation across; if this machine's clock is wrong, set it",
    });
  }
}

/** The files beside the blobs: pinned by the statement's subject or its `files`; the copies at the top must be a generation's, byte for byte. */
async function checkFiles(fs: FileSystem, directory: string, generation: Generation): Promise<string[]> {
  const { statement, indexBytes, lockBytes } = generation;
  if (hexOf(digestOf(indexBytes)) !== statement.subject[0]?.digest.sha256)
    throw altered(`generations/${generation.sequence}/${INDEX}`);
  for (const file of statement.predicate.files) {
    if (file.name === LOCK_FILE) requireBytes(lockBytes, file, `generations/${generation.sequence}/${LOCK_FILE}`);
    else if (file.name === OCI_LAYOUT) requireBytes(await readTop(fs, directory, OCI_LAYOUT, file.size), file, OCI_LAYOUT);
    else
      throw new BundleError('E_STATEMENT', `the statement lists the file ${file.name}, which this version does not know`, {
        origin: 'bundle',
        hint: 'use a newer version of bundle',
      });
  }
  requireRoots(generation);
  return checkCopies(fs, directory, generation);
}

const altered = (what: string): BundleError =>
  new BundleError('E_DIGEST', `${what} was altered: its digest is not the signed one`, {
    origin: 'bundle',
    hint: 'copy the bundle again',
  });

function requireBytes(bytes: Uint8Array, file: { size: number; digest: Digest }, what: string): void {
  if (bytes.length !== file.size)
    throw new BundleError('E_SIZE', `${what}: has ${bytes.length} bytes, want ${file.size}`, { origin: 'bundle' });
  if (digestOf(bytes) !== file.digest) throw altered(what);
}

async function readTop(fs: FileSystem, directory: string, name: string, max: number): Promise<Buffer> {
  if ((await fs.stat(`${directory}/${name}`)) === undefined)
    throw new BundleError('E_MISSING', `${name} is missing`, { origin: 'bundle', hint: 'copy the bundle again' });
  return fs.readFile(`${directory}/${name}`, max + 1);
}

/** index.json and the statement must name the same roots: what one lists and the other does not would reach some tools and not others. */
function requireRoots(generation: Generation): void {
  const json = parseStrictJson(generation.indexBytes, INDEX, 'E_LAYOUT');
  const roots = Array.isArray(json.manifests) ? json.manifests.filter(isObject).map((m) => String(m.digest)) : [];
  const wanted = generation.statement.predicate.contents.map((c) => c.targetDigest);
  const extra = roots.find((digest) => !wanted.includes(digest as Digest));
  const absent = wanted.find((digest) => !roots.includes(digest));
  if (extra !== undefined)
    throw new BundleError('E_UNLISTED', `${INDEX} has the root ${extra}, which the statement does not list`, {
      origin: 'bundle',
    });
  if (absent !== undefined || roots.length !== wanted.length)
    throw new BundleError('E_LAYOUT', `${INDEX} and the statement name different roots`, { origin: 'bundle' });
}

/** Copies older than the newest generation are what a killed pull leaves: said, not refused. Anything else was altered. */
async function checkCopies(fs: FileSystem, directory: string, newest: Generation): Promise<string[]> {
  const sequences = await listGenerations(fs, directory);
  const candidates: Generation[] = [newest];
  for (const sequence of sequences)
    if (sequence !== newest.sequence) candidates.push(await readGeneration(fs, directory, sequence));
  let stale = false;
  const check = async (name: string, bytesOf: (g: Generation) => Uint8Array | undefined, max: number): Promise<void> => {
    const bytes = await readTop(fs, directory, name, max);
    const owner = candidates.find((g) => Buffer.from(bytesOf(g) ?? []).equals(bytes) && bytes.length > 0);
    if (owner === undefined)
      throw new BundleError('E_DIGEST', `${name} at the top of the bundle was altered: it is no generation's`, {
        origin: 'bundle',
        hint: 'copy the bundle again',
      });
    if (owner.sequence !== (sequences.at(-1) ?? owner.sequence)) stale = true;
  };
  await check(INDEX, (g) => g.indexBytes, LIMITS.layoutIndexBytes);
  await check(STATEMENT, (g) => g.statementBytes, LIMITS.statementBytes);
  for (const name of (await fs.list(directory)).filter(isSignatureName)) {
    await check(name, (g) => g.signatures.find((s) => s.name === name)?.bytes, LIMITS.signatureBytes);
  }
  return stale
    ? ['the copies at the top of the bundle are older than its newest generation; the next "bundle pull" makes them anew']
    : [];
}

async function sizeProblems(store: BlobStore, listed: ReadonlyMap<Digest, number>): Promise<BundleError[]> {
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

function throwProblems(problems: readonly BundleError[]): void {
  const first = problems[0];
  if (first === undefined) return;
  const shown = problems.slice(0, 20).map((p) => p.message);
  const more = problems.length > shown.length ? [`… and ${problems.length - shown.length} more`] : [];
  throw new BundleError(first.code, [...shown, ...more].join('\n'), {
    origin: 'bundle',
    hint: 'copy the bundle again, or pull again where it was made; nothing was pushed',
    cause: first,
    detail: { problems: problems.map((p) => ({ code: p.code, message: p.message, ...p.detail })) },
  });
}

async function walkContents(
  generation: Generation,
  store: BlobStore,
  listed: ReadonlyMap<Digest, number>,
): Promise<VerifiedContent[]> {
  const read = (d: Descriptor): Promise<Uint8Array> => {
    const size = listed.get(d.digest);
    if (size === undefined)
      throw new BundleError('E_UNLISTED', `${d.digest} is needed, but the statement does not list it`, { origin: 'bundle' });
    if (size !== d.size)
      throw new BundleError('E_SIZE', `${d.digest}: ${d.size} bytes by its parent, ${size} by the statement`, {
        origin: 'bundle',
      });
    return store.readWhole({ digest: d.digest, size }, LIMITS.ociManifestBytes);
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
function requireReachable(contents: readonly VerifiedContent[], listed: ReadonlyMap<Digest, number>): void {
  const reached = new Set<Digest>();
  for (const { target, original } of contents) {
    for (const graph of [target, original]) {
      for (const d of [...(graph?.manifests ?? []).map((m) => m.descriptor), ...(graph?.blobs ?? [])]) {
        reached.add(d.digest);
        const size = listed.get(d.digest);
        if (size === undefined)
          throw new BundleError('E_UNLISTED', `${d.digest} is needed, but the statement does not list it`, { origin: 'bundle' });
        if (size !== d.size)
          throw new BundleError('E_SIZE', `${d.digest}: ${d.size} bytes by its parent, ${size} by the statement`, {
            origin: 'bundle',
          });
      }
    }
  }
  for (const digest of listed.keys())
    if (!reached.has(digest))
      throw new BundleError('E_STATEMENT', `the statement lists ${digest}, which nothing in it needs`, { origin: 'bundle' });
}

/** Hashes what the walk has not hashed already; goes on after damage, so that one run names all of it. */
async function hashProblems(
  store: BlobStore,
  listed: ReadonlyMap<Digest, number>,
  contents: readonly VerifiedContent[],
  options: VerifyOptions,
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
