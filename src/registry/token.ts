import { BundleError, isBundleError } from '../core/errors.ts';
import { isObject } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { readAll } from '../core/verified.ts';
import type { Clock } from './clock.ts';
import type { Credential } from './credentials.ts';
import { checkRealm, checkRedirect } from './network-policy.ts';
import { faultError, readFault } from './response-error.ts';
import { backoffMs, isTransient, retryDelay } from './retry.ts';
import { parseLocation } from './send.ts';
import type { HttpRequest, HttpResponse, Transport } from './transport.ts';

export type Token = Readonly<{ header: string; issuedAt: number; expiresAt: number }>;

export type TokenRequest = Readonly<{
  realm: URL;
  /** The registry that named it; undefined where the user did. */
  from: URL | undefined;
  service: string | undefined;
  /** The one needed now first: some services read only one. */
  scopes: readonly string[];
  credential: Credential | undefined;
  signal?: AbortSignal | undefined;
}>;

const basic = (c: { username: string; password: string }): string =>
  `Basic ${Buffer.from(`${c.username}:${c.password}`).toString('base64')}`;

export const basicHeader = basic;

/**
 * Asks a token service: GET with Basic or nothing; with an identity token the OAuth2 POST, falling back to GET where that is missing.
 * https://distribution.github.io/distribution/spec/auth/token/
 * @throws BundleError E_AUTH, E_LIMIT, E_NETWORK, E_REDIRECT
 */
export async function fetchToken(transport: Transport, clock: Clock, request: TokenRequest): Promise<Token> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await fetchOnce(transport, clock, request);
    } catch (error) {
      if (attempt >= LIMITS.tokenTries || !isPassing(error)) throw error;
      const asked = isBundleError(error) ? error.detail.retryAfterMs : undefined;
      const wait = typeof asked === 'number' ? asked : backoffMs(attempt);
      if (wait > LIMITS.retryAfterMs) throw error;
      await clock.sleep(wait, request.signal);
    }
  }
}

/** The service is there but busy, or the way to it broke; a 401 or 403 will say the same again, and may lock the account. */
const isPassing = (error: unknown): boolean =>
  isTransient(error) || (isBundleError(error) && (error.detail.status === 429 || Number(error.detail.status) >= 500));

async function fetchOnce(transport: Transport, clock: Clock, request: TokenRequest): Promise<Token> {
  const { credential } = request;
  if (credential?.kind === 'identity') {
    const answer = await send(transport, oauthPost(request, credential.token), request);
    if (answer.status !== 404 && answer.status !== 405) return readToken(answer, clock, request);
    await answer.discard();
    return readToken(
      await send(transport, get(request, basic({ username: '<token>', password: credential.token })), request),
      clock,
      request,
    );
  }
  const authorization = credential?.kind === 'basic' ? basic(credential) : undefined;
  return readToken(await send(transport, get(request, authorization), request), clock, request);
}

function get(request: TokenRequest, authorization: string | undefined): HttpRequest {
  const url = new URL(request.realm);
  if (request.service !== undefined) url.searchParams.set('service', request.service);
  for (const scope of request.scopes) url.searchParams.append('scope', scope);
  return { method: 'GET', url, headers: authorization === undefined ? {} : { authorization }, signal: request.signal };
}

function oauthPost(request: TokenRequest, refreshToken: string): HttpRequest {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    client_id: 'bundle',
    refresh_token: refreshToken,
    scope: request.scopes.join(' '),
  });
  if (request.service !== undefined) form.set('service', request.service);
  const bytes = Buffer.from(form.toString());
  return {
    method: 'POST',
    url: request.realm,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: { length: bytes.length, open: () => bytes },
    signal: request.signal,
  };
}

/** Follows redirects of a token GET under the same rules as the registry's; credentials don't cross hosts, a POST is not redirected at all. */
async function send(transport: Transport, request: HttpRequest, { realm: registry, from }: TokenRequest): Promise<HttpResponse> {
  let current: HttpRequest = { ...request, from: from?.hostname === request.url.hostname ? undefined : from };
  for (let hop = 0; hop <= LIMITS.redirects; hop++) {
    const response = await transport.send(current);
    const location = response.header('location');
    if (response.status < 300 || response.status > 399 || location === undefined) return response;
    await response.discard();
    const next = parseLocation(location, current.url);
    checkRedirect(current.url, next);
    checkRealm(registry, next);
    if (request.method !== 'GET') throw new BundleError('E_REDIRECT', `token service ${current.url.host} redirects a POST`);
    const namedBy = next.hostname === (from ?? registry).hostname ? undefined : (from ?? registry);
    current = { ...current, url: next, from: namedBy, headers: next.host === current.url.host ? (current.headers ?? {}) : {} };
  }
  throw new BundleError('E_REDIRECT', `token service ${registry.host} redirects more than ${LIMITS.redirects} times`);
}

/** A number, or text of one. Not `Number` of anything else: of an object with a `toString` of its own it throws. */
const seconds = (value: unknown): number => (typeof value === 'number' || typeof value === 'string' ? Number(value) : Number.NaN);

async function readToken(response: HttpResponse, clock: Clock, request: TokenRequest): Promise<Token> {
  const what = `token service ${request.realm.host}${request.scopes[0] === undefined ? '' : ` for ${request.scopes[0]}`}`;
  if (response.status !== 200) {
    const error = faultError(await readFault(response), what);
    const retryAfter = response.header('retry-after') === undefined ? {} : { retryAfterMs: retryDelay(response, 1, clock) };
    const from =
      request.credential === undefined ? 'no credentials were found' : `the credentials come from ${request.credential.from}`;
    throw new BundleError(error.code, error.message, {
      hint: `${from}; log in again, or log out if the image is public`,
      detail: { ...error.detail, ...retryAfter },
    });
  }
  const bytes = await readAll(response.body, LIMITS.tokenBytes, `answer of ${what}`);
  // The content type is ignored: nvcr.io answers text.
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new BundleError('E_AUTH', `${what}: the answer is not JSON`, { cause: error });
  }
  const value = isObject(json) ? json.token || json.access_token : undefined;
  if (typeof value !== 'string' || value === '' || value.length > LIMITS.tokenHeaderBytes || /[^\x21-\x7e]/.test(value)) {
    throw new BundleError('E_AUTH', `${what}: the answer has no usable "token" or "access_token"`);
  }
  const stated = isObject(json) ? seconds(json.expires_in) : Number.NaN;
  // 60 s where nothing is said (token spec), from receipt and not from `issued_at`: clocks differ. Renewed 5 s early.
  const life = Number.isFinite(stated) && stated > 0 ? Math.min(stated, 86_400) : 60;
  const now = clock.now();
  return { header: `Bearer ${value}`, issuedAt: now, expiresAt: now + Math.max(1, life - 5) * 1000 };
}
