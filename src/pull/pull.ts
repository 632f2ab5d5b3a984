import { type BlobStore, createBlobStore } from '../bundle/blob-store.ts';
import { collectGarbage } from '../bundle/garbage.ts';
import {
  contentKey,
  type Generation,
  initLayout,
  listGenerations,
  readGeneration,
  refreshCopies,
  requireFolders,
  sweepGenerations,
} from '../bundle/generation.ts';
import type { Digest } from '../core/digest.ts';
import { BundleError, diskError } from '../core/errors.ts';
import { byteOrder } from '../core/json.ts';
import type { Reporter } from '../core/progress.ts';
import { type DirectoryLock, withDirectoryLock } from '../files/directory-lock.ts';
import type { FileSystem } from '../files/file-system.ts';
import type { LockFile } from '../lock/lock-file.ts';
import type { ManifestReader } from '../lock/resolve.ts';
import type { Manifest } from '../manifest/manifest.ts';
import type { RegistryClient } from '../registry/client.ts';
import type { SigningKey } from '../sign/signing-key.ts';
import type { VerifyPolicy } from '../upstream/policy.ts';
import type { SigstoreRoot } from '../upstream/sigstore-root.ts';
import { addMissingSignatures, commit, requireUnexpired } from './commit.ts';
import { bytesOf, type ItemOutcome, jobsOf, missingJobs, startFetching } from './fetch.ts';
import type { PlannedItem } from './plan.ts';
import { planAll, requireAllDone } from './plan-all.ts';
import { signaturesOfBefore } from './signatures-of-before.ts';
import { draftOf, forecast, type SignedPlan, signedManifests, signPlan } from './signed-plan.ts';

export type PullRequest = Readonly<{
  manifest: Manifest;
  /** Answers every entry of the manifest. */
  lock: LockFile;
  /** The bundle directory; made when it is not there. */
  directory: string;
  /** A promise while they are still being unlocked, which takes as long as planning does; awaited before any layer is fetched. */
  keys: readonly SigningKey[] | Promise<readonly SigningKey[]>;
  /** Generations to keep, the new one included. */
  keep: number;
  dryRun: boolean;
  /** `2026-11-21T08:00:00Z`, from SOURCE_DATE_EPOCH; default: the lock's newest resolution. */
  created?: string | undefined;
  tool: string;
  breakLock?: boolean;
  /** Hash what is already there too, instead of believing the size of committed blobs; what is damaged is fetched again. */
  rehash?: boolean;
  /** Make a generation even when nothing changed: `expires` then counts from `created` anew. */
  renew?: boolean;
  /** Sign as a Sigstore bundle also where upstream has legacy signatures alone, which cosign 3 then does not see by itself. */
  alwaysBundle?: boolean;
  /** What the manifest demands of upstream's signatures. Absent: nothing is demanded, and the statement says so. */
  upstream?: UpstreamDemands;
}>;

export type UpstreamDemands = Readonly<{
  /** By full reference. */
  policies: ReadonlyMap<string, VerifyPolicy>;
  /** Needed by keyless policies alone. */
  root?: SigstoreRoot | undefined;
}>;

export type PullPorts = Readonly<{
  fs: FileSystem;
  client: RegistryClient;
  /** The reader that made the lock just now, if any: what it has read is not fetched again. */
  readManifest?: ManifestReader;
  report: Reporter;
  signal?: AbortSignal;
  /** Milliseconds since 1970; default: the clock. Only for saying that a bundle is expired or soon will be. */
  now?: () => number;
}>;

export type PullResult = Readonly<{
  outcome: 'committed' | 'unchanged' | 'dry-run';
  name: string;
  directory: string;
  sequence: number;
  items: readonly ItemOutcome[];
  /** Bytes that were (or would be) fetched, and all bytes of the generation, shared blobs once. */
  bytesFetched: number;
  bytesTotal: number;
  signers: readonly string[];
  /** Images by what verification of upstream's signatures found. */
  upstream: Readonly<{ verified: number; unsignedAllowed: number; notAsked: number }>;
  /** Upstream's signatures and other referrers that travel, of all images. */
  evidence: number;
  /** Manifests under which there is a signature of ours. */
  signed: number;
  removedGenerations: readonly number[];
}>;

/**
 * Fetches everything the lock names into the bundle, and commits it as a new generation when anything changed. Killed at any instant it leaves the
 * last generation as it was; run again it goes on where it stopped.
 * @throws BundleError of the first failed item (all failures in `detail.failed`), E_DISK_FULL before anything is written, E_LOCKED, E_WRONG_NAME
 */
export async function pull(request: PullRequest, ports: PullPorts): Promise<PullResult> {
  const { fs } = ports;
  const { directory } = request;
  try {
    if (request.dryRun) return await run(request, ports, undefined);
    await fs.mkdir(directory);
    const options = { command: 'bundle pull', breakForeign: request.breakLock ?? false };
    return await withDirectoryLock(fs, directory, options, (lock) => run(request, ports, lock));
  } catch (error) {
    throw diskError(error, `pulling into ${directory}`);
  }
}

async function run(request: PullRequest, ports: PullPorts, lock: DirectoryLock | undefined): Promise<PullResult> {
  const store = createBlobStore(ports.fs, request.directory);
  try {
    return await fill(store, request, ports, lock);
  } finally {
    await store.idle();
  }
}

async function fill(
  store: BlobStore,
  request: PullRequest,
  ports: PullPorts,
  lock: DirectoryLock | undefined,
): Promise<PullResult> {
  const { fs, report } = ports;
  const { directory, manifest } = request;
  await requireFolders(fs, directory);
  if ((await fs.stat(`${directory}/repositories`)) !== undefined)
    throw new BundleError('E_USAGE', `${directory} is the directory of a registry ("serve --writable")`, {
      hint: 'name another directory with -o',
    });
  if (lock !== undefined) await sweepGenerations(fs, directory);
  const sequences = await listGenerations(fs, directory);
  const previous = sequences.length === 0 ? undefined : await readGeneration(fs, directory, sequences.at(-1) as number);
  requireSameName(previous, manifest.name, directory);
  const listed = await trustedBlobs(fs, directory, sequences.slice(0, -1), previous);
  const trusted = request.rehash ? new Map<Digest, number>() : listed;

  report({ type: 'phase', phase: 'plan' });
  const known = new Map<Digest, Uint8Array>();
  const fetched = await planAll(request, ports, store, trusted, known);
  // The order in which keys are named must not show in what they sign.
  const keys = [...(await request.keys)].sort((a, b) => byteOrder(a.publicKey.keyid, b.publicKey.keyid));
  const sign = async (): Promise<SignedPlan> => {
    const before = await signaturesOfBefore(keys, previous, store, trusted);
    return signPlan(request, fetched, known, before, previous, report);
  };
  const resultOf = ({ planned, made, jobs }: SignedPlan) => ({
    name: manifest.name,
    directory,
    bytesTotal: bytesOf(jobs.values()),
    signers: keys.map((k) => k.publicKey.keyid),
    upstream: verdictsOf(planned),
    evidence: fetched.reduce((sum, one) => sum + one.evidence.length, 0),
    signed: keys.length === 0 ? 0 : signedManifests(planned, made),
  });
  if (lock === undefined) {
    const signed = await sign();
    return { ...resultOf(signed), ...(await forecast(signed, store)), outcome: 'dry-run', sequence: previous?.sequence ?? 0 };
  }

  const jobs = jobsOf(fetched, known);
  const bytes = bytesOf(await missingJobs(jobs, store));
  if (bytes > 0) draftOf(request, fetched, previous); // before anything moves: one that nobody could read is not worth fetching
  await requireSpace(fs, directory, bytes);
  await initLayout(fs, directory);
  report({ type: 'phase', phase: 'fetch' });
  report({ type: 'total', bytes, items: fetched.length });
  const fetching = startFetching({ ...ports, store, trusted });
  fetching.add(jobs);
  // Meanwhile: signing needs the processor and people, fetching the network and the disk.
  const signed = await sign().catch(async (error: unknown) => {
    await fetching.stop();
    throw error;
  });
  const { draft } = signed;
  fetching.add(signed.jobs);
  const { items, bytes: bytesFetched, written } = await fetching.finish(signed.planned);
  requireAllDone(items);

  const unchanged =
    request.renew !== true && previous !== undefined && contentKey(previous.statement.predicate) === contentKey(draft.predicate);
  if (unchanged) {
    // Blobs that were lost and came again belong to a committed generation: they must be as safe as the others.
    if (written.size > 0) await store.sync(draft.predicate.blobs.filter((b) => written.has(b.digest)));
    await addMissingSignatures(fs, directory, previous, keys);
  } else {
    // What no committed generation lists, and what came again although one does.
    const unsafe = draft.predicate.blobs.filter((b) => written.has(b.digest) || trusted.get(b.digest) !== b.size);
    await commit({ directory, keys }, ports, lock, store, unsafe, draft);
  }
  await refreshCopies(fs, directory);
  await store.clearIngest();
  const removed = await collectGarbage(fs, directory, request.keep);
  requireUnexpired(unchanged ? previous.statement.predicate : draft.predicate, ports);
  return {
    ...resultOf(signed),
    outcome: unchanged ? 'unchanged' : 'committed',
    sequence: unchanged ? previous.sequence : draft.sequence,
    items,
    bytesFetched,
    removedGenerations: removed.generations,
  };
}

function verdictsOf(planned: readonly PlannedItem[]): PullResult['upstream'] {
  const count = (result: NonNullable<PlannedItem['verdict']>['result']): number =>
    planned.filter(({ verdict }) => verdict?.result === result).length;
  return { verified: count('verified'), unsignedAllowed: count('unsigned-allowed'), notAsked: count('not-asked') };
}

function requireSameName(previous: Generation | undefined, name: string, directory: string): void {
  const found = previous?.statement.predicate.name;
  if (found === undefined || found === name) return;
  throw new BundleError('E_WRONG_NAME', `${directory} holds the bundle "${found}", the manifest is for "${name}"`, {
    hint: 'name another directory with -o',
  });
}

/** Blobs that a committed generation lists were on the disk before it was committed: they are believed by size. */
async function trustedBlobs(
  fs: FileSystem,
  directory: string,
  older: readonly number[],
  newest: Generation | undefined,
): Promise<Map<Digest, number>> {
  const trusted = new Map<Digest, number>();
  const add = ({ statement }: Generation): void => {
    for (const blob of statement.predicate.blobs) trusted.set(blob.digest, blob.size);
  };
  for (const sequence of older) add(await readGeneration(fs, directory, sequence).catch(damagedGeneration(directory, sequence)));
  if (newest !== undefined) add(newest);
  return trusted;
}

const damagedGeneration =
  (directory: string, sequence: number) =>
  (error: unknown): never => {
    if (!(error instanceof BundleError)) throw error;
    const hint = `remove ${directory}/generations/${sequence} and run the same command again; the other generations are not touched by it`;
    throw new BundleError(error.code, error.message, { hint, origin: 'bundle', cause: error, detail: error.detail });
  };

async function requireSpace(fs: FileSystem, directory: string, bytes: number): Promise<void> {
  const needed = Math.ceil(bytes * 1.05);
  const free = await fs.freeBytes(directory);
  if (free >= needed) return;
  throw new BundleError('E_DISK_FULL', `${directory}: ${needed} bytes are needed, ${free} are free`, {
    origin: 'host',
    hint: 'free some space or name another place with -o; nothing was written',
    detail: { needed, free },
  });
}
