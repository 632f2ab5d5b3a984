import { BundleError, isBundleError } from '../core/errors.ts';
import type { HttpRequest } from './transport.ts';

const TIMEOUTS = new Set(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ETIMEDOUT']);
const TLS = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|EPROTO|HOSTNAME_MISMATCH|ERR_OSSL)/;

/**
 * A failure of the way to a host as a BundleError E_TIMEOUT, E_TLS or E_NETWORK; other errors come back as they are. Names the host and the system's
 * word, never the query (it can be a signed address) nor headers.
 */
export function networkError(error: unknown, request: HttpRequest, proxy?: URL): unknown {
  if (isBundleError(error) || request.signal?.aborted) return error;
  const causes = causesOf(error);
  const codes = causes.map(codeOf).filter((c) => c !== undefined);
  const code = codes.find((c) => c !== 'UND_ERR_SOCKET') ?? codes[0];
  const where = `${request.method} ${request.url.protocol}//${request.url.host}${request.url.pathname}`;
  if (code === undefined) return error;
  if (TIMEOUTS.has(code)) return new BundleError('E_TIMEOUT', `${where}: no answer in time (${code})`, { cause: error });
  if (TLS.test(code)) {
    const hint = tlsHint(code, causes.find((c) => codeOf(c) === code) as Error, request.url);
    return new BundleError('E_TLS', `${where}: TLS failed: ${code}`, { cause: error, hint });
  }
  const hint = proxy === undefined ? ADVICE[code] : `the environment names ${proxy.host} as the proxy for it`;
  return new BundleError('E_NETWORK', `${where}: ${code}`, { cause: error, hint });
}

const ADVICE: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there: is it running, and are the address and port right?',
  ENOTFOUND: 'this name is not known here: is it spelled right, and does DNS work?',
  EAI_AGAIN: 'the name could not be looked up: does DNS work on this machine?',
  EHOSTUNREACH: 'there is no way to this host: is it running, and is the address right?',
  ENETUNREACH: 'there is no way to its network: is this machine online, or is a proxy missing?',
};

function tlsHint(code: string, error: Error, url: URL): string {
  if (code === 'EPROTO' || code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG')
    return `if ${url.host} speaks plain HTTP, say --plain-http ${url.host}`;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID' || code === 'HOSTNAME_MISMATCH') {
    const names = namesIn(error);
    const has = names.length === 0 ? '' : `: it has ${names.join(', ')}`;
    return `the certificate is not for ${url.hostname}${has}; use a name that it has as the host, or have one made for ${url.hostname}`;
  }
  if (code === 'CERT_HAS_EXPIRED') return `the certificate of ${url.host} has expired: renew it there; is the clock here right?`;
  if (code === 'CERT_NOT_YET_VALID') return `the certificate of ${url.host} is not valid yet: is the clock here right?`;
  if (code === 'CERT_REVOKED') return `the certificate of ${url.host} was withdrawn: it needs a new one`;
  if (/^(DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|CERT_UNTRUSTED|CERT_SIGNATURE)/.test(code))
    return `no CA known here has signed the certificate of ${url.host}: name the CA with --ca-file`;
  if (/^ERR_SSL_.*(ALERT|CERTIFICATE_REQUIRED)/.test(code))
    return `${url.host} refuses the connection: it may want a client certificate, see --certs-dir`;
  return `name the CA with --ca-file if ${url.host} has one of its own`;
}

/** What the certificate says of itself, at most five names; a stranger wrote it, so only what a host name is made of. */
function namesIn(error: Error): string[] {
  const text = (error as Error & { cert?: { subjectaltname?: unknown } }).cert?.subjectaltname;
  if (typeof text !== 'string') return [];
  const names = text.slice(0, 4096).matchAll(/(?:DNS|IP Address):([A-Za-z0-9.:*_-]{1,253})(?=,|$)/g);
  return [...names].map((match) => match[1] as string).slice(0, 5);
}

const codeOf = (error: Error): string | undefined => {
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string' ? code : undefined;
};

/** The innermost cause first, and an AggregateError's parts (several addresses tried). */
function causesOf(error: unknown, depth = 0): Error[] {
  if (!(error instanceof Error) || depth > 5) return [];
  const parts = error instanceof AggregateError ? error.errors.flatMap((part) => causesOf(part, depth + 1)) : [];
  return [...causesOf(error.cause, depth + 1), ...parts, error];
}
