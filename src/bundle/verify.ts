import type { Digest } from '../core/digest.ts';
import { BundleError, diskError } from '../core/errors.ts';
import type { Reporter } from '../core/progress.ts';
import type { FileSystem } from '../files/file-system.ts';
import { parseStatementSignature } from '../sign/signature-shape.ts';
import type { Trust } from '../sign/trust.ts';
import { requireThreshold } from '../sign/verify-statement.ts';
import type { TrustPolicies } from '../upstream/trust-policies.ts';
import { type BlobStore, createBlobStore } from './blob-store.ts';
import { type Generation, listGenerations, readGeneration, requireFolders } from './generation.ts';
import { signatureName } from './layout.ts';
import {
  hashProblems,
  requireReachable,
  sizeProblems,
  throwProblems,
  type VerifiedContent,
  walkContents,
} from './verify-content.ts';
import type { UpstreamCheck } from './verify-evidence.ts';
import { checkFiles } from './verify-files.ts';

export type { VerifiedContent } from './verify-content.ts';

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
  /** What upstream's signatures are worth by the policies of this side; undefined without policies. */
  upstream: UpstreamCheck | undefined;
}>;

export type VerifyOptions = Readonly<{
  trust: Trust | 'insecure-skip';
  /** What is demanded of upstream's signatures, whatever pull found. */
  policies?: TrustPolicies | undefined;
  /** Milliseconds since 1970; never earlier than the newest `created` the caller has seen. */
  now: number;
  /** An expired generation passes: for looking at what is kept to go back to. */
  allowExpired?: boolean;
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
  try {
    const generation = await findGeneration(fs, directory, options.generation);
    const signers = await checkSignatures(generation, options);
    requireFacts(generation, options);
    return { generation, signers, warnings: await checkFiles(fs, directory, generation) };
  } catch (error) {
    throw diskError(error, `reading ${directory}`);
  }
}

/** @returns the keyids */
async function checkSignatures(generation: Generation, { trust, now }: VerifyOptions): Promise<readonly string[]> {
  if (trust === 'insecure-skip') return [];
  const { signers, refused } = await requireThreshold({ ...generation, trust, name: generation.statement.predicate.name, now });
  for (const { name, bytes } of generation.signatures) {
    if (refused.some((r) => r.name === name)) continue;
    // The hint is the one part that no signature covers: it must name the key that the file is named after, or nobody.
    const { hint } = parseStatementSignature(bytes, generation.statementBytes, name);
    if (hint === '' || signatureName(Buffer.from(hint, 'base64').toString('hex')) === name) continue;
    throw new BundleError('E_SIGNATURE', `${name} names another key inside than in its name`, {
      origin: 'bundle',
      hint: 'the file was changed or renamed on the way: carry it again',
    });
  }
  return signers;
}

/**
 * The gate (design.md promise 1): signatures by trusted keys, then every listed file, then completeness, sizes and hashes of all content. What it
 * returns is all that may be pushed.
 * @throws BundleError E_UNSIGNED, E_UNTRUSTED, E_SIGNATURE, E_THRESHOLD, E_EXPIRED, E_WRONG_NAME, E_MISSING, E_SIZE, E_DIGEST, E_UNLISTED,
 * E_STATEMENT, E_LAYOUT, E_NOT_REGULAR; with all damage of the content in `detail.problems`
 */
export async function verifyBundle(fs: FileSystem, directory: string, options: VerifyOptions): Promise<VerifiedBundle> {
  options.report?.({ type: 'phase', phase: 'verify' });
  const { generation, signers, warnings } = await verifyStatement(fs, directory, options);
  try {
    const content = await verifyContent(fs, directory, generation, options);
    const upstream = await verifyUpstream({ generation, ...content }, options);
    const unused = (upstream?.unused ?? []).map((scope) => `trust.yaml: nothing in this bundle is under ${scope}`);
    return { directory, generation, signers, warnings: [...warnings, ...unused], ...content, upstream };
  } catch (error) {
    throw diskError(error, `reading ${directory}`);
  }
}

async function verifyUpstream(
  bundle: Pick<VerifiedBundle, 'generation' | 'contents' | 'store'>,
  { policies, now }: VerifyOptions,
): Promise<VerifiedBundle['upstream']> {
  if (policies === undefined) return undefined;
  const { requireUpstream } = await import('./verify-evidence.ts'); // with the Sigstore libraries: for who has policies
  return requireUpstream(bundle, policies, now);
}

async function verifyContent(
  fs: FileSystem,
  directory: string,
  generation: Generation,
  options: VerifyOptions,
): Promise<Pick<VerifiedBundle, 'contents' | 'store' | 'unlisted'>> {
  const store = createBlobStore(fs, directory);
  const listed = new Map<Digest, number>(generation.statement.predicate.blobs.map((b) => [b.digest, b.size]));
  const problems = await sizeProblems(store, listed);
  throwProblems(problems);
  const contents = await walkContents(generation, store, listed);
  requireReachable(contents, listed);
  if (options.hashBlobs !== false) throwProblems(await hashProblems(store, listed, contents, options));
  const unlisted = (await store.list()).filter((digest) => !listed.has(digest));
  return { contents, store, unlisted };
}

async function findGeneration(fs: FileSystem, directory: string, wanted: number | undefined): Promise<Generation> {
  if ((await fs.stat(directory)) === undefined)
    throw new BundleError('E_MISSING', `${directory} does not exist`, {
      origin: 'bundle',
      hint: 'name the directory of the bundle',
    });
  await requireFolders(fs, directory);
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
      hint: 'name one of those, or none for the newest',
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
  if (expires !== undefined && options.allowExpired !== true && Date.parse(expires) <= options.now) {
    throw new BundleError('E_EXPIRED', `generation ${sequence} of "${name}" expired at ${expires}`, {
      origin: 'bundle',
      hint: "bring a newer generation across; if this machine's clock is wrong, set it",
    });
  }
}
