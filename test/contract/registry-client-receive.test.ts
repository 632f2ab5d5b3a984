/** Receiving without fresh memory for each read: what is lent must not change before it is read. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createTransport, type Transport } from '../../src/registry/transport.ts';
import { createPrng } from '../support/random-layer.ts';

/** A server that answers each request with what `answer` writes. */
async function rawServer(t: TestContext, answer: (socket: Socket, request: number) => Promise<void>): Promise<URL> {
  let requests = 0;
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', () => void answer(socket, ++requests).catch(() => undefined));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v2/`);
}

const transportFor = (t: TestContext): Transport => {
  const transport = createTransport({ environment: {} });
  t.after(() => transport.close());
  return transport;
};

const MiB = 1024 * 1024;

describe('receiving', () => {
  it('gives a slow reader every byte as it was sent, on a connection that is used again', async (t) => {
    const bodies = [1, 2, 3].map((seed) => createPrng(seed).bytes(6 * MiB + seed));
    const url = await rawServer(t, async (socket, request) => {
      const body = bodies[request - 1] as Buffer;
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n`);
      socket.write(body);
    });
    const transport = transportFor(t);
    for (const body of bodies) {
      const response = await transport.send({ method: 'GET', url });
      const chunks: Buffer[] = [];
      for await (const chunk of response.body) {
        if (chunks.length % 5 === 0) await delay(3); // the sender runs ahead meanwhile
        chunks.push(chunk as Buffer); // not copied: the pieces are the reader's
      }
      assert.ok(Buffer.concat(chunks).equals(body));
    }
  });

  it('reads headers that come in parts, with a large body behind them in the same segment', async (t) => {
    const body = createPrng(9).bytes(2 * MiB);
    const url = await rawServer(t, async (socket) => {
      for (const part of ['HTTP/1.1 200 OK\r\nx-name: abc', 'defghi', `jkl\r\nx-other: 1\r\ncontent-le`]) {
        socket.write(part);
        await delay(5);
      }
      socket.write(Buffer.concat([Buffer.from(`ngth: ${body.length}\r\n\r\n`), body]));
    });
    const transport = transportFor(t);
    for (let i = 0; i < 3; i++) {
      const response = await transport.send({ method: 'GET', url });
      assert.equal(response.header('x-name'), 'abcdefghijkl');
      const chunks: Uint8Array[] = [];
      for await (const chunk of response.body) chunks.push(chunk);
      assert.ok(Buffer.concat(chunks).equals(body));
    }
  });

  it('hands over what came before a connection broke, and then says that it did', async (t) => {
    const url = await rawServer(t, async (socket) => {
      socket.end(Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n'), Buffer.alloc(1234, 7)]));
    });
    const response = await transportFor(t).send({ method: 'GET', url });
    let received = 0;
    await assert.rejects(
      async () => {
        for await (const chunk of response.body) received += chunk.length;
      },
      { code: 'E_NETWORK' },
    );
    assert.equal(received, 1234);
  });

  it('lets go of an answer that is too long to be read away', async (t) => {
    const closed: Promise<unknown>[] = [];
    const url = await rawServer(t, async (socket) => {
      closed.push(new Promise((resolve) => socket.on('close', resolve)));
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
      const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65_536), Buffer.from('\r\n')]);
      while (!socket.destroyed) {
        if (!socket.write(chunk)) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
      }
    });
    const response = await transportFor(t).send({ method: 'GET', url });
    await response.discard();
    await Promise.all(closed);
  });
});
