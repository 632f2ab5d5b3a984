/** GET and HEAD of blobs at the registry, in place or by redirect. */
import { gzipSync } from 'node:zlib';
import { blobOf } from '../random-image.ts';
import { redirectToStorage } from './cdn.ts';
import { type Content, contentOf } from './deliver.ts';
import { type Exchange, send, sendError } from './exchange.ts';
import { deliverRange } from './range.ts';
import { digestWith, type StoredBlob } from './storage.ts';

/** A digest of the right form that is nobody's. */
export const otherDigest = (digest: string): string => digestWith(digest.slice(0, 6), Buffer.from(`not ${digest}`));

const wholeOf = (content: Content): Buffer => Buffer.concat([...content.read(0, content.size)]);

/** The bytes as this personality hands them out. */
export function shownContent(x: Exchange, blob: StoredBlob): Content {
  const { blobLie, contentEncoding } = x.world.switches;
  if (contentEncoding === 'gzip') return contentOf(gzipSync(wholeOf(blob)));
  if (blobLie === 'other-bytes') return blobOf(`these are not the bytes of ${blob.digest}`);
  if (blobLie === 'same-size') return contentOf(Buffer.alloc(blob.size, 'x'));
  return blob;
}

export function blobHeaders(x: Exchange, digest: string): Record<string, string | number> {
  const { dcd, headLies, contentEncoding } = x.world.switches;
  const lying = dcd === 'lying' || (x.method === 'HEAD' && headLies === 'digest');
  return {
    'content-type': 'application/octet-stream',
    ...(dcd === 'none' ? {} : { 'docker-content-digest': lying ? otherDigest(digest) : digest }),
    ...(contentEncoding === 'gzip' ? { 'content-encoding': 'gzip' } : {}),
  };
}

function head(x: Exchange, digest: string, blob: StoredBlob | undefined): undefined {
  const { headLies } = x.world.switches;
  if (blob === undefined && headLies !== 'exists') return send(x, 404);
  const size = blob?.size ?? 1234;
  send(x, 200, { ...blobHeaders(x, digest), 'accept-ranges': 'bytes', 'content-length': headLies === 'size' ? size + 1 : size });
}

export async function serveBlob(x: Exchange, repository: string, digest: string): Promise<void> {
  const { switches, storage } = x.world;
  const blob = storage.blob(repository, digest);
  if (x.method === 'HEAD' && (switches.blobHead === 'in-place' || blob === undefined)) return head(x, digest, blob);
  if (x.method === 'DELETE') {
    const gone = storage.find(repository)?.blobs.delete(digest) === true;
    return gone ? send(x, 202) : sendError(x, 404, 'BLOB_UNKNOWN');
  }
  if (x.method !== 'GET' && x.method !== 'HEAD') return sendError(x, 405, 'UNSUPPORTED');
  if (blob === undefined) return sendError(x, 404, storage.find(repository) ? 'BLOB_UNKNOWN' : 'NAME_UNKNOWN');
  if (switches.blob !== 'direct') return redirectToStorage(x, repository, digest);
  await deliverRange(x, blobHeaders(x, digest), shownContent(x, blob));
}
