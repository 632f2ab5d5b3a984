import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';

export type TlsOptions = Readonly<{
  /** PEM files trusted beside Node's and the system's roots, for every host. */
  caFiles?: readonly string[];
  /** Directory in Docker's form: `<host[:port]>/{*.crt, *.cert, *.key}`: a CA and a client certificate for that host alone. */
  certsDir?: string | undefined;
}>;

export type TlsContexts = Readonly<{
  /** @throws BundleError E_USAGE */
  forHost(host: string): SecureContext;
  /** Without client certificates: for a proxy that is reached by TLS. @throws BundleError E_USAGE */
  common(): SecureContext;
}>;

/** Contexts made once and shared by all connections: reading some three hundred roots takes 40 ms, more than the rest of a handshake. */
export function createTlsContexts(options: TlsOptions): TlsContexts {
  let known: SecureContext | undefined;
  const common = (): SecureContext => {
    known ??= contextOf(options.caFiles ?? []);
    return known;
  };
  return {
    common,
    forHost(host) {
      const own = ownFiles(options.certsDir, host);
      return own === undefined ? common() : contextOf([...(options.caFiles ?? []), ...own.ca], own.cert, own.key);
    },
  };
}

type OwnFiles = { ca: string[]; cert?: string; key?: string };

function ownFiles(certsDir: string | undefined, host: string): OwnFiles | undefined {
  if (certsDir === undefined) return undefined;
  const directory = join(certsDir, host);
  const found: OwnFiles = { ca: [] };
  for (const name of listIfThere(directory)) {
    const path = join(directory, name);
    if (name.endsWith('.crt')) found.ca.push(path);
    else if (name.endsWith('.cert')) found.cert = path;
    else if (name.endsWith('.key')) found.key = path;
  }
  if ((found.cert === undefined) !== (found.key === undefined))
    throw new BundleError('E_USAGE', `${directory}: a client certificate needs both a .cert and a .key file`);
  return found.ca.length === 0 && found.cert === undefined ? undefined : found;
}

function contextOf(caFiles: readonly string[], cert?: string, key?: string): SecureContext {
  const client = cert === undefined || key === undefined ? {} : { cert: readPem(cert), key: readPem(key) };
  const own = caFiles.flatMap(readCertificates);
  try {
    // Node takes `ca` instead of its own roots, so those must be named too.
    return createSecureContext({ ca: [...rootCertificates(), ...own], ...client });
  } catch (error) {
    throw new BundleError('E_USAGE', `${cert} and ${key} can't be used: ${(error as Error).message}`, { cause: error });
  }
}

/** Node's own roots and the system's, where a company installs the CA of its proxy. SSL_CERT_FILE and SSL_CERT_DIR count, as everywhere. */
const rootCertificates = (): string[] => [
  ...new Set([...getCACertificates('default'), ...getCACertificates('system')].map((pem) => pem.trim())),
];

function listIfThere(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}

/** Checked one by one: OpenSSL passes over a broken one without a word, and the handshake then fails as if no CA had been named. */
function readCertificates(file: string): string[] {
  const found = readPem(file).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    for (const pem of found) new X509Certificate(pem);
  } catch (error) {
    throw new BundleError('E_USAGE', `${file} holds a broken certificate: ${(error as Error).message}`, { cause: error });
  }
  if (found.length === 0) throw new BundleError('E_USAGE', `${file} holds no certificate`);
  return found;
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
