import type { BlobStore } from '../bundle/blob-store.ts';
import { walkGraph } from '../bundle/graph.ts';
import type { CarriedEvidence } from '../bundle/verify-content.ts';
import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import type { Evidence } from '../core/evidence.ts';
import { byteOrder } from '../core/json.ts';
import { parseReference } from '../core/reference.ts';
import { readAll, verified } from '../core/verified.ts';
import type { LockItem } from '../lock/lock-file.ts';
import { readEvidence } from '../lock/read-evidence.ts';
import type { ManifestReader } from '../lock/resolve.ts';
import type { RegistryClient } from '../registry/client.ts';

/**
 * Reads what the lock says there is about an image. It was there when it was locked: gone since is an error, never "unsigned".
 * @throws BundleError E_NOT_FOUND, E_OCI_MANIFEST, E_NETWORK, …
 */
export async function planEvidence(
  item: LockItem,
  read: ManifestReader,
  client: RegistryClient,
  signal?: AbortSignal,
): Promise<CarriedEvidence[]> {
  const ref = parseReference(item.ref);
  const carried: CarriedEvidence[] = [];
  for (const evidence of item.evidence ?? []) {
    try {
      const readRoot = async (d: Descriptor): Promise<Uint8Array> =>
        d.digest === evidence.digest
          ? (await readEvidence(client, read, ref, evidence, signal)).bytes
          : (await read(ref.origin, ref.repository, d)).bytes;
      const graph = await walkGraph(evidence, { read: readRoot });
      carried.push({ evidence, graph });
    } catch (error) {
      if (!isBundleError(error) || error.code !== 'E_NOT_FOUND') throw error;
      const what = evidence.tag ?? `the referrer ${evidence.digest}`;
      throw new BundleError(error.code, `${item.ref}: ${what}, locked at ${item.evidenceAt}, is gone: ${error.message}`, {
        hint: 'run "bundle lock --update" for it and look at what changed',
        origin: 'source',
        cause: error,
      });
    }
  }
  return carried;
}

export const sortedEvidence = (evidence: readonly CarriedEvidence[]): CarriedEvidence[] =>
  [...evidence].sort((a, b) => byteOrder(orderOf(a.evidence), orderOf(b.evidence)));

const orderOf = ({ subject, tag, digest }: Evidence): string => `${subject} ${tag ?? ''} ${digest}`;

/** What was read to be verified is not fetched a second time; larger blobs are, so that memory stays flat. */
const KEPT_BYTES = 64 * 1024;

export type EvidenceBlobReader = (ref: string, blob: Descriptor, maxBytes: number) => Promise<Uint8Array>;

/**
 * Reads a signature's blob whole, from the bundle where it is, else from the origin, checked against its digest.
 * @param known what was read, for the fetch that follows
 */
export function createEvidenceBlobReader(
  client: RegistryClient,
  store: BlobStore,
  known: Map<Digest, Uint8Array>,
  signal?: AbortSignal,
): EvidenceBlobReader {
  return async (ref, blob, maxBytes) => {
    const what = `${ref}: evidence ${blob.digest}`;
    if (blob.size > maxBytes) throw new BundleError('E_LIMIT', `${what}: ${blob.size} bytes, more than the limit of ${maxBytes}`);
    const before = known.get(blob.digest);
    if (before !== undefined) return before;
    const local = (await store.size(blob.digest)) === blob.size ? await readIntact(store, blob, maxBytes) : undefined;
    if (local !== undefined) return local;
    const { origin, repository } = parseReference(ref);
    const body = verified(client.readBlob(origin, repository, blob, 0, signal), blob, what, 'source');
    const bytes = await readAll(body, maxBytes, what);
    if (bytes.length <= KEPT_BYTES) known.set(blob.digest, bytes);
    return bytes;
  };
}

/** undefined when what the bundle has is damaged: it is fetched again. */
async function readIntact(store: BlobStore, blob: Descriptor, maxBytes: number): Promise<Uint8Array | undefined> {
  try {
    return await store.readWhole(blob, maxBytes);
  } catch (error) {
    if (isBundleError(error) && (error.code === 'E_DIGEST' || error.code === 'E_SIZE')) return undefined;
    throw error;
  }
}
