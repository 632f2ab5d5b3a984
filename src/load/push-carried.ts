import { type GraphManifest, rootOf as rootManifest } from '../bundle/graph.ts';
import type { CarriedEvidence } from '../bundle/verify-content.ts';
import { type PushContext, pushManifest } from './push.ts';
import { pushBlobOnce, pushKey } from './push-blobs.ts';

/** `bytes` of blobs went over the wire. `finish` moves the place's tag, once everything else is there, and says whether it had to. */
export type PlaceOutcome = Readonly<{ written: boolean; bytes: number; finish?: () => Promise<boolean> }>;

export const COMPLETE: PlaceOutcome = { written: false, bytes: 0 };

export const rootOf = ({ graph }: CarriedEvidence): GraphManifest => rootManifest(graph);

/** Signatures have a few hundred bytes: sending one costs less than asking for it. */
const SMALL_BYTES = 64 * 1024;

/** @returns bytes of blobs that went over the wire for this one */
export async function pushBlobs(context: PushContext, repository: string, { graph }: CarriedEvidence): Promise<number> {
  const sizes = graph.blobs.map(async (blob) => {
    const mine = !context.pushed.has(pushKey(repository, blob));
    const outcome = await pushBlobOnce(context, repository, blob, blob.size <= SMALL_BYTES);
    return outcome === 'pushed' && mine ? blob.size : 0;
  });
  return (await Promise.all(sizes)).reduce((a, b) => a + b, 0);
}

/** All but the root, which is put under its tag, or by digest, once everything else is there. @returns bytes, as {@link pushBlobs} */
export async function pushUnderRoot(context: PushContext, repository: string, carried: CarriedEvidence): Promise<number> {
  const bytes = await pushBlobs(context, repository, carried);
  for (const manifest of carried.graph.manifests.slice(0, -1)) await pushManifest(context, repository, manifest);
  return bytes;
}

export const inSlot = <T>({ ports, target }: PushContext, task: () => Promise<T>): Promise<T> =>
  ports.client.inSlot(target.host, async () => {
    ports.signal.throwIfAborted();
    return task();
  });
