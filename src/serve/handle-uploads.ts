import { algorithmOf, type Digest, type DigestAlgorithm } from '../core/digest.ts';
import type { Answer } from './answer.ts';
import { contentLength, type Exchange, type WritingService } from './exchange.ts';
import { parseContentRange, uploadRange } from './range.ts';
import { Refusal } from './refusal.ts';
import { digestIn, digestParameter } from './route.ts';
import type { Upload } from './uploads.ts';

type UploadRoute = Readonly<{ repository: string; id: string }>;

const stored = (repository: string, digest: Digest): Answer => ({
  status: 201,
  headers: { Location: `/v2/${repository}/blobs/${digest}`, 'Docker-Content-Digest': digest },
});

const progress = (upload: Upload): Record<string, string> => ({
  Location: `/v2/${upload.repository}/blobs/uploads/${upload.id}`,
  Range: uploadRange(upload.received),
  'Docker-Upload-UUID': upload.id,
});

/** POST: mount, single request, or a new session (distribution-spec "Pushing blobs"). @throws Refusal 400, 413, 429 */
export async function postUpload(service: WritingService, exchange: Exchange, repository: string): Promise<Answer> {
  const { uploads } = service.writing;
  const { query } = exchange;
  const mount = digestParameter(query, 'mount');
  if (mount !== undefined && (await tryMount(service, exchange, repository, mount))) return stored(repository, mount);
  const digest = digestParameter(query, 'digest');
  if (mount !== undefined || digest === undefined) {
    const upload = await uploads.start(repository, algorithmIn(query.get('digest-algorithm')));
    return { status: 202, headers: progress(upload) };
  }
  const upload = await uploads.start(repository, algorithmOf(digest));
  upload.busy = true; // however long it takes, it is not idle
  try {
    await uploads.receive(upload, exchange.body(), digest, contentLength(exchange.headers));
  } catch (error) {
    await uploads.cancel(upload); // nobody else knows its address
    throw error;
  }
  await uploads.finish(upload, digest);
  return stored(repository, digest);
}

function algorithmIn(text: string | null): DigestAlgorithm | undefined {
  if (text === null || text === 'sha256' || text === 'sha512') return text ?? undefined;
  throw new Refusal(
    400,
    'DIGEST_INVALID',
    `${JSON.stringify(text.slice(0, 100))} is not an algorithm known here: sha256, sha512`,
  );
}

/** What a client may not read it may not mount either; that becomes an upload like a blob that is nowhere. */
async function tryMount(
  { writing }: WritingService,
  { query, grant }: Exchange,
  repository: string,
  digest: Digest,
): Promise<boolean> {
  const from = query.get('from') ?? undefined;
  const allowed = from === undefined ? grant.everywhere : grant.may(from, 'pull');
  return allowed && (await writing.content.mount(repository, digest, from));
}

/** One request at a time per session: two writers would mix their bytes. @throws Refusal 404, 416 */
async function exclusively<T>(service: WritingService, route: UploadRoute, use: (upload: Upload) => Promise<T>): Promise<T> {
  const upload = await service.writing.uploads.find(route.repository, route.id);
  if (upload.busy)
    throw new Refusal(416, 'BLOB_UPLOAD_INVALID', 'another request is writing to this upload', { headers: progress(upload) });
  upload.busy = true;
  try {
    return await use(upload);
  } finally {
    upload.busy = false;
  }
}

/** distribution-spec "Pushing a blob in chunks": out of order is 416 and changes nothing. @throws Refusal 400, 416 */
function checkContinues(exchange: Exchange, upload: Upload): void {
  const header = exchange.headers['content-range'];
  if (header === undefined) return;
  const range = parseContentRange(header);
  if (range === undefined) throw new Refusal(400, 'BLOB_UPLOAD_INVALID', 'Content-Range is not of the form <first>-<last>');
  if (range.start !== upload.received) {
    const message = `the chunk starts at ${range.start}, but ${upload.received} bytes are here`;
    throw new Refusal(416, 'BLOB_UPLOAD_INVALID', message, { headers: progress(upload) });
  }
  const length = contentLength(exchange.headers);
  if (length !== undefined && length !== range.end - range.start) {
    throw new Refusal(400, 'SIZE_INVALID', `Content-Range names ${range.end - range.start} bytes, Content-Length ${length}`);
  }
}

/** PATCH: one chunk, or a stream. @throws Refusal 400, 404, 413, 416 */
export const patchUpload = (service: WritingService, exchange: Exchange, route: UploadRoute): Promise<Answer> =>
  exclusively(service, route, async (upload) => {
    checkContinues(exchange, upload);
    await service.writing.uploads.receive(upload, exchange.body(), undefined, contentLength(exchange.headers));
    return { status: 202, headers: progress(upload) };
  });

/** PUT: the last chunk, or all, or nothing more; then the digest decides. @throws Refusal 400, 404, 413, 416 */
export const putUpload = (service: WritingService, exchange: Exchange, route: UploadRoute): Promise<Answer> =>
  exclusively(service, route, async (upload) => {
    const digest = digestParameter(exchange.query, 'digest') ?? digestIn('');
    checkContinues(exchange, upload);
    await service.writing.uploads.receive(upload, exchange.body(), digest, contentLength(exchange.headers));
    await service.writing.uploads.finish(upload, digest);
    return stored(route.repository, digest);
  });

/** GET: how far the session is. @throws Refusal 404 */
export async function getUpload(service: WritingService, route: UploadRoute): Promise<Answer> {
  return { status: 204, headers: progress(await service.writing.uploads.find(route.repository, route.id)) };
}

/** DELETE: cancel. @throws Refusal 404 */
export const deleteUpload = (service: WritingService, route: UploadRoute): Promise<Answer> =>
  exclusively(service, route, async (upload) => {
    await service.writing.uploads.cancel(upload);
    return { status: 204 };
  });
