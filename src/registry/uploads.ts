import type { Descriptor } from '../core/descriptor.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { createVerifier } from '../core/verified.ts';
import { headBlob } from './blobs.ts';
import type { Clock } from './clock.ts';
import { apiUrl, type Endpoint } from './endpoint.ts';
import { pullScope, pushScope } from './manifests.ts';
import { isSameOrigin } from './network-policy.ts';
import { faultError, readFault } from './response-error.ts';
import { backoffMs, isTransient } from './retry.ts';
import { parseLocation, type Sender } from './send.ts';
import type { HttpResponse, ReplayableBody } from './transport.ts';

type Blob = Pick<Descriptor, 'digest' | 'size'>;
export type BlobReader = (start: number, end: number) => AsyncIterable<Uint8Array>;
export type PushOutcome = 'present' | 'mounted' | 'pushed';

export type PushBlob = Readonly<{
  endpoint: Endpoint;
  repository: string;
  blob: Blob;
  /** Must give the same bytes each time and throw before its end when they are not those of the digest. */
  read: BlobReader;
  /** A repository at the same registry that is known to hold the blob. */
  mountFrom?: string | undefined;
  /** Upload even though the registry says that it has it (it said so and was wrong). */
  force?: boolean;
  /** Small and known to be new: it is not asked for, neither before nor after; the manifest that follows names it, and the registry checks that. */
  fresh?: boolean;
  signal?: AbortSignal | undefined;
}>;

type Session = Readonly<{ location: URL; minChunk: number }>;

/**
 * Brings one blob into a repository: HEAD, mount, POST+PUT in one piece; chunks only when the registry refuses one piece.
 * @throws BundleError E_DIGEST, E_REDIRECT, E_REGISTRY, E_AUTH, E_NETWORK
 */
export async function pushBlob(send: Sender, clock: Clock, push: PushBlob): Promise<PushOutcome> {
  const { endpoint, repository, blob, signal } = push;
  const scopes = [
    pushScope(endpoint, repository),
    ...(push.mountFrom === undefined ? [] : [pullScope(endpoint, push.mountFrom)]),
  ];
  const presence =
    push.force || push.fresh
      ? 'absent'
      : await headBlob(send, endpoint, repository, blob, [pushScope(endpoint, repository)], signal);
  if (presence === 'present') return 'present';
  let session: Session | undefined;
  if (push.mountFrom !== undefined && !push.force) {
    const mount = await tryMount(send, push, push.mountFrom, scopes);
    if (mount === 'mounted') return 'mounted';
    session = mount;
  }
  let chunked = false;
  /** What opening a session failed with: the sender has tried that often enough. */
  let opening: unknown;
  for (let attempt = 1; ; attempt++) {
    try {
      session ??= await openSession(send, push).catch((error: unknown) => {
        opening = error;
        throw error;
      });
      if (chunked) await uploadChunks(send, push, session);
      else await uploadWhole(send, push, session);
      if (!push.fresh) await requireStored(send, push);
      return 'pushed';
    } catch (error) {
      if (session !== undefined) await cancel(send, push, session);
      session = undefined;
      if (attempt >= LIMITS.uploadTries || error === opening) throw error;
      if (!chunked && wantsChunks(error) && blob.size > 0) chunked = true;
      else if (isTransient(error) || isLostSession(error)) await clock.sleep(backoffMs(attempt), signal);
      else if (statusOf(error) === 429)
        continue; // the sender makes the whole host wait
      else throw error;
    }
  }
}

const statusOf = (error: unknown): number | undefined =>
  isBundleError(error) && typeof error.detail.status === 'number' ? error.detail.status : undefined;
const wantsChunks = (error: unknown): boolean => [413, 416, 405, 501].includes(statusOf(error) ?? 0);
/** The session is gone (restart of the registry, load balancer): a new one may do. */
const isLostSession = (error: unknown): boolean => [404, 500, 502, 503, 504].includes(statusOf(error) ?? 0);

/** 201 mounted; 202 is an open session in our repository; any refusal (Harbor 401, Quay 404, …) means "no mount". */
async function tryMount(
  send: Sender,
  push: PushBlob,
  from: string,
  scopes: readonly string[],
): Promise<Session | 'mounted' | undefined> {
  const { endpoint, repository, blob, signal } = push;
  const url = apiUrl(endpoint, repository, 'blobs/uploads/');
  url.searchParams.set('mount', blob.digest);
  url.searchParams.set('from', `${endpoint.prefix}${from}`);
  try {
    const response = await send({ method: 'POST', endpoint, repository, scopes, url, redirects: 'none', signal });
    await response.discard();
    if (response.status === 201) return 'mounted';
    return response.status === 202 ? sessionOf(response, endpoint) : undefined;
  } catch (error) {
    if (isBundleError(error) && (error.code === 'E_AUTH' || error.code === 'E_REGISTRY')) return undefined;
    throw error;
  }
}

async function openSession(send: Sender, push: PushBlob): Promise<Session> {
  const { endpoint, repository, signal } = push;
  const response = await send({
    method: 'POST',
    endpoint,
    repository,
    scopes: [pushScope(endpoint, repository)],
    url: apiUrl(endpoint, repository, 'blobs/uploads/'),
    redirects: 'none',
    signal,
  });
  if (response.status !== 202)
    throw faultError(await readFault(response), `starting an upload to ${endpoint.origin}/${repository}`);
  await response.discard();
  return sessionOf(response, endpoint);
}

/**
 * The Location exactly as given; its query is state of the registry. Another host is refused: the bytes and the right to write belong to the
 * registry named (oras-go CVE-2026-50151).
 */
function sessionOf(response: HttpResponse, endpoint: Endpoint): Session {
  const header = response.header('location');
  if (header === undefined)
    throw new BundleError('E_REGISTRY', `${endpoint.origin}: upload accepted without a Location`, { origin: 'target' });
  const location = parseLocation(header, response.url);
  if (!isSameOrigin(location, endpoint.base)) {
    throw new BundleError(
      'E_REDIRECT',
      `${endpoint.origin} wants the upload at ${location.protocol}//${location.host}, which is not the registry named`,
      {
        origin: 'target',
        hint: 'behind a proxy, let it pass the Host and X-Forwarded-Proto headers on',
      },
    );
  }
  return { location, minChunk: Number(response.header('oci-chunk-min-length')) || 0 };
}

function withDigest(location: URL, blob: Blob): URL {
  const joined = `${location.href}${location.search === '' ? '?' : '&'}digest=${encodeURIComponent(blob.digest)}`;
  return new URL(joined);
}

async function uploadRequest(
  send: Sender,
  push: PushBlob,
  method: 'PUT' | 'PATCH',
  url: URL,
  body: ReplayableBody,
  extra: Record<string, string> = {},
): Promise<HttpResponse> {
  const { endpoint, repository, signal } = push;
  const response = await send({
    method,
    endpoint,
    repository,
    scopes: [pushScope(endpoint, repository)],
    url,
    headers: { 'content-type': 'application/octet-stream', ...extra },
    body,
    redirects: 'none',
    // A session whose PUT broke off has an unknown state: a new session, opened by the caller, is the safe way.
    retry: false,
    signal,
  });
  const wanted = method === 'PUT' ? [201, 204] : [202, 201, 204];
  if (!wanted.includes(response.status))
    throw faultError(await readFault(response), `uploading ${push.blob.digest} to ${endpoint.origin}/${repository}`);
  await response.discard();
  return response;
}

async function uploadWhole(send: Sender, push: PushBlob, session: Session): Promise<void> {
  const { blob } = push;
  const body: ReplayableBody = { length: blob.size, open: () => (blob.size === 0 ? new Uint8Array() : push.read(0, blob.size)) };
  checkStored(await uploadRequest(send, push, 'PUT', withDigest(session.location, blob), body), push);
}

async function* hashed(body: AsyncIterable<Uint8Array>, update: (chunk: Uint8Array) => void): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    update(chunk);
    yield chunk;
  }
}

/** In order, each to the Location of the answer before; stops when the registry's Range does not grow with what was sent (ECR drops parts). */
async function uploadChunks(send: Sender, push: PushBlob, session: Session): Promise<void> {
  const { blob } = push;
  let { location } = session;
  const step = Math.max(session.minChunk, LIMITS.uploadChunkBytes);
  // One hash over all chunks: the closing PUT, which makes a blob of them, is sent only when what was sent is right.
  const verifier = createVerifier(blob, `blob ${blob.digest}`, 'bundle');
  for (let start = 0; start < blob.size; start += step) {
    const end = Math.min(start + step, blob.size);
    const body: ReplayableBody = { length: end - start, open: () => hashed(push.read(start, end), verifier.update) };
    const response = await uploadRequest(send, push, 'PATCH', location, body, { 'content-range': `${start}-${end - 1}` });
    const range = /^(?:bytes=)?0-(\d+)$/.exec(response.header('range') ?? '');
    if (range !== null && Number(range[1]) + 2 < end) {
      throw new BundleError(
        'E_REGISTRY',
        `${push.endpoint.origin}: took a chunk up to byte ${end - 1} but holds only ${range[1]}`,
        { origin: 'target' },
      );
    }
    location = sessionOf(response, push.endpoint).location;
  }
  verifier.finish();
  checkStored(
    await uploadRequest(send, push, 'PUT', withDigest(location, blob), { length: 0, open: () => new Uint8Array() }),
    push,
  );
}

/** 201 is a word; registries exist that drop chunks or bodies and say it all the same (ECR, public-registries.md section 5). */
async function requireStored(send: Sender, push: PushBlob): Promise<void> {
  const { endpoint, repository, blob, signal } = push;
  if ((await headBlob(send, endpoint, repository, blob, [pushScope(endpoint, repository)], signal)) !== 'absent') return;
  throw new BundleError(
    'E_REGISTRY',
    `${endpoint.origin}: the upload of ${blob.digest} was accepted, but the blob is not there`,
    { origin: 'target' },
  );
}

function checkStored(response: HttpResponse, push: PushBlob): void {
  const claimed = response.header('docker-content-digest');
  if (claimed !== undefined && claimed !== push.blob.digest) {
    throw new BundleError('E_DIGEST', `${push.endpoint.origin} stored ${claimed.slice(0, 140)} for ${push.blob.digest}`, {
      origin: 'target',
    });
  }
}

/** distribution-spec end-14; registries without it answer an error that is nobody's news. */
async function cancel(send: Sender, push: PushBlob, session: Session): Promise<void> {
  const { endpoint, repository } = push;
  try {
    const response = await send({
      method: 'DELETE',
      endpoint,
      repository,
      scopes: [pushScope(endpoint, repository)],
      url: session.location,
      redirects: 'none',
      retry: false,
    });
    await response.discard();
  } catch (error) {
    if (!isBundleError(error)) throw error;
  }
}
