import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Authorizer, Scopes } from './authorizer.ts';
import { buffered } from './buffered.ts';
import type { Clock } from './clock.ts';
import type { Endpoint } from './endpoint.ts';
import { checkRedirect, isSameOrigin } from './network-policy.ts';
import { faultError, readFault } from './response-error.ts';
import { backoffMs, isTransient, retryDelay } from './retry.ts';
import type { Throttle } from './throttle.ts';
import type { HttpRequest, HttpResponse, Transport } from './transport.ts';

export type ApiRequest = HttpRequest &
  Readonly<{
    endpoint: Endpoint;
    repository: string;
    scopes: Scopes;
    /** 'none': a redirect is handed back (HEAD of a blob, uploads). Default 'follow'. */
    redirects?: 'follow' | 'none';
    /** Requests that must not be repeated after an unknown outcome (POST that opens a session is harmless and may be). */
    retry?: boolean;
    /** Read a 200's body whole, up to this many bytes, before it counts as an answer. */
    wholeBody?: number;
  }>;

export type Sender = (request: ApiRequest) => Promise<HttpResponse>;

export type SenderOptions = Readonly<{
  transport: Transport;
  authorizer: Authorizer;
  throttle: Throttle;
  clock: Clock;
  warn: (text: string) => void;
}>;

/** One API request with everything around it: credentials, redirects, the host's back-off, and tries again where that is safe. */
export function createSender(options: SenderOptions): Sender {
  const { throttle, clock } = options;
  const shown = new Set<string>();
  return async (request) => {
    const host = request.endpoint.base.host;
    const tries = request.retry === false ? 1 : LIMITS.requestTries;
    for (let attempt = 1; ; attempt++) {
      await throttle.ready(host, request.signal);
      try {
        const response = await sendWhole(request, options);
        showWarnings(response, host, shown, options.warn);
        if (!isTemporary(response.status)) return response;
        const settled = await settleRefusal(response, host, attempt, options);
        if (attempt >= tries) return settled.response;
        await clock.sleep(settled.wait, request.signal);
      } catch (error) {
        if (attempt >= tries || !isTransient(error)) throw error;
        await clock.sleep(backoffMs(attempt), request.signal);
      }
    }
  };
}

/** With `wholeBody` a body that breaks off belongs to the try: it is asked for again. */
async function sendWhole(request: ApiRequest, options: SenderOptions): Promise<HttpResponse> {
  const response = await sendAuthorized(request, options);
  if (request.wholeBody === undefined || response.status !== 200) return response;
  return buffered(response, request.wholeBody, `${request.endpoint.origin}/${request.repository}`);
}

/**
 * A 429 makes everybody wait who asks that host, uploads too, also when this request itself is not tried again. A quota of hours is told from a
 * limit of seconds: it fails at once, with advice.
 * @throws BundleError E_RATE_LIMIT
 */
async function settleRefusal(
  response: HttpResponse,
  host: string,
  attempt: number,
  options: SenderOptions,
): Promise<{ response: HttpResponse; wait: number }> {
  const kept = await buffered(response, LIMITS.errorBodyBytes, 'error body').catch(() => ({ ...response, body: nothing }));
  if (response.status === 429 && (await isQuota(kept))) throw faultError(await readFault(kept), host);
  const wait = retryDelay(response, attempt, options.clock);
  if (wait > LIMITS.retryAfterMs) {
    const asked = `${host} asks to wait ${Math.ceil(wait / 1000)} s (HTTP ${response.status}), more than this run waits`;
    throw new BundleError('E_RATE_LIMIT', asked, { hint: 'run the same command later; what was fetched is kept' });
  }
  const everybody = response.status === 429 || response.header('retry-after') !== undefined;
  if (everybody) options.throttle.slowDown(host, wait);
  return { response: kept, wait: everybody ? 0 : wait };
}

const nothing: AsyncIterable<Uint8Array> = { async *[Symbol.asyncIterator]() {} };

/** Docker Hub: `ratelimit-remaining: 0;w=21600`, or words about the pull rate limit; without Retry-After the window is hours. */
async function isQuota(response: HttpResponse): Promise<boolean> {
  if (response.header('retry-after') !== undefined) return false;
  if (/^0(;|$)/.test(response.header('ratelimit-remaining') ?? '')) return true;
  return /pull rate limit/i.test((await readFault(response)).message);
}

/** A status that another try may cure. */
export const isTemporary = (status: number): boolean =>
  status === 429 || status === 408 || status === 499 || (status >= 500 && status !== 501 && status !== 505 && status !== 507);

async function sendAuthorized(request: ApiRequest, options: SenderOptions): Promise<HttpResponse> {
  const { authorizer } = options;
  const { endpoint, repository, scopes, signal } = request;
  // Only the registry's own address gets the header; an upload Location elsewhere never does.
  const own = isSameOrigin(request.url, endpoint.base);
  let authorization = own ? await authorizer.header(endpoint, repository, scopes, signal) : undefined;
  for (let attempt = 1; ; attempt++) {
    let response: HttpResponse | undefined;
    try {
      response = await followRedirects(request, authorization, options);
    } finally {
      const accepted = response !== undefined && !isSameOrigin(response.url, endpoint.base) ? 200 : response?.status;
      if (own) authorizer.learn(endpoint, authorization, accepted);
    }
    if (!own || attempt > 2 || !isSameOrigin(response.url, endpoint.base)) return response;
    if (
      response.status === 401 ||
      ((response.status === 400 || response.status === 403) && authorizer.isOld(endpoint, scopes, authorization))
    ) {
      // Its message is still wanted when there is nothing better to try.
      const replay = await buffered(response, LIMITS.errorBodyBytes, 'error body');
      const next = await authorizer.answer(endpoint, repository, scopes, replay, authorization, signal);
      if (next === undefined) return replay;
      authorization = next;
      continue;
    }
    return response;
  }
}

async function followRedirects(
  request: ApiRequest,
  authorization: string | undefined,
  options: SenderOptions,
): Promise<HttpResponse> {
  let url = request.url;
  let header = authorization;
  let triedElsewhere = false;
  for (let hop = 0; ; hop++) {
    const response = await options.transport.send({
      ...request,
      url,
      from: url.hostname === request.endpoint.base.hostname ? undefined : request.endpoint.base,
      headers: { ...request.headers, ...(header === undefined ? {} : { authorization: header }) },
    });
    const location = response.header('location');
    if (response.status === 401 && hop > 0 && !triedElsewhere && !isSameOrigin(url, request.endpoint.base)) {
      triedElsewhere = true;
      header = await options.authorizer.answerElsewhere(url, response, request.scopes);
      if (header !== undefined) continue;
      throw new BundleError('E_AUTH', `${request.endpoint.origin} redirects to ${url.host}, which refuses an anonymous request`);
    }
    if (request.redirects === 'none' || ![301, 302, 303, 307, 308].includes(response.status) || location === undefined)
      return response;
    await response.discard();
    if (hop >= LIMITS.redirects)
      throw new BundleError('E_REDIRECT', `${request.url.host}: more than ${LIMITS.redirects} redirects`);
    const next = parseLocation(location, url);
    checkRedirect(url, next);
    // Once away from the registry the header never comes back, not even on a redirect home (go-containerregistry #2349).
    if (!isSameOrigin(url, next)) header = undefined;
    url = next;
  }
}

/** `Location` against the request's address; kept exactly as sent otherwise: its query is signed. @throws BundleError E_REDIRECT */
export function parseLocation(location: string, base: URL): URL {
  try {
    return new URL(location, base);
  } catch (error) {
    throw new BundleError('E_REDIRECT', `${base.host} sends a Location that is not a URL`, { cause: error });
  }
}

/** distribution-spec "Warnings": `299 - "text"`, each shown once, never acted on. */
function showWarnings(response: HttpResponse, host: string, shown: Set<string>, warn: (text: string) => void): void {
  for (const line of response.headerLines('warning').slice(0, 16)) {
    const text = /^299 - "((?:[^"\\]|\\.)*)"/
      .exec(line)?.[1]
      ?.replace(/[^\x20-\x7e]/g, ' ')
      .slice(0, 300);
    if (text === undefined || shown.has(text) || shown.size > 100) continue;
    shown.add(text);
    warn(`${host} says: ${text}`);
  }
}
