import { type Answer, jsonAnswer } from './answer.ts';
import { etagOf, notModified } from './condition.ts';
import type { Exchange, Service, WritingService } from './exchange.ts';
import { parseRange } from './range.ts';
import { Refusal } from './refusal.ts';
import { digestIn } from './route.ts';

type BlobRoute = Readonly<{ repository: string; digest: string }>;

const unknown = (digest: string): Refusal =>
  new Refusal(404, 'BLOB_UNKNOWN', 'this repository has no such blob', { detail: { digest } });

/** GET and HEAD of a blob: distribution-spec "Pulling blobs", with one byte range and If-None-Match. @throws Refusal 400, 404, 416 */
export async function getBlob(service: Service, exchange: Exchange, route: BlobRoute): Promise<Answer> {
  const digest = digestIn(route.digest);
  const blob = await service.content.blob(route.repository, digest);
  if (blob === undefined) throw unknown(digest);
  const unchanged = notModified(exchange.headers, digest);
  if (unchanged !== undefined) return unchanged;
  const { size } = blob;
  const tag = etagOf(digest);
  const headers = {
    'Content-Type': 'application/octet-stream',
    'Docker-Content-Digest': digest,
    'Accept-Ranges': 'bytes',
    ETag: tag,
  };
  const condition = exchange.headers['if-range'];
  const asked = exchange.method === 'GET' && (condition === undefined || condition === tag) ? exchange.headers.range : undefined;
  const range = parseRange(asked, size);
  if (range === 'unsatisfiable') {
    throw new Refusal(416, 'SIZE_INVALID', `the blob has ${size} bytes`, { headers: { 'Content-Range': `bytes */${size}` } });
  }
  if (range === 'whole') return { status: 200, headers, body: { length: size, chunks: () => blob.open() } };
  return {
    status: 206,
    headers: { ...headers, 'Content-Range': `bytes ${range.start}-${range.end - 1}/${size}` },
    body: { length: range.end - range.start, chunks: () => blob.open(range.start, range.end) },
  };
}

/** @throws Refusal 400, 404 */
export async function deleteBlob({ writing }: WritingService, route: BlobRoute): Promise<Answer> {
  const digest = digestIn(route.digest);
  if (!(await writing.content.deleteBlob(route.repository, digest))) throw unknown(digest);
  return { status: 202 };
}

/** `GET /v2/`: "yes, I speak this API". */
export const ping = (): Answer => jsonAnswer({});
