import type { BlobStore } from '../bundle/blob-store.ts';
import { type Graph, rootOf, walkGraph } from '../bundle/graph.ts';
import type { CarriedEvidence } from '../bundle/verify-content.ts';
import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { type Evidence, evidenceKey } from '../core/evidence.ts';
import { byteOrder } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { parseReference } from '../core/reference.ts';
import { readAll, verified } from '../core/verified.ts';
import { createEvidenceBudget, type ImageBudget, LEAVE_BEHIND } from '../lock/evidence-budget.ts';
import type { LockItem } from '../lock/lock-file.ts';
import { readEvidence } from '../lock/read-evidence.ts';
import type { ManifestReader } from '../lock/resolve.ts';
import type { RegistryClient } from '../registry/client.ts';
import { readIntact } from './read-intact.ts';

/**
 * Reads what the lock says there is about an image. It was there when it was locked: gone since is an error, never "unsigned".
 * @throws BundleError E_NOT_FOUND, E_OCI_MANIFEST, E_LIMIT, E_LOCK, E_NETWORK, …
 */
export type EvidencePlanner = (item: LockItem) => Promise<CarriedEvidence[]>;

/** One for a run: references of one repository share what was read, and all share the budget of bytes. */
export function createEvidencePlanner(read: ManifestReader, client: RegistryClient, signal?: AbortSignal): EvidencePlanner {
  const budgetFor = createEvidenceBudget();
  const graphs = new Map<string, Graph>();
  return async (item) => {
    const ref = parseReference(item.ref);
    const repository = `${ref.origin}/${ref.repository}`;
    const budget = budgetFor(repository, item.ref);

    const readGraph = (evidence: Evidence): Promise<Graph> => {
      const { digest, mediaType, size } = evidence;
      const readOne = async (d: Descriptor): Promise<Uint8Array> => {
        budget.check();
        const { bytes } = await (d.digest === digest
          ? readEvidence(client, read, ref, evidence, signal)
          : read(ref.origin, ref.repository, d));
        budget.take(d.digest, bytes.length);
        return bytes;
      };
      return walkGraph({ mediaType, digest, size }, { read: readOne }).catch(goneFrom(item, evidence));
    };

    const carried: CarriedEvidence[] = [];
    for (const evidence of item.evidence ?? []) {
      const key = `${repository}@${evidence.digest} ${evidence.mediaType}`;
      const before = graphs.get(key);
      if (before !== undefined) takeAll(before, budget);
      const graph = before ?? (await readGraph(evidence));
      // Another reference may have been as fast.
      const kept = graphs.get(key) ?? graph;
      graphs.set(key, kept);
      requireSize(item, evidence, kept);
      carried.push({ evidence, graph: kept });
    }
    requireCarriable(item, carried);
    return carried;
  };
}

function takeAll({ manifests }: Graph, budget: ImageBudget): void {
  for (const { descriptor, bytes } of manifests) budget.take(descriptor.digest, bytes.length);
}

const nameOf = ({ tag, digest }: Evidence): string => tag ?? `the referrer ${digest}`;

const goneFrom =
  (item: LockItem, evidence: Evidence) =>
  (error: unknown): never => {
    if (!isBundleError(error) || error.code !== 'E_NOT_FOUND') throw error;
    const what = `${item.ref}: ${nameOf(evidence)}, locked at ${item.evidenceAt}, is gone`;
    throw new BundleError(error.code, `${what}: ${error.message}`, {
      hint: 'run "bundle lock --update" for it and look at what changed',
      origin: 'source',
      cause: error,
    });
  };

function requireSize({ ref }: LockItem, evidence: Evidence, graph: Graph): void {
  const found = rootOf(graph).bytes.length;
  if (found === evidence.size) return;
  throw new BundleError('E_LOCK', `${ref}: ${nameOf(evidence)}: the lock says ${evidence.size} bytes, it has ${found}`, {
    hint: 'run "bundle lock --update" for it',
  });
}

/** Who may write one of cosign's tags at an origin must not make everybody carry a disk image. */
function requireCarriable({ ref }: LockItem, carried: readonly CarriedEvidence[]): void {
  const seen = new Set<Digest>();
  let total = 0;
  const tooMuch = (evidence: Evidence, what: string): BundleError =>
    new BundleError('E_LIMIT', `${ref}: ${nameOf(evidence)}: ${what}`, { hint: LEAVE_BEHIND });
  for (const { evidence, graph } of carried) {
    for (const { digest, size } of graph.blobs) {
      if (size > LIMITS.carriedEvidenceBlobBytes)
        throw tooMuch(
          evidence,
          `its blob ${digest} has ${size} bytes, more than the limit of ${LIMITS.carriedEvidenceBlobBytes}`,
        );
      if (!seen.has(digest)) total += size;
      seen.add(digest);
      if (total > LIMITS.imageEvidenceBlobBytes)
        throw tooMuch(evidence, `with it blobs of evidence have more than the limit of ${LIMITS.imageEvidenceBlobBytes} bytes`);
    }
  }
}

export const sortedEvidence = (evidence: readonly CarriedEvidence[]): CarriedEvidence[] =>
  [...evidence].sort((a, b) => byteOrder(evidenceKey(a.evidence), evidenceKey(b.evidence)));

/** What was read to be verified is not fetched a second time; larger blobs are, so that memory stays flat. */
const KEPT_BYTES = 64 * 1024;

export type EvidenceBlobReader = (ref: string, blob: Descriptor, maxBytes: number) => Promise<Uint8Array>;

/**
 * Reads a signature's blob whole, from the bundle where it is, else from the origin, checked against its digest.
 * @param trusted as for {@link readIntact}
 * @param known what was read, for the fetch that follows; at most LIMITS.keptEvidenceBytes
 */
export function createEvidenceBlobReader(
  client: RegistryClient,
  store: BlobStore,
  trusted: Map<Digest, number>,
  known: Map<Digest, Uint8Array>,
  signal?: AbortSignal,
): EvidenceBlobReader {
  let kept = 0;
  return async (ref, blob, maxBytes) => {
    const what = `${ref}: evidence ${blob.digest}`;
    if (blob.size > maxBytes) throw new BundleError('E_LIMIT', `${what}: ${blob.size} bytes, more than the limit of ${maxBytes}`);
    const before = known.get(blob.digest);
    if (before !== undefined) return before;
    const there = (await store.size(blob.digest)) === blob.size;
    const local = there ? await readIntact(store, blob, maxBytes, trusted) : undefined;
    if (local !== undefined) return local;
    const { origin, repository } = parseReference(ref);
    const body = verified(client.readBlob(origin, repository, blob, 0, signal), blob, what, 'source');
    const bytes = await readAll(body, maxBytes, what);
    if (bytes.length <= KEPT_BYTES && kept + bytes.length <= LIMITS.keptEvidenceBytes && !known.has(blob.digest)) {
      known.set(blob.digest, bytes);
      kept += bytes.length;
    }
    return bytes;
  };
}
