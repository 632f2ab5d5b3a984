import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { digestOf } from '../../src/core/digest.ts';
import type { RequestRecord, ResponseRecord } from '../../src/serve/access-log.ts';
import type { StoredBlob } from '../../src/serve/content.ts';
import { createMemoryContent } from '../../src/serve/memory-content.ts';
import { startRegistry } from '../../src/serve/server.ts';
import { rejectsWith } from '../support/assert-code.ts';
import { createCertificateAuthority } from '../support/certificates.ts';
import { bench, bytes, caller, pushBlob, type Store } from './serve-harness.ts';
import { CHUNK, fetchRaw, oneBlob, serve } from './serve-one-blob.ts';

const MEMORY: Store = { name: 'memory', open: async () => createMemoryContent() };
function open(url: string): Socket {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  return socket;
}

async function readUntil(socket: Socket, pattern: RegExp): Promise<string> {
  let text = '';
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    if (pattern.test(text)) return text;
  }
  return assert.fail(`the connection ended with ${JSON.stringify(text)}`);
}

describe('connections', () => {
  test('a refused upload is answered while its body is still coming, and the connection goes on', async (t) => {
    const { registry } = await bench(t, MEMORY);
    const socket = open(registry.url);
    t.after(() => void socket.destroy());
    const head = 'PATCH /v2/x/blobs/uploads/none HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n';
    socket.write(head + 'x'.repeat(1000));
    assert.match(await readUntil(socket, /BLOB_UPLOAD_UNKNOWN.*}$/), /^HTTP\/1\.1 404 /);
    socket.write(`${'x'.repeat(2_999_000)}GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n`);
    assert.match(await readUntil(socket, /{}$/), /^HTTP\/1\.1 200 /);
  });

  test('a refused body that never ends is cut off, after the answer', { timeout: 20_000 }, async (t) => {
    const { registry } = await bench(t, MEMORY, { readOnly: true });
    const socket = open(registry.url);
    socket.write('POST /v2/x/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n');
    const block = `100000\r\n${'x'.repeat(0x100000)}\r\n`;
    const answer = readUntil(socket, /UNSUPPORTED/);
    let blocks = 0;
    while (!socket.destroyed && blocks < 64) {
      blocks++;
      await new Promise<void>((resolve) => socket.write(block, () => resolve()));
    }
    assert.match(await answer, /^HTTP\/1\.1 405 /);
    assert.ok(blocks < 64, 'it was read for ever');
  });

  test('Expect: 100-continue: asked to go on when the body is wanted, refused without it when not', async (t) => {
    const { registry } = await bench(t, MEMORY);
    const body = bytes(10);
    const expecting = async (path: string): Promise<[boolean, number]> => {
      const sent = request(registry.url + path, { method: 'POST', headers: { expect: '100-continue', 'content-length': 10 } });
      let asked = false;
      sent.on('continue', () => {
        asked = true;
        sent.end(body);
      });
      sent.flushHeaders();
      const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
      response.resume();
      sent.on('error', () => undefined).destroy();
      return [asked, response.statusCode ?? 0];
    };
    assert.deepEqual(await expecting(`/v2/x/blobs/uploads/?digest=${digestOf(body)}`), [true, 201]);
    assert.deepEqual(await expecting('/v2/x/blobs/uploads/?digest=bad'), [false, 400]);
  });

  test('a slow reader is waited for: memory stays flat', async (t) => {
    let given = 0;
    const blob: StoredBlob = {
      size: 1024 * CHUNK,
      async *open() {
        const chunk = bytes(CHUNK);
        for (let i = 0; i < 1024; i++) {
          given++;
          yield chunk;
        }
      },
    };
    const digest = digestOf(bytes(1));
    const { registry } = await serve(t, { content: oneBlob(digest, blob) });
    const sent = request(`${registry.url}/v2/x/blobs/${digest}`).end();
    const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
    let before = -1;
    while (before !== given) {
      before = given;
      await new Promise((resolve) => setTimeout(resolve, 50)); // until the kernel's buffers are full and nothing moves
    }
    assert.ok(given < 512, `${given} chunks were read for a client that takes none`);
    let received = 0;
    for await (const chunk of response) received += (chunk as Buffer).length;
    assert.equal(received, 1024 * CHUNK);
  });

  test('a client that goes away closes the source', async (t) => {
    let closed: () => void = () => undefined;
    const done = new Promise<void>((resolve) => {
      closed = resolve;
    });
    const blob: StoredBlob = {
      size: 1024 * CHUNK,
      async *open() {
        try {
          for (let i = 0; i < 1024; i++) yield bytes(CHUNK);
        } finally {
          closed();
        }
      },
    };
    const digest = digestOf(bytes(1));
    const { registry } = await serve(t, { content: oneBlob(digest, blob) });
    const sent = request(`${registry.url}/v2/x/blobs/${digest}`).end();
    await once(sent, 'response');
    sent.on('error', () => undefined).destroy();
    await done;
  });

  test('TLS with a certificate of our own', async (t) => {
    const ca = await createCertificateAuthority();
    const { registry } = await serve(t, {
      content: createMemoryContent(),
      tls: await ca.server(['node-1']),
      auth: { kind: 'bearer', users: {} },
    });
    assert.match(registry.url, /^https:\/\/127\.0\.0\.1:\d+$/);
    const sent = httpsRequest(`${registry.url}/v2/`, { ca: ca.cert }).end();
    const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
    response.resume();
    assert.equal(response.statusCode, 401);
    assert.equal(response.headers['www-authenticate'], `Bearer realm="${registry.url}/token",service="registry"`);
    await once(response, 'end');
  });

  test('an address that is taken is E_NETWORK, a bad key E_TLS', async (t) => {
    const { registry } = await bench(t, MEMORY);
    const port = Number(new URL(registry.url).port);
    await rejectsWith(startRegistry({ content: createMemoryContent(), port }), 'E_NETWORK', new RegExp(`port ${port}`));
    await rejectsWith(startRegistry({ content: createMemoryContent(), tls: { cert: 'x', key: 'y' } }), 'E_TLS');
  });
});

describe('closing', () => {
  test('lets a running answer end, refuses new connections, and leaves no connection open', { timeout: 20_000 }, async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const blob: StoredBlob = {
      size: 2,
      async *open() {
        yield Buffer.from('a');
        await held;
        yield Buffer.from('b');
      },
    };
    const digest = digestOf(bytes(1));
    const registry = await startRegistry({ content: oneBlob(digest, blob) });
    const agent = new Agent({ keepAlive: true });
    const idle = caller(registry.url, agent);
    await idle('GET', '/v2/');
    const sent = request(`${registry.url}/v2/x/blobs/${digest}`, { agent }).end();
    const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
    const closed = registry.close(60_000);
    await assert.rejects(caller(registry.url, new Agent())('GET', '/v2/'), { code: 'ECONNREFUSED' });
    release();
    let text = '';
    for await (const chunk of response) text += String(chunk);
    assert.equal(text, 'ab');
    await closed;
    agent.destroy();
  });

  test('cuts what does not end in time', async () => {
    const blob: StoredBlob = {
      size: 2,
      async *open() {
        yield Buffer.from('a');
        await new Promise(() => undefined);
      },
    };
    const digest = digestOf(bytes(1));
    const registry = await startRegistry({ content: oneBlob(digest, blob) });
    const got = fetchRaw(`${registry.url}/v2/x/blobs/${digest}`);
    while ((await fetchRaw(`${registry.url}/v2/`)).status !== 200);
    await registry.close(20);
    assert.equal((await got).whole, false);
  });
});

describe('the access log', () => {
  test('a request is told before its answer, the outcome after it, and never a secret', async (t) => {
    const requests: RequestRecord[] = [];
    let ended: (record: ResponseRecord) => void = () => undefined;
    const outcome = new Promise<ResponseRecord>((resolve) => {
      ended = resolve;
    });
    const { call } = await bench(t, MEMORY, {
      onRequest: (record) => requests.push(record),
      onResponse: (record) => ended(record),
    });
    const headers = { authorization: 'Bearer secret-token', range: 'bytes=0-1', 'user-agent': 'test/1' };
    await call('GET', '/v2/?x=1', { headers });
    const [{ id, ...request } = assert.fail('no request was told')] = requests;
    assert.match(id, /^[0-9a-f-]{36}$/);
    const wanted = { method: 'GET', url: '/v2/?x=1', authorization: 'Bearer', range: 'bytes=0-1', userAgent: 'test/1' };
    assert.deepEqual(request, { ...wanted, peer: '127.0.0.1' });
    const { milliseconds, ...record } = await outcome;
    assert.ok(milliseconds >= 0);
    const came = { status: 200, route: 'ping', user: undefined, received: 0, sent: 2, whole: true, error: undefined };
    assert.deepEqual(record, { ...requests[0], ...came });
  });

  test('what goes out is counted: a blob of many chunks whole, and of one whose reader left only what went', async (t) => {
    const size = 1024 * CHUNK;
    const blob: StoredBlob = {
      size,
      async *open() {
        for (let i = 0; i < 1024; i++) yield bytes(CHUNK);
      },
    };
    let ended: (record: ResponseRecord) => void = () => undefined;
    const digest = digestOf(bytes(1));
    const { registry } = await serve(t, { content: oneBlob(digest, blob), onResponse: (record) => ended(record) });
    const askedFor = async (read: (response: import('node:http').IncomingMessage) => Promise<void>): Promise<ResponseRecord> => {
      const told = new Promise<ResponseRecord>((resolve) => {
        ended = resolve;
      });
      const asked = request(`${registry.url}/v2/x/blobs/${digest}`).end();
      const [response] = (await once(asked, 'response')) as [import('node:http').IncomingMessage];
      await read(response);
      asked.on('error', () => undefined).destroy();
      return told;
    };
    const whole = await askedFor(async (response) => void (await response.resume().toArray()));
    assert.deepEqual([whole.sent, whole.whole], [size, true]);
    const left = await askedFor(async (response) => void (await once(response, 'readable')));
    assert.equal(left.whole, false);
    assert.ok(left.sent > 0 && left.sent < size, `${left.sent} bytes`);
  });

  test('pushes of one client reuse one connection', async (t) => {
    const { call } = await bench(t, MEMORY);
    const body = bytes(10);
    const digest = await pushBlob(call, 'x', body);
    assert.equal((await call('GET', `/v2/x/blobs/${digest}`)).headers.connection, 'keep-alive');
  });
});
