import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { BundleError } from '../core/errors.ts';
import type { Metrics } from './metrics.ts';

export type MetricsServer = Readonly<{ url: string; close(): Promise<void> }>;

/** Nothing but `GET /metrics`, on an address of its own: figures about a site are not for everybody who may pull. @throws BundleError E_NETWORK */
export async function serveMetrics(metrics: Metrics, host: string, port: number): Promise<MetricsServer> {
  const server = createServer({ maxHeaderSize: 8192, requestTimeout: 10_000 }, (request, response) => {
    const [path] = (request.url ?? '').split('?', 1);
    if (path !== '/metrics' || (request.method !== 'GET' && request.method !== 'HEAD')) {
      response.writeHead(404, { 'Content-Length': 0 }).end();
      return;
    }
    metrics.text().then(
      ({ type, body }) => void response.writeHead(200, { 'Content-Type': type }).end(body),
      () => void response.writeHead(500, { 'Content-Length': 0 }).end(),
    );
  });
  server.maxConnections = 32;
  await listen(server, host, port);
  const { address, family, port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}/metrics`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.on('error', (error) => {
      const message = `can't serve metrics on ${host} port ${port}: ${error.message}`;
      reject(new BundleError('E_NETWORK', message, { cause: error, origin: 'host' }));
    });
    server.listen(port, host, resolve);
  });
}
