import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { RequestRecord, ResponseRecord } from './access-log.ts';
import { type AuthOptions, createAuthenticator } from './authenticator.ts';
import { cutSilentPeers, stoppable } from './connections.ts';
import { isWritable, type RegistryContent } from './content.ts';
import type { Service } from './exchange.ts';
import { createListeners } from './listener.ts';
import { createUploads, type UploadLimits } from './uploads.ts';

export type RegistryOptions = Readonly<{
  content: RegistryContent;
  /** Address to listen on; default 127.0.0.1. */
  host?: string;
  /** Default 0: a free one. */
  port?: number;
  /** PEM. */
  tls?: Readonly<{ cert: string; key: string }>;
  /** Every write is 405, even where the content could take it. */
  readOnly?: boolean;
  auth?: AuthOptions;
  /** Take manifests whose blobs or children are not (all) there; default: 400 MANIFEST_BLOB_UNKNOWN. */
  acceptSparse?: boolean;
  /** Default true. False: 404 and no OCI-Subject, as CNCF distribution does. */
  referrersApi?: boolean;
  uploads?: UploadLimits;
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
  const listeners = createListeners({ ...options, service, authenticator, scheme });
  const server = createServer(tls);
  cutSilentPeers(server, LIMITS.bodyIdleMs);
  const stop = stoppable(server);
  server.on('request', listeners.request);
  server.on('checkContinue', listeners.checkContinue);
  await listen(server, host, port);
  const address = server.address() as AddressInfo;
  const at = `${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`;
  return {
    url: `${scheme}://${at}`,
    host: at,
    async close(graceMs = 5000) {
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
  let server: Server;
  try {
    server = tls === undefined ? createHttpServer(limits) : createHttpsServer({ ...limits, ...tls, minVersion: 'TLSv1.2' });
  } catch (error) {
    throw new BundleError('E_TLS', `the certificate or key to serve with is not usable: ${(error as Error).message}`, {
      cause: error,
      origin: 'host',
      hint: 'give a PEM certificate (with its chain) and the PEM key that belongs to it',
    });
  }
  return server;
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.on('error', (error) => {
      reject(
        new BundleError('E_NETWORK', `can't listen on ${host} port ${port}: ${error.message}`, {
          cause: error,
          origin: 'host',
          hint: 'choose another address or port, or stop what listens there',
        }),
      );
    });
    server.listen(port, host, resolve);
  });
}
