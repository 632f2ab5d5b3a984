import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getCACertificates } from 'node:tls';
import { Agent, type Dispatcher, EnvHttpProxyAgent, request as undiciRequest } from 'undici';
import { BundleError, isBundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';

/** A body that can be sent again from the start when a try fails. */
export type ReplayableBody = Readonly<{ length: number; open: () => AsyncIterable<Uint8Array> | Uint8Array }>;

export type HttpRequest = Readonly<{
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  url: URL;
  headers?: Readonly<Record<string, string>>;
  body?: ReplayableBody;
  signal?: AbortSignal | undefined;
}>;

export type HttpResponse = Readonly<{
  status: number;
  url: URL;
  header(name: string): string | undefined;
  headerLines(name: string): readonly string[];
  body: AsyncIterable<Uint8Array>;
  /** Reads the rest away (bounded) so that the connection can be used again. */
  discard(): Promise<void>;
}>;

export interface Transport {
  /** One request and its answer: no redirects, no retries, no credentials of its own. @throws BundleError E_NETWORK, E_TIMEOUT, E_TLS */
  send(request: HttpRequest): Promise<HttpResponse>;
  close(): Promise<void>;
}

export type TransportOptions = Readonly<{
  /** PEM files trusted beside the system's roots, for every host. */
  caFiles?: readonly string[];
  /** Directory in Docker's form: `<host[:port]>/{*.crt, *.cert, *.key}`: a CA and a client certificate for that host alone. */
  certsDir?: string | undefined;
  connectionsPerHost?: number;
  environment?: Readonly<Record<string, string | undefined>>;
  /** For tests: milliseconds. */
  timeouts?: Readonly<{ connect?: number; headers?: number; idle?: number }>;
}>;

type TlsFiles = { ca?: string[]; cert?: string; key?: string };

/** HTTP over undici: one agent per host, since CA and client certificate may differ by host; proxies from the environment. */
export function createTransport(options: TransportOptions = {}): Transport {
  const agents = new Map<string, Dispatcher>();
  const agentFor = (url: URL): Dispatcher => {
    let agent = agents.get(url.host);
    if (agent === undefined) {
      agent = createAgent(options, url.host);
      agents.set(url.host, agent);
    }
    return agent;
  };
  return {
    async send(request) {
      try {
        return await sendOnce(request, agentFor(request.url), options);
      } catch (error) {
        throw networkError(error, request);
      }
    },
    async close() {
      await Promise.all([...agents.values()].map((agent) => agent.destroy()));
    },
  };
}

function createAgent(options: TransportOptions, host: string): Dispatcher {
  const tls = tlsFor(options, host);
  const connect = { ...tls, timeout: options.timeouts?.connect ?? LIMITS.connectMs };
  const shared = {
    connections: options.connectionsPerHost ?? 16,
    pipelining: 1,
    keepAliveTimeout: 20_000,
    allowH2: false,
    connect,
  };
  const env = options.environment ?? process.env;
  const httpProxy = env.http_proxy ?? env.HTTP_PROXY;
  const httpsProxy = env.https_proxy ?? env.HTTPS_PROXY;
  if (httpProxy === undefined && httpsProxy === undefined) return new Agent(shared);
  const noProxy = env.no_proxy ?? env.NO_PROXY ?? '';
  return new EnvHttpProxyAgent({
    ...shared,
    ...(httpProxy ? { httpProxy } : {}),
    ...(httpsProxy ? { httpsProxy } : {}),
    noProxy,
    requestTls: tls,
  });
}

function tlsFor(options: TransportOptions, host: string): TlsFiles {
  const ca = [...(options.caFiles ?? [])].map((file) => readPem(file));
  const found: TlsFiles = {};
  if (options.certsDir !== undefined) {
    const directory = join(options.certsDir, host);
    for (const name of listIfThere(directory)) {
      if (name.endsWith('.crt')) ca.push(readPem(join(directory, name)));
      else if (name.endsWith('.cert')) found.cert = readPem(join(directory, name));
      else if (name.endsWith('.key')) found.key = readPem(join(directory, name));
    }
    if ((found.cert === undefined) !== (found.key === undefined)) {
      throw new BundleError('E_USAGE', `${directory}: a client certificate needs both a .cert and a .key file`);
    }
  }
  // Node takes `ca` instead of its own roots, so those must be named too.
  return ca.length === 0 ? found : { ...found, ca: [...rootCertificates(), ...ca] };
}

const rootCertificates = (): string[] => [...getCACertificates('default'), ...getCACertificates('system')];

function listIfThere(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}

function readPem(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new BundleError('E_USAGE', `certificate file ${file} can't be read: ${(error as Error).message}`, { cause: error });
  }
  if (text.length > LIMITS.credentialsFileBytes || !text.includes('-----BEGIN '))
    throw new BundleError('E_USAGE', `${file} is not a PEM file`);
  return text;
}

async function sendOnce(request: HttpRequest, dispatcher: Dispatcher, options: TransportOptions): Promise<HttpResponse> {
  const { url, method } = request;
  const headers: Record<string, string> = { 'user-agent': 'bundle', 'accept-encoding': 'identity', ...request.headers };
  if (request.body !== undefined) headers['content-length'] = String(request.body.length);
  else if (method === 'POST' || method === 'PUT' || method === 'PATCH') headers['content-length'] = '0';
  const answer = await undiciRequest(url, {
    method,
    headers,
    dispatcher,
    body: (request.body?.open() ?? null) as Uint8Array | null,
    headersTimeout: options.timeouts?.headers ?? LIMITS.headersMs,
    bodyTimeout: options.timeouts?.idle ?? LIMITS.bodyIdleMs,
    ...(request.signal ? { signal: request.signal } : {}),
  });
  const headerLines = (name: string): readonly string[] => {
    const value = answer.headers[name];
    return value === undefined ? [] : Array.isArray(value) ? value : [value];
  };
  return {
    status: answer.statusCode,
    url,
    headerLines,
    header: (name) => headerLines(name)[0],
    body: guardBody(answer.body, request),
    discard: async () => {
      await answer.body.dump({ limit: LIMITS.errorBodyBytes }).catch(() => undefined);
    },
  };
}

/** Turns a broken body into a named error and refuses a drip that would hold a connection for ever. */
async function* guardBody(body: AsyncIterable<Uint8Array>, request: HttpRequest): AsyncGenerator<Uint8Array> {
  let windowStart = Date.now();
  let windowBytes = 0;
  try {
    for await (const chunk of body) {
      windowBytes += chunk.length;
      const elapsed = Date.now() - windowStart;
      if (elapsed > LIMITS.slowWindowMs) {
        if (windowBytes < LIMITS.slowBytesPerWindow) {
          throw new BundleError(
            'E_TIMEOUT',
            `${request.url.host} sent only ${windowBytes} bytes in ${Math.round(elapsed / 1000)} s`,
          );
        }
        windowStart = Date.now();
        windowBytes = 0;
      }
      yield chunk;
    }
  } catch (error) {
    throw networkError(error, request);
  }
}

const TIMEOUTS = new Set(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ETIMEDOUT']);

/** Names the host and the system's word, never the query (it can be a signed address) nor headers. */
function networkError(error: unknown, request: HttpRequest): unknown {
  if (isBundleError(error) || request.signal?.aborted) return error;
  const codes = errorCodes(error);
  const code = codes.find((c) => c !== 'UND_ERR_SOCKET') ?? codes[0];
  const where = `${request.method} ${request.url.protocol}//${request.url.host}${request.url.pathname}`;
  if (code === undefined) return error;
  if (TIMEOUTS.has(code)) return new BundleError('E_TIMEOUT', `${where}: no answer in time (${code})`, { cause: error });
  if (/^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|EPROTO|HOSTNAME_MISMATCH|ERR_OSSL)/.test(code)) {
    const hint =
      code === 'EPROTO' || code === 'ERR_SSL_WRONG_VERSION_NUMBER'
        ? `if ${request.url.host} speaks plain HTTP, say --plain-http ${request.url.host}`
        : 'name the CA with --ca-file';
    return new BundleError('E_TLS', `${where}: TLS failed: ${code}`, { cause: error, hint });
  }
  return new BundleError('E_NETWORK', `${where}: ${code}`, { cause: error });
}

/** Codes of the error, its causes, and of an AggregateError's parts (several addresses tried). */
function errorCodes(error: unknown, depth = 0): string[] {
  if (!(error instanceof Error) || depth > 5) return [];
  const own = typeof (error as NodeJS.ErrnoException).code === 'string' ? [(error as NodeJS.ErrnoException).code as string] : [];
  const parts = error instanceof AggregateError ? error.errors.flatMap((part) => errorCodes(part, depth + 1)) : [];
  return [...errorCodes(error.cause, depth + 1), ...parts, ...own];
}
