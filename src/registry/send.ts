import { BundleError, isBundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Authorizer, Scopes } from './authorizer.ts';
import type { Clock } from './clock.ts';
import type { Endpoint } from './endpoint.ts';
import { checkRedirect, isSameOrigin } from './network-policy.ts';
import { readFault } from './response-error.ts';
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
      let failure: unknown;
      try {
        const response = await sendAuthorized(request, options);
        showWarnings(response, host, shown, options.warn);
        if (!isTemporary(response.status) || attempt >= tries) return response;
        const wait = retryDelay(response, attempt, clock);
        if (wait > LIMITS.retryAfterMs) {
          await response.discard();
          throw new BundleError(
            'E_RATE_LIMIT',
            `${host} asks to wait ${Math.ceil(wait / 1000)} s (HTTP ${response.status}), more than this run waits`,
            {
              hint: 'run the same command later; what was fetched is kept',
            },
          );
        }
        await response.discard();
        if (response.status === 429 || response.header('retry-after') !== undefined) throttle.slowDown(host, wait);
        else await clock.sleep(wait, request.signal);
        continue;
      } catch (error) {
        failure = error;
      }
      if (attempt >= tries || !isTransient(failure)) throw failure;
      await clock.sleep(backoffMs(attempt), request.signal);
    }
  };
}

const isTemporary = (status: number): boolean =>
  status === 429 || status === 408 || status === 499 || (status >= 500 && status !== 501 && status !== 505 && status !== 507);

export const isTransient = (error: unknown): boolean =>
  isBundleError(error) && (error.code === 'E_NETWORK' || error.code === 'E_TIMEOUT');

/** 0.25, 0.5, 1, 2, 4 s with a spread, so that many blobs don't come back at one instant. */
export const backoffMs = (attempt: number): number => Math.min(8000, 250 * 2 ** (attempt - 1)) * (0.75 + Math.random() / 2);

/** Retry-After in seconds or as a date (RFC 9110 section 10.2.3), else our own back-off. Negative and unreadable values count as absent. */
export function retryDelay(response: Pick<HttpResponse, 'header'>, attempt: number, clock: Pick<Clock, 'now'>): number {
  const value = response.header('retry-after')?.trim();
  if (value === undefined) return backoffMs(attempt);
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? backoffMs(attempt) : Math.max(0, date - clock.now());
}

async function sendAuthorized(request: ApiRequest, options: SenderOptions): Promise<HttpResponse> {
  const { authorizer } = options;
  const { endpoint, repository, scopes, signal } = request;
  // Only the registry's own address gets the header; an upload Location elsewhere never does.
  const own = isSameOrigin(request.url, endpoint.base);
  let authorization = own ? await authorizer.header(endpoint, repository, scopes, signal) : undefined;
  for (let attempt = 1; ; attempt++) {
    const response = await followRedirects(request, authorization, options);
    if (!own || attempt > 2 || !isSameOrigin(response.url, endpoint.base)) return response;
    if (
      response.status === 401 ||
      ((response.status === 400 || response.status === 403) && authorizer.isOld(endpoint, scopes, authorization))
    ) {
      const replay = await keepBody(response);
      const next = await authorizer.answer(endpoint, repository, scopes, replay, authorization, signal);
      if (next === undefined) return replay;
      authorization = next;
      continue;
    }
    return response;
  }
}

/** The refusal is still wanted for its message when there is nothing better to try: read it (bounded) now, hand it out again later. */
async function keepBody(response: HttpResponse): Promise<HttpResponse> {
  const fault = await readFault(response);
  const body = JSON.stringify({ errors: [{ code: fault.codes[0] ?? 'UNKNOWN', message: fault.message }] });
  return {
    ...response,
    header: response.header,
    headerLines: response.headerLines,
    body: (async function* () {
      yield Buffer.from(body);
    })(),
    discard: async () => undefined,
  };
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
