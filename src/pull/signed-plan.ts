import type { BlobStore } from '../bundle/blob-store.ts';
import type { Generation } from '../bundle/generation.ts';
import type { Digest } from '../core/digest.ts';
import type { Reporter } from '../core/progress.ts';
import { newestResolution } from '../lock/lock-file.ts';
import { createdAfter } from './commit.ts';
import { draftGeneration } from './contents.ts';
import { bytesOf, descriptorsOf, type ItemOutcome, jobsOf, missingJobs } from './fetch.ts';
import { signItems } from './own-signatures.ts';
import type { PlannedItem } from './plan.ts';
import type { PullRequest, PullResult } from './pull.ts';
import type { SignaturesOfBefore } from './signatures-of-before.ts';

/** Everything that one run is about, signatures of ours included. */
export type SignedPlan = Readonly<{
  planned: readonly PlannedItem[];
  made: ReadonlyMap<Digest, Uint8Array>;
  draft: ReturnType<typeof draftGeneration>;
  jobs: ReturnType<typeof jobsOf>;
}>;

/** @throws BundleError E_STATEMENT, E_LIMIT for a generation that nobody could read */
export const draftOf = (
  request: PullRequest,
  items: readonly PlannedItem[],
  previous: Generation | undefined,
): SignedPlan['draft'] =>
  draftGeneration({
    manifest: request.manifest,
    lock: request.lock,
    items,
    // Never again the number of an older generation, also on a fresh checkout: the lock's time is the floor.
    sequence: Math.max((previous?.sequence ?? 0) + 1, newestResolution(request.lock), 1),
    created: request.created ?? createdAfter(previous, request.lock),
    tool: request.tool,
    trustedRoot: request.upstream?.root?.bytes,
  });

/** Adds our signatures to what is planned, and says what generation comes of it. @throws as {@link draftOf}, and what a signer throws */
export async function signPlan(
  request: PullRequest,
  fetched: readonly PlannedItem[],
  known: ReadonlyMap<Digest, Uint8Array>,
  before: SignaturesOfBefore,
  previous: Generation | undefined,
  report: Reporter,
): Promise<SignedPlan> {
  const { items: planned, made, warnings } = await signItems(fetched, before, request.alwaysBundle ?? false);
  for (const text of warnings) report({ type: 'warning', text });
  return { planned, made, draft: draftOf(request, planned, previous), jobs: jobsOf(planned, known, made) };
}

/** What a run would do. */
export async function forecast(
  { planned, jobs }: SignedPlan,
  store: BlobStore,
): Promise<Pick<PullResult, 'items' | 'bytesFetched' | 'removedGenerations'>> {
  const missing = await missingJobs(jobs, store);
  const absent = new Set(missing.map(({ blob }) => blob.digest));
  const items = planned.map((one): ItemOutcome => {
    const wanted = descriptorsOf(one).filter((d) => absent.has(d.digest));
    return {
      ref: one.item.ref,
      outcome: wanted.length === 0 ? 'present' : 'done',
      bytes: wanted.reduce((sum, d) => sum + d.size, 0),
    };
  });
  return { items, bytesFetched: bytesOf(missing), removedGenerations: [] };
}

/** How many manifests have a signature of ours. */
export function signedManifests(planned: readonly PlannedItem[], made: ReadonlyMap<Digest, Uint8Array>): number {
  const ours = planned.flatMap((one) => one.evidence.map((e) => e.evidence)).filter((e) => made.has(e.digest));
  return new Set(ours.map((e) => e.subject)).size;
}
