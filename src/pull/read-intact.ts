import type { BlobStore } from '../bundle/blob-store.ts';
import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { type ErrorCode, isBundleError } from '../core/errors.ts';

const ABSENT: readonly ErrorCode[] = ['E_MISSING', 'E_DIGEST', 'E_SIZE'];

/**
 * Reads what the bundle has, or undefined where it has none or a damaged one.
 * @param trusted blobs believed by size; one that turns out damaged here is taken out, so that it is written again
 */
export async function readIntact(
  store: BlobStore,
  blob: Pick<Descriptor, 'digest' | 'size'>,
  maxBytes: number,
  trusted: Map<Digest, number>,
): Promise<Buffer | undefined> {
  try {
    return await store.readWhole(blob, maxBytes);
  } catch (error) {
    if (!isBundleError(error) || !ABSENT.includes(error.code)) throw error;
    trusted.delete(blob.digest);
    return undefined;
  }
}
