import { Agent, buildConnector, type Dispatcher, EnvHttpProxyAgent } from 'undici';
import { LIMITS } from '../core/limits.ts';
import { exchange } from './exchange.ts';
import { networkError } from './network-error.ts';
import { proxyFor, proxyRefusal } from './proxy.ts';
import { lookupFor, type Resolve } from './public-lookup.ts';
import { createReceiver } from './receive.ts';
import { createTlsContexts, type TlsContexts, type TlsOptions } from './tls.ts';

/** A body that can be sent again from the start when a try fails. */
export type ReplayableBody = Readonly<{ length: number; open: () => AsyncIterable<Uint8Array> | Uint8Array }>;

export type HttpRequest = Readonly<{
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  url: URL;
  headers?: Readonly<Record<string, string>>;
  body?: ReplayableBody;
  signal?: AbortSignal | undefined;
  /** The host that named this one (a redirect, a token service): decides whether a private address is an answer to the name. */
  from?: URL | undefined;
}>;

export type HttpResponse = Readonly<{
  status: number;
  url: URL;
  header(name: string): string | undefined;
  headerLines(name: string): readonly string[];
  /** In pieces that belong to the reader (`givePiece` when done with one). */
  body: AsyncIterable<Uint8Array>;
  /** Reads the rest away (bounded) so that the connection can be used again. */
  discard(): Promise<void>;
}>;

export interface Transport {
  /** One request and its answer: no redirects, no retries, no credentials of its own. @throws BundleError E_NETWORK, E_TIMEOUT, E_TLS */
  send(request: HttpRequest): Promise<HttpResponse>;
  close(): Promise<void>;
}

export type TransportOptions = TlsOptions &
  Readonly<{
    connectionsPerHost?: number;
    /** Take any certificate: for asking as a node does that was told so. Never for what is pulled or pushed. */
    anyCertificate?: boolean;
    environment?: Readonly<Record<string, string | undefined>>;
    /** For tests: what names mean for hosts that others named. */
    resolve?: Resolve;
    /** For tests: milliseconds. */
    timeouts?: Readonly<{ connect?: number; headers?: number; idle?: number }>;
  }>;

/** HTTP over undici: one agent per host, since CA and client certificate may differ by host; proxies from the environment. */
export function createTransport(options: TransportOptions = {}): Transport {
  const agents = new Map<string, Agency>();
  const contexts = createTlsContexts(options);
  const agencyFor = ({ url, from }: HttpRequest): Agency => {
    const key = from === undefined ? url.origin : `${url.origin} from ${from.hostname}`;
    let agency = agents.get(key);
    if (agency === undefined) {
      agency = createAgency(options, url, from, contexts);
      agents.set(key, agency);
    }
    return agency;
  };
  return {
    async send(request) {
      const { dispatcher, proxy } = agencyFor(request);
      try {
        return await sendOnce(request, dispatcher, options);
      } catch (error) {
        throw proxyRefusal(error, request.url, proxy) ?? networkError(error, request, proxy);
      }
    },
    async close() {
      await Promise.all([...agents.values()].map(({ dispatcher }) => dispatcher.destroy()));
    },
  };
}

type Agency = Readonly<{ dispatcher: Dispatcher; proxy: URL | undefined }>;

function createAgency(options: TransportOptions, url: URL, from: URL | undefined, contexts: TlsContexts): Agency {
  const certificates = options.anyCertificate ? { rejectUnauthorized: false } : {};
  const tls = url.protocol === 'https:' ? { secureContext: contexts.forHost(url.host), ...certificates } : {};
  const shared = {
    connections: options.connectionsPerHost ?? 16,
    pipelining: 1,
    keepAliveTimeout: 20_000,
    allowH2: false,
    // Behind a proxy the proxy resolves: there is nothing to look at here.
    connect: {
      ...tls,
      ...(from === undefined ? {} : { lookup: lookupFor(from.hostname, options.resolve) }),
      timeout: options.timeouts?.connect ?? LIMITS.connectMs,
    },
  };
  const env = options.environment ?? process.env;
  const proxy = proxyFor(url, env);
  if (proxy === undefined && url.protocol === 'http:') {
    const connect: buildConnector.connector = (to, done) =>
      buildConnector({ ...shared.connect, onread: createReceiver() })(to, done);
    return { dispatcher: new Agent({ ...shared, connect }), proxy };
  }
  if (proxy === undefined) return { dispatcher: new Agent(shared), proxy };
  const dispatcher = new EnvHttpProxyAgent({
    ...shared,
    // Both named, or undici looks into the environment of the process for the other one.
    httpProxy: proxy.href,
    httpsProxy: proxy.href,
    noProxy: env.no_proxy ?? env.NO_PROXY ?? '',
    requestTls: tls,
    ...(proxy.protocol === 'https:' ? { proxyTls: { secureContext: contexts.common() } } : {}),
  });
  return { dispatcher, proxy };
}

/** Reading a rest away is worth this long; then a new connection is cheaper. */
const DISCARD_MS = 5000;

async function sendOnce(request: HttpRequest, dispatcher: Dispatcher, options: TransportOptions): Promise<HttpResponse> {
  const { url, method } = request;
  const headers: Record<string, string> = { 'user-agent': 'bundle', 'accept-encoding': 'identity', ...request.headers };
  if (request.body !== undefined) headers['content-length'] = String(request.body.length);
  else if (method === 'POST' || method === 'PUT' || method === 'PATCH') headers['content-length'] = '0';
  const answer = await exchange(dispatcher, {
    origin: url.origin,
    path: `${url.pathname}${url.search}`,
    method,
    headers,
    // undici closes the connection after a HEAD unless told not to: a new handshake for each blob that is asked for.
    reset: false,
    body: (request.body?.open() ?? null) as Uint8Array | null,
    headersTimeout: options.timeouts?.headers ?? LIMITS.headersMs,
    bodyTimeout: options.timeouts?.idle ?? LIMITS.bodyIdleMs,
    signal: request.signal,
  });
  const headerLines = (name: string): readonly string[] => {
    const value = answer.headers[name];
    return value === undefined ? [] : Array.isArray(value) ? value : [value];
  };
  return {
    status: answer.status,
    url,
    headerLines,
    header: (name) => headerLines(name)[0],
    body: namedErrors(answer.body, request),
    discard: () => answer.discard(LIMITS.errorBodyBytes, DISCARD_MS),
  };
}

/** A body that breaks off does so with a named error. */
async function* namedErrors(body: AsyncIterable<Uint8Array>, request: HttpRequest): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    throw networkError(error, request);
  }
}
