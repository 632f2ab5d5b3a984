import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import { digestOf } from '../../src/core/digest.ts';
import { LIMITS } from '../../src/core/limits.ts';
import type { StoredBlob } from '../../src/serve/content.ts';
import { createHealth } from '../../src/serve/health.ts';
import { createMemoryContent } from '../../src/serve/memory-content.ts';
import type { RegistryOptions } from '../../src/serve/server.ts';
import { createCertificateAuthority } from '../support/certificates.ts';
import { assertRefused, bench, bytes, type Store } from './serve-harness.ts';
import { CHUNK, oneBlob, serve } from './serve-one-blob.ts';

const MEMORY: Store = { name: 'memory', open: async () => createMemoryContent() };

describe('health', () => {
  const withAuth: Partial<RegistryOptions> = { auth: { kind: 'basic', users: {} } };

  test('needs no login, and tells nothing but its state', async (t) => {
    const { call } = await bench(t, MEMORY, { ...withAuth, probe: async () => ({ disk: 'ok' }) });
    const alive = await call('GET', '/healthz?x');
    assert.deepEqual([alive.status, JSON.parse(alive.body.toString())], [200, { status: 'ok' }]);
    const ready = await call('GET', '/readyz');
    assert.deepEqual([ready.status, JSON.parse(ready.body.toString())], [200, { status: 'ready', disk: 'ok' }]);
    assert.equal(ready.headers['cache-control'], 'no-store');
    assert.equal((await call('HEAD', '/readyz')).status, 200);
    assertRefused(await call('POST', '/readyz'), 405, 'UNSUPPORTED');
    assertRefused(await call('GET', '/healthz/x'), 401, 'UNAUTHORIZED');
  });

  test('a store that fails is not ready, and its reason stays here; the process is alive all the same', async (t) => {
    const { call } = await bench(t, MEMORY, { probe: () => Promise.reject(new Error('EIO /secret/path')) });
    const ready = await call('GET', '/readyz');
    const reason = 'the store can not be read';
    assert.deepEqual([ready.status, JSON.parse(ready.body.toString())], [503, { status: 'not ready', reason }]);
    assert.equal((await call('GET', '/healthz')).status, 200);
  });

  test('a disk that hangs is not waited for', async () => {
    const hanging = () => new Promise<never>(() => undefined);
    const health = createHealth({ probe: hanging, stopping: () => false, patienceMs: 20 });
    assert.deepEqual(await health.ready(), { reason: 'the store does not answer' });
  });

  test('the store is not asked by everybody who asks', async (t) => {
    let asked = 0;
    const probe = async () => {
      asked++;
      return undefined;
    };
    const { call } = await bench(t, MEMORY, { probe });
    await Promise.all(Array.from({ length: 50 }, () => call('GET', '/readyz')));
    assert.ok(asked <= 2, `${asked} times`); // two when a second ended in between
  });

  test('not ready once it is stopping', async (t) => {
    const [asked, held] = [Promise.withResolvers<void>(), Promise.withResolvers<boolean>()];
    const users = (): Promise<boolean> => {
      asked.resolve();
      return held.promise;
    };
    const { registry } = await bench(t, MEMORY, { auth: { kind: 'basic', users } });
    // Nobody else gets in any more: only a connection with a request under way can still ask.
    const socket = await dial(t, registry.url, 'GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eDp5\r\n\r\n');
    await asked.promise;
    const closed = registry.close(10_000);
    socket.write('GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n');
    await setTimeout(50); // so that it has come in before the first is answered
    held.resolve(false);
    const text = await everything(socket);
    await closed;
    assert.match(text, /^HTTP\/1\.1 401 /);
    assert.match(text, /HTTP\/1\.1 503 .*"stopping"/s);
  });
});

describe('limits on what comes in', () => {
  test('a request target or a header that is too long, or too many headers, are refused', async (t) => {
    const { call } = await bench(t, MEMORY);
    assertRefused(await call('GET', `/v2/${'x'.repeat(LIMITS.urlChars)}`), 414, 'UNSUPPORTED');
    const many = Object.fromEntries(Array.from({ length: LIMITS.requestHeaders }, (_, i) => [`x-${i}`, 'y']));
    assertRefused(await call('GET', '/v2/', { headers: many }), 431, 'UNSUPPORTED');
    assert.equal((await call('GET', '/v2/', { headers: { 'x-long': 'y'.repeat(70_000) } })).status, 431);
    assert.equal((await call('GET', '/v2/', { headers: { 'x-long': 'y'.repeat(LIMITS.tokenHeaderBytes) } })).status, 200);
  });
});

async function dial(t: TestContext, url: string, text: string): Promise<Socket> {
  const { hostname, port, protocol } = new URL(url);
  const to = { host: hostname, port: Number(port), rejectUnauthorized: false };
  const socket = protocol === 'https:' ? tlsConnect(to) : connect(to);
  socket.on('error', () => undefined);
  t.after(() => void socket.destroy());
  await once(socket, protocol === 'https:' ? 'secureConnect' : 'connect');
  socket.write(text);
  return socket;
}

async function everything(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk) => {
    text += String(chunk);
  });
  if (!socket.destroyed) await once(socket, 'close');
  return text;
}

describe('slow peers', () => {
  const patience = { slowMs: 100, slowBytes: 1000, slowReaderMs: 100 };

  for (const scheme of ['http', 'https'] as const) {
    test(`a body that drips is answered 408 over ${scheme}, and what came of the upload stays`, {
      timeout: 20_000,
    }, async (t) => {
      const tls = scheme === 'https' ? { tls: await (await createCertificateAuthority()).server() } : {};
      const content = createMemoryContent();
      const { registry } = await bench(t, { name: 'memory', open: async () => content }, { patience, ...tls });
      const reply = async (text: string): Promise<string> =>
        everything(await dial(t, registry.url, `${text} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`));
      const location = /Location: (\S+)/i.exec(await reply('POST /v2/x/blobs/uploads/'))?.[1] ?? '';
      const head = `PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n0123456789`;
      const socket = await dial(t, registry.url, head);
      const drip = setInterval(() => socket.write('x'), 20);
      t.after(() => clearInterval(drip));
      const answer = await everything(socket);
      clearInterval(drip);
      assert.match(answer, /^HTTP\/1\.1 408 .*too slowly/s);
      const state = await reply(`GET ${location}`);
      assert.match(state, /^HTTP\/1\.1 204 /);
      assert.ok(Number(/Range: 0-(\d+)/i.exec(state)?.[1]) >= 9, state);
    });
  }

  test('a body that comes fast enough is waited for, window after window', { timeout: 20_000 }, async (t) => {
    const { registry } = await bench(t, MEMORY, { patience });
    const body = bytes(12_000);
    const headers = { 'content-length': body.length };
    const sent = request(`${registry.url}/v2/x/blobs/uploads/?digest=${digestOf(body)}`, {
      method: 'POST',
      headers,
      agent: false,
    });
    const answered = once(sent, 'response');
    for (let at = 0; at < body.length; at += 1200) {
      sent.write(body.subarray(at, at + 1200));
      await setTimeout(40);
    }
    sent.end();
    const [response] = (await answered) as [import('node:http').IncomingMessage];
    response.resume();
    assert.equal(response.statusCode, 201);
  });

  for (const scheme of ['http', 'https'] as const)
    test(`a client that does not take its answer over ${scheme} loses the connection; one that waits for us does not`, {
      timeout: 20_000,
    }, async (t) => {
      const tls = scheme === 'https' ? { tls: await (await createCertificateAuthority()).server() } : {};
      let closed: () => void = () => undefined;
      const done = new Promise<void>((resolve) => {
        closed = resolve;
      });
      const chunk = bytes(CHUNK);
      const blob: StoredBlob = {
        size: 4096 * CHUNK,
        async *open() {
          try {
            await setTimeout(400); // a disk that takes its time, several times what is granted to readers
            for (let i = 0; i < 4096; i++) yield chunk;
          } finally {
            closed();
          }
        },
      };
      const digest = digestOf(bytes(1));
      const { registry } = await serve(t, { content: oneBlob(digest, blob), patience: { ...patience, idleMs: 60_000 }, ...tls });
      const socket = await dial(t, registry.url, `GET /v2/x/blobs/${digest} HTTP/1.1\r\nHost: x\r\n\r\n`);
      const [head] = await once(socket, 'data');
      assert.match(String(head).slice(0, 20), /^HTTP\/1\.1 200 /);
      socket.pause();
      await done;
    });
});
