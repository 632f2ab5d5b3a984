import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Outside = Readonly<{
  /** For programs that are to be watched: all that is not loopback goes through the proxy. */
  env: Readonly<Record<string, string>>;
  /** `registry-1.docker.io:443`: whom they wanted to reach. */
  asked(): readonly string[];
  forget(): void;
  close(): Promise<void>;
}>;

/** The world outside: a proxy that remembers who was asked for and refuses everybody. */
export async function startOutside(): Promise<Outside> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(String(request.url));
    response.writeHead(403).end();
  });
  server.on('connect', (request, socket) => {
    asked.push(String(request.url));
    socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    env: { HTTP_PROXY: url, HTTPS_PROXY: url, NO_PROXY: '127.0.0.1,localhost,::1' },
    asked: () => asked,
    forget: () => void asked.splice(0),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
