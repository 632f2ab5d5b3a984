import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Server as TlsServer } from 'node:tls';
import { BundleError, isSystemError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { RequestRecord, ResponseRecord } from './access-log.ts';
import { type AuthOptions, createAuthenticator } from './authenticator.ts';
import { cutSilentPeers, stoppable } from './connections.ts';
import { isWritable, type RegistryContent } from './content.ts';
import type { Service } from './exchange.ts';
import { createHealth, type Readiness } from './health.ts';
import { createListeners } from './listener.ts';
import { cutSlowPeers, PATIENCE, type Patience } from './slow-peers.ts';
import { createUploads, type UploadLimits } from './uploads.ts';

/** PEM: a chain and the key of its first certificate. */
export type ServerCertificate = Readonly<{ cert: string; key: string }>;

export type RegistryOptions = Readonly<{
  content: RegistryContent;
  /** Address to listen on; default 127.0.0.1. */
  host?: string;
  /** Default 0: a free one. */
  port?: number;
  tls?: ServerCertificate;
  /** Every write is 405, even where the content could take it. */
  readOnly?: boolean;
  auth?: AuthOptions;
  /** Take manifests whose blobs or children are not (all) there; default: 400 MANIFEST_BLOB_UNKNOWN. */
  acceptSparse?: boolean;
  /** Default true. False: 404 and no OCI-Subject, as CNCF distribution does. */
  referrersApi?: boolean;
  uploads?: UploadLimits;
  /** Asked by `/readyz`: reads something of the store and tells what may be known by everybody; throws when the store can't be used. */
  probe?: () => Promise<Readiness['detail']>;
  /** How long to wait for slow peers, where it is not the usual time. */
  patience?: Partial<Patience>;
  /** When a request has come in, before anything is answered. */
  onRequest?: (record: RequestRecord) => void;
  /** When the answer is over. */
  onResponse?: (record: ResponseRecord) => void;
}>;

export type Registry = Readonly<{
  /** `http://127.0.0.1:40123` */
  url: string;
  /** `127.0.0.1:40123`: what stands before the repository in a reference. */
  host: string;
  /** What new connections get from here on; running ones go on. @throws BundleError E_TLS, and the old one stays */
  setCertificate(certificate: ServerCertificate): void;
  /** Takes no more connections, lets running answers end for `graceMs` (default 5000), then cuts them. */
  close(graceMs?: number): Promise<void>;
}>;

/** An OCI registry over `content`. @throws BundleError E_NETWORK when the address can't be listened on, E_TLS for a bad certificate */
export async function startRegistry(options: RegistryOptions): Promise<Registry> {
  const { content, tls, host = '127.0.0.1', port = 0 } = options;
  const writable = isWritable(content) && options.readOnly !== true ? content : undefined;
  const writing = writable && { content: writable, uploads: createUploads(writable, options.uploads) };
  const service: Service = {
    content,
    acceptSparse: options.acceptSparse ?? false,
    referrersApi: options.referrersApi ?? true,
    ...(writing === undefined ? {} : { writing }),
  };
  const scheme = tls === undefined ? 'http' : 'https';
  const authenticator = createAuthenticator(options.auth);
  let stopping = false;
  const health = createHealth({ probe: options.probe ?? (async () => undefined), stopping: () => stopping });
  const listeners = createListeners({ ...options, service, authenticator, scheme, health });
  const server = createServer(tls);
  const patience = { ...PATIENCE, ...options.patience };
  cutSilentPeers(server, patience.idleMs);
  cutSlowPeers(server, patience);
  const stop = stoppable(server);
  server.on('request', listeners.request);
  server.on('checkContinue', listeners.checkContinue);
  await listen(server, host, port);
  const address = server.address() as AddressInfo;
  const at = `${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`;
  return {
    url: `${scheme}://${at}`,
    host: at,
    setCertificate(certificate) {
      if (server instanceof TlsServer) withCertificate(() => server.setSecureContext({ ...certificate, minVersion: 'TLSv1.2' }));
    },
    async close(graceMs = 5000) {
      stopping = true;
      await stop(graceMs);
      await writing?.uploads.close();
    },
  };
}

/** Large enough for the longest token that clients send. */
const HEADER_BYTES = 2 * LIMITS.tokenHeaderBytes;

function createServer(tls: RegistryOptions['tls']): Server {
  const limits = {
    maxHeaderSize: HEADER_BYTES,
    headersTimeout: LIMITS.headersMs,
    requestTimeout: 0, // an upload takes as long as it takes; silence is what ends it
    keepAliveTimeout: LIMITS.bodyIdleMs,
  };
  const server =
    tls === undefined
      ? createHttpServer(limits)
      : withCertificate(() =>
          createHttpsServer({ ...limits, ...tls, minVersion: 'TLSv1.2', handshakeTimeout: LIMITS.connectMs }),
        );
  server.maxConnections = LIMITS.connections;
  return server;
}

/** @throws BundleError E_TLS */
function withCertificate<T>(use: () => T): T {
  try {
    return use();
  } catch (error) {
    throw new BundleError('E_TLS', `the certificate or key to serve with is not usable: ${(error as Error).message}`, {
      cause: error,
      origin: 'host',
      hint: 'give a PEM certificate (with its chain) and the PEM key that belongs to it',
    });
  }
}

/** What `listen` says where the kernel has no IPv6. */
const NO_IPV6 = ['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EINVAL'];

/** `::` is all addresses of both families, or of the one that there is. @throws BundleError E_NETWORK */
function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let at = host;
    server.on('error', (error) => {
      if (at === '::' && isSystemError(error, ...NO_IPV6)) {
        at = '0.0.0.0';
        server.listen(port, at, resolve);
        return;
      }
      reject(
        new BundleError('E_NETWORK', `can't listen on ${host} port ${port}: ${error.message}`, {
          cause: error,
          origin: 'host',
          hint: 'choose another address or port, or stop what listens there',
        }),
      );
    });
    server.listen(port, at, resolve);
  });
}
