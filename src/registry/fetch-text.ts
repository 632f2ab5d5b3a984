import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { readAll } from '../core/verified.ts';
import type { Clock } from './clock.ts';
import { checkRedirect } from './network-policy.ts';
import { backoffMs, isTransient, retryDelay } from './retry.ts';
import { isTemporary, parseLocation } from './send.ts';
import type { HttpResponse, Transport } from './transport.ts';

export type TextPorts = Readonly<{
  transport: Transport;
  clock: Clock;
  /** Hosts (`files.corp:8080`) that may be asked without TLS. */
  plainHttp: readonly string[];
}>;

/**
 * GETs a small text by http(s), without credentials, and again where the way broke or the server was busy.
 * @throws BundleError E_USAGE (http without --plain-http), E_NETWORK, E_TIMEOUT, E_TLS, E_RATE_LIMIT, E_NOT_FOUND, E_REDIRECT, E_LIMIT
 */
export async function fetchText(ports: TextPorts, address: string, maxBytes: number, signal?: AbortSignal): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    let wait = backoffMs(attempt);
    try {
      const { response, what } = await follow(ports, new URL(address), signal);
      if (response.status === 200) return (await readAll(response.body, maxBytes, what)).toString('utf8');
      await response.discard();
      wait = retryDelay(response, attempt, ports.clock);
      const last = attempt >= LIMITS.requestTries || wait > LIMITS.retryAfterMs;
      if (!isTemporary(response.status) || last) throw refusal(response.status, what);
    } catch (error) {
      if (attempt >= LIMITS.requestTries || !isTransient(error) || isRefusal(error)) throw error;
    }
    await ports.clock.sleep(wait, signal);
  }
}

const refusal = (status: number, what: string): BundleError =>
  new BundleError(status === 404 ? 'E_NOT_FOUND' : status === 429 ? 'E_RATE_LIMIT' : 'E_NETWORK', `${what}: HTTP ${status}`, {
    detail: { status },
  });

/** The server answered: told from a way that broke, which has no status. */
const isRefusal = (error: unknown): boolean => error instanceof BundleError && error.detail.status !== undefined;

async function follow(
  { transport, plainHttp }: TextPorts,
  first: URL,
  signal: AbortSignal | undefined,
): Promise<{ response: HttpResponse; what: string }> {
  let url = first;
  for (let hop = 0; hop <= LIMITS.redirects; hop++) {
    if (url.protocol === 'http:' && !plainHttp.includes(url.host)) throw plainRefused(url);
    const from = url.hostname === first.hostname ? undefined : first;
    const response = await transport.send({ method: 'GET', url, from, signal });
    const location = response.header('location');
    if (response.status < 300 || response.status > 399 || location === undefined)
      return { response, what: `${url.origin}${url.pathname}` };
    await response.discard();
    const next = parseLocation(location, url);
    checkRedirect(url, next);
    url = next;
  }
  throw new BundleError('E_REDIRECT', `${first.host}: more than ${LIMITS.redirects} redirects`);
}

const plainRefused = (url: URL): BundleError =>
  new BundleError('E_USAGE', `${url.origin}${url.pathname}: plain http, where anybody on the way can change the list`, {
    hint: `write https, or say --plain-http ${url.host} if that host has nothing else`,
  });
