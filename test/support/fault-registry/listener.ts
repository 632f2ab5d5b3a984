import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

export type TlsOptions = Readonly<{
  key: string;
  cert: string;
  /** PEM of the authority whose client certificates are demanded; absent: none is. */
  clientCa?: string;
}>;

export type Listener = Readonly<{ url: string; port: number; close(): Promise<void> }>;

/** A server on a free port of 127.0.0.1. */
export async function listen(handler: RequestListener, tls?: TlsOptions): Promise<Listener> {
  const server: Server = tls
    ? createTlsServer(
        {
          key: tls.key,
          cert: tls.cert,
          ...(tls.clientCa ? { ca: tls.clientCa, requestCert: true, rejectUnauthorized: true } : {}),
        },
        handler,
      )
    : createServer(handler);
  // A drip or a hang may take longer than Node's own limits; those are not what is tested.
  Object.assign(server, { requestTimeout: 0, headersTimeout: 0 });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    port,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
