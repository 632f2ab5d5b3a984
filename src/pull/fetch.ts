import type { BlobStore, Stored } from '../bundle/blob-store.ts';
import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { once } from '../core/once.ts';
import type { Reporter } from '../core/progress.ts';
import { parseReference } from '../core/reference.ts';
import type { RegistryClient } from '../registry/client.ts';
import { neededBy, type PlannedItem } from './plan.ts';

export type ItemOutcome = Readonly<{ ref: string; outcome: 'done' | 'present' | 'failed'; bytes: number; error?: BundleError }>;

type Place = Readonly<{ origin: string; repository: string }>;
type Job = {
  blob: Pick<Descriptor, 'digest' | 'size'>;
  places: Place[];
  bytes?: Uint8Array;
  /** Came into being here (our signatures): nothing moves for it. */
  made: boolean;
};

export type FetchPorts = Readonly<{
  client: RegistryClient;
  store: BlobStore;
  trusted: ReadonlyMap<Digest, number>;
  report: Reporter;
  signal?: AbortSignal;
}>;

/**
 * One job per digest, however many references share it; every repository that lists it is a place to get it from.
 * @param known blobs at hand because they were read to be verified
 * @param made blobs and manifests that are ours
 */
export function jobsOf(
  items: readonly PlannedItem[],
  known: ReadonlyMap<Digest, Uint8Array> = new Map(),
  made: ReadonlyMap<Digest, Uint8Array> = new Map(),
): Map<Digest, Job> {
  const jobs = new Map<Digest, Job>();
  for (const planned of items) {
    const { manifests, blobs } = neededBy(planned);
    const { origin, repository } = parseReference(planned.item.ref);
    const add = (blob: Job['blob'], bytes?: Uint8Array): void => {
      const job = jobs.get(blob.digest);
      if (job === undefined)
        jobs.set(blob.digest, {
          blob,
          places: [{ origin, repository }],
          ...(bytes === undefined ? {} : { bytes }),
          made: made.has(blob.digest),
        });
      else if (!job.places.some((p) => p.origin === origin && p.repository === repository))
        job.places.push({ origin, repository });
    };
    for (const m of manifests) add(m.descriptor, m.bytes);
    for (const d of blobs) add(d, made.get(d.digest) ?? known.get(d.digest));
  }
  return jobs;
}

/** Which jobs have their blob already, by name and size: enough for a forecast of bytes; the store decides. */
export async function missingJobs(jobs: ReadonlyMap<Digest, Job>, store: BlobStore): Promise<Job[]> {
  const missing: Job[] = [];
  for (const job of jobs.values()) if ((await store.size(job.blob.digest)) !== job.blob.size) missing.push(job);
  return missing;
}

export const bytesOf = (jobs: Iterable<Readonly<{ blob: Pick<Descriptor, 'size'> }>>): number =>
  [...jobs].reduce((sum, { blob }) => sum + blob.size, 0);

export interface Fetching {
  /** Begins the jobs whose digest is not under way yet. A failure of one does not stop the others, except that a host which can't be reached is not tried again and again. */
  add(jobs: ReadonlyMap<Digest, Job>): void;
  /** Waits for everything that these items need, all of which was added. `bytes`: what moved, each blob once. */
  finish(items: readonly PlannedItem[]): Promise<{ items: ItemOutcome[]; bytes: number; written: Set<Digest> }>;
  /** Gives up what is under way; nothing is written any more when it returns. Never throws. */
  stop(): Promise<void>;
}

export function startFetching(ports: FetchPorts): Fetching {
  const dead = new Map<string, BundleError>();
  const jobs = new Map<Digest, Job>();
  const stored = new Map<Digest, Promise<Stored>>();
  const abort = new AbortController();
  const signal = ports.signal === undefined ? abort.signal : AbortSignal.any([ports.signal, abort.signal]);
  return {
    add(more) {
      // Large blobs first: the end of the run is then many small ones and not one long one.
      for (const job of [...more.values()].sort((a, b) => b.blob.size - a.blob.size)) {
        if (stored.has(job.blob.digest)) continue;
        const done = fetchOne(job, { ...ports, signal }, dead);
        done.catch(() => undefined); // reported with the items that need it
        jobs.set(job.blob.digest, job);
        stored.set(job.blob.digest, done);
      }
    },
    async finish(items) {
      const outcomes = items.map((planned) => outcomeOf(planned, stored, ports.report));
      // All of them, also when one throws: nothing may still write when the lock is let go.
      await Promise.allSettled([...outcomes, ...stored.values()]);
      return { items: await Promise.all(outcomes), ...(await whatWasStored(jobs, stored)) };
    },
    async stop() {
      abort.abort();
      await Promise.allSettled(stored.values());
    },
  };
}

/** Blobs written by this run (they need an fsync, also when an older generation lists them), and their bytes, each once. */
async function whatWasStored(
  jobs: ReadonlyMap<Digest, Job>,
  stored: ReadonlyMap<Digest, Promise<Stored>>,
): Promise<{ bytes: number; written: Set<Digest> }> {
  const written = new Set<Digest>();
  for (const [digest, done] of stored) if ((await done.catch(() => 'present')) !== 'present') written.add(digest);
  const moved = [...jobs.values()].filter((job) => written.has(job.blob.digest) && !job.made);
  return { bytes: bytesOf(moved), written };
}

/** Each digest once. */
export function descriptorsOf(planned: PlannedItem): Descriptor[] {
  const { manifests, blobs } = neededBy(planned);
  return [...new Map([...manifests.map((m) => m.descriptor), ...blobs].map((d) => [d.digest, d])).values()];
}

async function outcomeOf(
  planned: PlannedItem,
  stored: ReadonlyMap<Digest, Promise<Stored>>,
  report: Reporter,
): Promise<ItemOutcome> {
  const { ref } = planned.item;
  const needed = descriptorsOf(planned);
  const results = await Promise.allSettled(needed.map((d) => stored.get(d.digest) as Promise<Stored>));
  const failed = results.find((r) => r.status === 'rejected');
  if (failed !== undefined && !isBundleError(failed.reason)) throw failed.reason;
  const bytes = needed.reduce(
    (sum, d, i) => sum + (results[i]?.status === 'fulfilled' && results[i].value !== 'present' ? d.size : 0),
    0,
  );
  const outcome = failed !== undefined ? 'failed' : bytes === 0 ? 'present' : 'done';
  report({
    type: 'item',
    name: ref,
    outcome,
    bytes,
    ...(failed === undefined ? {} : { detail: (failed.reason as BundleError).message }),
  });
  return { ref, outcome, bytes, ...(failed === undefined ? {} : { error: failed.reason as BundleError }) };
}

async function fetchOne(job: Job, ports: FetchPorts, dead: Map<string, BundleError>): Promise<Stored> {
  const { store, client, report, signal } = ports;
  const trusted = ports.trusted.get(job.blob.digest) === job.blob.size;
  const count = (n: number): void => report({ type: 'bytes', count: n });
  if (job.bytes !== undefined)
    return store.ensure(job.blob, trusted, (from) => once((job.bytes as Uint8Array).subarray(from)), count);
  let failure: unknown;
  for (const { origin, repository } of job.places) {
    const known = dead.get(origin);
    if (known !== undefined) {
      failure ??= known;
      continue;
    }
    try {
      return await client.inSlot(origin, () => {
        const broken = dead.get(origin);
        if (broken !== undefined) throw broken;
        return store.ensure(job.blob, trusted, (from) => client.readBlob(origin, repository, job.blob, from, signal), count);
      });
    } catch (error) {
      failure = error;
      if (!isBundleError(error)) throw error;
      if (error.code === 'E_DISK' || error.code === 'E_DISK_FULL') throw error;
      if (error.code === 'E_NETWORK' || error.code === 'E_TIMEOUT' || error.code === 'E_TLS' || error.code === 'E_RATE_LIMIT')
        dead.set(origin, error);
    }
  }
  throw failure ?? new BundleError('E_UNEXPECTED', `${job.blob.digest} has no place to come from`);
}
