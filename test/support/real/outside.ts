/** The world beyond this machine, as a proxy that refuses everybody and remembers who was wanted. */

import { createServer, request as httpRequest } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import type { Ending } from '../temp-dir.ts';

export type Outside = Readonly<{
  /** For programs that are to be watched: all that is not loopback goes through the proxy. */
  env: Readonly<Record<string, string>>;
  /** `registry-1.docker.io:443`: whom they wanted to reach, served or not. */
  asked(): readonly string[];
  forget(): void;
}>;

/** @param routes names that do lead somewhere: `node-1:5000` → `127.0.0.1:40123`, so that a test can use real names */
export async function startOutside(t: Ending, routes: Readonly<Record<string, string>> = {}): Promise<Outside> {
  const asked: string[] = [];
  const routeOf = (host: string): { host: string; port: number } | undefined => {
    const [name, port] = (routes[host] ?? '').split(':');
    return name === undefined || port === undefined ? undefined : { host: name, port: Number(port) };
  };
  const server = createServer((request, response) => {
    const url = new URL(String(request.url));
    asked.push(url.host);
    const route = routeOf(url.host);
    if (route === undefined) return void response.writeHead(403).end();
    const { method, headers } = request;
    const forward = httpRequest({ ...route, path: url.pathname + url.search, method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    forward.on('error', () => response.destroy());
    request.pipe(forward);
  });
  server.on('connect', (request, socket) => {
    asked.push(String(request.url));
    socket.on('error', () => undefined);
    const route = routeOf(String(request.url));
    if (route === undefined) return void socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n');
    const there = connect(route.port, route.host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.pipe(there).pipe(socket);
    });
    there.on('error', () => socket.destroy());
    socket.on('close', () => there.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    env: { HTTP_PROXY: url, HTTPS_PROXY: url, NO_PROXY: '127.0.0.1,localhost,::1' },
    asked: () => asked,
    forget: () => void asked.splice(0),
  };
}
