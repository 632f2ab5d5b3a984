import type { BlobStore } from '../bundle/blob-store.ts';
import type { Digest } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { formatReference } from '../core/reference.ts';
import { createManifestReader } from '../lock/resolve.ts';
import type { Manifest } from '../manifest/manifest.ts';
import { createEvidenceBlobReader, createEvidencePlanner } from './evidence.ts';
import type { ItemOutcome } from './fetch.ts';
import { createStoreFirstReader, type PlannedItem, planItem } from './plan.ts';
import type { PullPorts, PullRequest } from './pull.ts';
import { verifyUpstream } from './verify-upstream.ts';

/**
 * What every image needs, read and verified, before anything of it is written.
 * @throws BundleError of the first image that fails, all failures in `detail.failed`
 */
export async function planAll(
  request: PullRequest,
  ports: PullPorts,
  store: BlobStore,
  trusted: Map<Digest, number>,
  known: Map<Digest, Uint8Array>,
): Promise<PlannedItem[]> {
  const { client, report } = ports;
  const remote = ports.readManifest ?? createManifestReader(client, ports.signal);
  const read = createStoreFirstReader(remote, store, trusted);
  const planEvidence = createEvidencePlanner(read, client, ports.signal);
  const readBlob = createEvidenceBlobReader(client, store, trusted, known, ports.signal);
  const items = new Map(request.lock.items.map((i) => [i.ref, i]));
  const settled = await Promise.allSettled(
    request.manifest.images.map((entry) => {
      const ref = formatReference(entry.ref);
      const item = items.get(ref);
      if (item === undefined) throw new BundleError('E_LOCK_STALE', `${ref} is not in the lock`, { hint: 'run "bundle lock"' });
      return client.inSlot(entry.ref.origin, async () => {
        const one = await planItem(entry, item, read, planEvidence);
        return { ...one, verdict: await verifyUpstream(one, request.upstream, readBlob, (ports.now ?? Date.now)()) };
      });
    }),
  );
  const failed: ItemOutcome[] = [];
  const planned: PlannedItem[] = [];
  for (const [i, result] of settled.entries()) {
    if (result.status === 'fulfilled') {
      planned.push(result.value);
      continue;
    }
    if (!(result.reason instanceof BundleError)) throw result.reason;
    const ref = formatReference((request.manifest.images[i] as Manifest['images'][number]).ref);
    failed.push({ ref, outcome: 'failed', bytes: 0, error: result.reason });
    report({ type: 'item', name: ref, outcome: 'failed', detail: result.reason.message });
  }
  requireAllDone(failed);
  return planned;
}

/** One failed item fails the run: a generation is whole or not at all. The others' blobs stay for the next run. */
export function requireAllDone(items: readonly ItemOutcome[]): void {
  const failed = items.filter((i) => i.outcome === 'failed');
  const first = failed[0]?.error;
  if (first === undefined) return;
  const more = failed.length === 1 ? '' : ` (and ${failed.length - 1} more)`;
  // Many messages begin with the reference themselves.
  const named = first.message.startsWith(`${failed[0]?.ref}`) ? first.message : `${failed[0]?.ref}: ${first.message}`;
  throw new BundleError(first.code, `${named}${more}`, {
    hint: first.hint ?? 'run the same command again; what was fetched is kept',
    origin: first.origin,
    cause: first,
    detail: { ...first.detail, failed: failed.map((i) => ({ ref: i.ref, code: i.error?.code, message: i.error?.message })) },
  });
}
