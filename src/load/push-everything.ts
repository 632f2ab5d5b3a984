import type { VerifiedBundle } from '../bundle/verify.ts';
import type { Digest } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import type { Reporter } from '../core/progress.ts';
import { type EvidencePlace, evidencePlaces, levelsOf } from './evidence-places.ts';
import type { LoadPorts, LoadRequest } from './load.ts';
import { createPushContext, type LoadedItem, type PushContext, pushContent, pushTags } from './push.ts';
import { blobsOf } from './push-blobs.ts';
import type { PlaceOutcome } from './push-carried.ts';
import { evidenceFault, pushEvidence } from './push-evidence.ts';
import { placesAt, type Target } from './target.ts';

export type Pushed = Readonly<{
  items: LoadedItem[];
  tagsMoved: number;
  /** Places of signatures (cosign's tags, lists of referrers): all of them, and those that were written. */
  evidence: Readonly<{ places: number; written: number }>;
  bytesPushed: number;
}>;

/** Digests of the original indexes that were not taken. */
export function refusedIn(bundle: VerifiedBundle, items: readonly LoadedItem[]): Digest[] {
  const refused = new Set(items.filter((i) => i.originalIndex === 'refused').map((i) => i.ref));
  return bundle.contents.filter(({ content }) => refused.has(content.ref)).map(({ content }) => content.digest);
}

/** All references by digest, then `beforeTags`, then all tags. @throws the first failure, once everything has come to rest */
export async function pushEverything(
  request: LoadRequest,
  ports: LoadPorts,
  refused: ReadonlySet<Digest>,
  onWrite: () => void,
  beforeTags: () => Promise<void>,
): Promise<Pushed> {
  const { bundle, target } = request;
  const abort = new AbortController();
  const signal = ports.signal === undefined ? abort.signal : AbortSignal.any([ports.signal, abort.signal]);
  const context = createPushContext(request, { client: ports.client, report: ports.report, signal, onWrite }, refused);
  ports.report({ type: 'phase', phase: 'push', detail: target.name });
  ports.report({ type: 'total', bytes: pushBytes(bundle, target), items: bundle.contents.length });
  const items = await allSettled(bundle.contents.map((verified) => pushReported(context, verified, ports.report, abort)));
  requireAllPushed(items, target);
  const places = evidencePlaces(bundle, target);
  const evidence = await pushAllEvidence(context, places, abort);
  await beforeTags();
  ports.report({ type: 'phase', phase: 'tag', detail: target.name });
  // Before the images' tags: who pulls by tag finds the signature there.
  const finished = await allSettled(evidence.map(async ({ finish }) => (await finish?.()) === true));
  const moved = await allSettled(
    bundle.contents.map(async (verified) => {
      try {
        return await pushTags(context, verified);
      } catch (error) {
        if (isUnreachable(error)) abort.abort(error);
        // What the abort tore down is not the news, what caused it is.
        throw abort.signal.aborted && !isBundleError(error) ? abort.signal.reason : error;
      }
    }),
  );
  return {
    items,
    tagsMoved: moved.reduce((a, b) => a + b, 0),
    evidence: { places: places.length, written: evidence.filter((e, i) => e.written || finished[i]).length },
    bytesPushed: items.reduce((sum, i) => sum + i.bytesPushed, 0) + evidence.reduce((sum, e) => sum + e.bytes, 0),
  };
}

async function pushAllEvidence(
  context: PushContext,
  places: readonly EvidencePlace[],
  abort: AbortController,
): Promise<PlaceOutcome[]> {
  const named = async <T>(place: EvidencePlace, task: () => Promise<T>): Promise<T> => {
    try {
      return await task();
    } catch (error) {
      if (isUnreachable(error)) abort.abort(error);
      throw evidenceFault(place, abort.signal.aborted && !isBundleError(error) ? abort.signal.reason : error);
    }
  };
  const outcomes: PlaceOutcome[] = [];
  // Registries may say of what they don't have that they know nothing about it: a signature comes after what it signs.
  for (const level of levelsOf(places)) {
    const pushed = await allSettled(
      level.map(async (place): Promise<PlaceOutcome> => {
        const { finish, ...outcome } = await named(place, () => pushEvidence(context, place));
        return finish === undefined ? outcome : { ...outcome, finish: () => named(place, finish) };
      }),
    );
    outcomes.push(...pushed);
  }
  return outcomes;
}

/** Ends when all have: once the lock is let go, no tag of this run may move any more. @throws what the first failed one threw */
async function allSettled<T>(tasks: readonly (T | Promise<T>)[]): Promise<T[]> {
  await Promise.allSettled(tasks);
  return Promise.all(tasks);
}

const isUnreachable = (error: unknown): boolean =>
  isBundleError(error) && ['E_NETWORK', 'E_TIMEOUT', 'E_TLS'].includes(error.code);

/** Each blob once per repository that it goes to. */
function pushBytes(bundle: VerifiedBundle, target: Target): number {
  const sizes = new Map<string, number>();
  for (const verified of bundle.contents)
    for (const { repository } of placesAt(target, verified.content.ref, verified.content.aliases ?? []))
      for (const { digest, size } of blobsOf(verified)) sizes.set(`${repository} ${digest}`, size);
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}

/** A target that can't be reached fails every reference the same way: the others are not tried to the end. */
async function pushReported(
  context: ReturnType<typeof createPushContext>,
  verified: VerifiedBundle['contents'][number],
  report: Reporter,
  abort: AbortController,
): Promise<LoadedItem> {
  const { ref, targetDigest } = verified.content;
  try {
    const item = await pushContent(context, verified);
    const refused =
      item.originalIndex === 'refused' && item.outcome === 'pushed'
        ? "this registry takes no index with missing platforms: the origin's own index is not there"
        : undefined;
    report({
      type: 'item',
      name: ref,
      outcome: item.outcome,
      bytes: item.bytesPushed,
      ...(refused === undefined ? {} : { detail: refused }),
    });
    return item;
  } catch (error) {
    if (abort.signal.aborted && !isBundleError(error))
      return failedItem(
        ref,
        targetDigest,
        new BundleError('E_NETWORK', `${ref}: not tried any further, the target can't be reached`),
      );
    if (!isBundleError(error)) throw error;
    report({ type: 'item', name: ref, outcome: 'failed', detail: error.message });
    if (isUnreachable(error)) abort.abort(error);
    return failedItem(ref, targetDigest, error);
  }
}

const failedItem = (ref: string, targetDigest: Digest, error: BundleError): LoadedItem => ({
  ref,
  outcome: 'failed',
  targetDigest,
  names: [],
  blobs: { present: 0, mounted: 0, pushed: 0 },
  bytesPushed: 0,
  error,
});

function requireAllPushed(items: readonly LoadedItem[], target: Target): void {
  const failed = items.filter((i) => i.error !== undefined);
  const first = failed[0]?.error;
  if (first === undefined) return;
  throw new BundleError(
    first.code,
    `${target.name}: ${failed.length} of ${items.length} failed; first ${failed[0]?.ref}: ${first.message}`,
    {
      hint: first.hint,
      origin: 'target',
      cause: first,
      detail: { failed: failed.map((i) => ({ ref: i.ref, code: i.error?.code, message: i.error?.message })) },
    },
  );
}
