import type { Descriptor } from '../core/descriptor.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Clock } from './clock.ts';
import { apiUrl, type Endpoint } from './endpoint.ts';
import { pullScope, requireIdentity } from './manifests.ts';
import { faultError, readFault } from './response-error.ts';
import { backoffMs, isTransient } from './retry.ts';
import type { Sender } from './send.ts';
import type { HttpResponse } from './transport.ts';

type Blob = Pick<Descriptor, 'digest' | 'size'>;

export type BlobPresence = 'absent' | 'present' | 'other size';

/**
 * What the registry says of the blob. A redirect counts as yes: its target is often signed for GET only, so it is not asked.
 * @throws BundleError E_AUTH, E_REGISTRY, E_NETWORK
 */
export async function headBlob(
  send: Sender,
  endpoint: Endpoint,
  repository: string,
  blob: Blob,
  scopes: readonly string[],
  signal?: AbortSignal,
): Promise<BlobPresence> {
  const url = apiUrl(endpoint, repository, `blobs/${blob.digest}`);
  const response = await send({ method: 'HEAD', endpoint, repository, scopes, url, redirects: 'none', signal });
  await response.discard();
  if (response.status === 404) return 'absent';
  if (response.status >= 300 && response.status < 400) return 'present';
  if (response.status !== 200)
    throw faultError({ status: response.status, codes: [], message: '' }, `${endpoint.origin}/${repository}@${blob.digest}`);
  const length = response.header('content-length');
  // A wrong length is a damaged blob at the target (zot #1922): upload it again rather than trust the name.
  return length === undefined || Number(length) === blob.size ? 'present' : 'other size';
}

/**
 * The bytes of a blob from offset `from` to its end. A connection that breaks is taken up again by Range where it stopped; a server that ignores
 * Range is read from the start and the part already had is skipped. The caller hashes: nothing here is verified but the length.
 * @throws BundleError E_NOT_FOUND, E_SIZE, E_NETWORK, E_TIMEOUT, E_REGISTRY, E_AUTH
 */
export async function* readBlob(
  send: Sender,
  clock: Clock,
  endpoint: Endpoint,
  repository: string,
  blob: Blob,
  from: number,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const what = `${endpoint.origin}/${repository}@${blob.digest}`;
  let position = from;
  let lastProgress = from;
  let reconnects = 0;
  while (position < blob.size || (blob.size === 0 && reconnects === 0)) {
    let failure: unknown;
    try {
      const response = await openBlob(send, endpoint, repository, blob, position, signal).catch(exhausted);
      if (response === undefined) return;
      let skip = response.start;
      for await (const chunk of response.body) {
        const part = skip === 0 ? chunk : chunk.subarray(Math.min(skip, chunk.length));
        skip -= chunk.length - part.length;
        if (part.length === 0) continue;
        position += part.length;
        if (position > blob.size)
          throw new BundleError('E_SIZE', `${what}: more than the promised ${blob.size} bytes`, { origin: 'source' });
        yield part;
      }
      if (position >= blob.size) return;
      failure = new BundleError('E_NETWORK', `${what}: the answer ended after ${position} of ${blob.size} bytes`, {
        origin: 'source',
      });
    } catch (error) {
      if (!isTransient(error) || isExhausted(error)) throw error;
      failure = error;
    }
    // containers/image's rule: progress buys more tries, standing still does not.
    if (position - lastProgress >= LIMITS.progressBytes) reconnects = 0;
    lastProgress = position;
    if (++reconnects > LIMITS.blobReconnects) throw failure;
    await clock.sleep(backoffMs(reconnects), signal);
  }
}

const EXHAUSTED = new WeakSet<object>();

/** The sender has tried already: trying its failures again would multiply the two counts. The storage's refusals it passes on at once. */
function exhausted(error: unknown): never {
  if (isBundleError(error) && error.detail.storage !== true) EXHAUSTED.add(error);
  throw error;
}

const isExhausted = (error: unknown): boolean => isBundleError(error) && EXHAUSTED.has(error);

type OpenBlob = Readonly<{ body: AsyncIterable<Uint8Array>; start: number }>;

/** `start`: how many bytes of the body come before the position asked for. */
async function openBlob(
  send: Sender,
  endpoint: Endpoint,
  repository: string,
  blob: Blob,
  position: number,
  signal?: AbortSignal,
): Promise<OpenBlob | undefined> {
  const what = `${endpoint.origin}/${repository}@${blob.digest}`;
  const request = (headers: Record<string, string>): Promise<HttpResponse> =>
    send({
      method: 'GET',
      endpoint,
      repository,
      scopes: [pullScope(endpoint, repository)],
      url: apiUrl(endpoint, repository, `blobs/${blob.digest}`),
      headers,
      signal,
    });
  let response = await request(position > 0 ? { range: `bytes=${position}-` } : {});
  if (response.status === 416 && position > 0) {
    await response.discard();
    response = await request({});
  }
  if (response.status === 416 && blob.size === 0) {
    await response.discard(); // Azure on an empty blob
    return undefined;
  }
  if (response.status === 206) {
    await requireIdentity(response, what);
    return { body: response.body, start: await rangeStart(response, position, blob.size, what) };
  }
  if (response.status !== 200) throw blobFault(await readFault(response), response, endpoint, what);
  await requireIdentity(response, what);
  const length = response.header('content-length');
  if (length !== undefined && Number(length) !== blob.size) {
    await response.discard();
    throw new BundleError('E_SIZE', `${what}: the registry has ${length} bytes, want ${blob.size}`, { origin: 'source' });
  }
  return { body: response.body, start: position };
}

/** Only a Content-Range that begins at or before what we asked for can be used. */
async function rangeStart(response: HttpResponse, position: number, size: number, what: string): Promise<number> {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(response.header('content-range') ?? '');
  const first = Number(match?.[1]);
  if (
    match === null ||
    !(first <= position) ||
    Number(match[2]) !== size - 1 ||
    (match[3] !== '*' && Number(match[3]) !== size)
  ) {
    await response.discard();
    throw new BundleError(
      'E_REGISTRY',
      `${what}: asked for the bytes from ${position} on, got Content-Range ${JSON.stringify(response.header('content-range') ?? null)}`,
      { origin: 'source' },
    );
  }
  return position - first;
}

/** A refusal by the storage behind a redirect (a signed address that ran out) is worth a fresh redirect; one by the registry is not. */
function blobFault(
  fault: Awaited<ReturnType<typeof readFault>>,
  response: HttpResponse,
  endpoint: Endpoint,
  what: string,
): BundleError {
  if (response.url.host !== endpoint.base.host && (fault.status === 403 || fault.status === 400)) {
    return new BundleError(
      'E_NETWORK',
      `${what}: the storage at ${response.url.host} refuses its own address (HTTP ${fault.status})`,
      { origin: 'source', detail: { storage: true } },
    );
  }
  return faultError(fault, what);
}
