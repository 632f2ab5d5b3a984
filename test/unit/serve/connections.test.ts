import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { cutSilentPeers } from '../../../src/serve/connections.ts';

async function dial(t: TestContext, server: Server, text: string): Promise<Socket> {
  cutSilentPeers(server, 40);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write(text);
  return socket;
}

test('a peer that stops in the middle of its body is cut off', { timeout: 10_000 }, async (t) => {
  const server = createServer((request) => void request.resume());
  const socket = await dial(t, server, 'PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc');
  socket.resume();
  await once(socket, 'close');
});

test('a peer that says nothing after an answer is cut off', { timeout: 10_000 }, async (t) => {
  const server = createServer({ keepAliveTimeout: 0 }, (_, response) => void response.end('x'));
  const socket = await dial(t, server, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  socket.resume();
  await once(socket, 'close');
});

test('a peer that waits for a server at work is not', { timeout: 10_000 }, async (t) => {
  const server = createServer(async (_, response) => {
    await setTimeout(200); // several times the patience with peers
    response.end('done');
  });
  const socket = await dial(t, server, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  const [answer] = await once(socket, 'data');
  assert.match(String(answer), /done$/);
  socket.destroy();
});
