import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { type Digest, digestOf } from '../../src/core/digest.ts';
import type { RequestRecord, ResponseRecord } from '../../src/serve/access-log.ts';
import type { RegistryContent, StoredBlob } from '../../src/serve/content.ts';
import { createMemoryContent } from '../../src/serve/memory-content.ts';
import { type RegistryOptions, startRegistry } from '../../src/serve/server.ts';
import { verifiedContent } from '../../src/serve/verified-content.ts';
import { rejectsWith } from '../support/assert-code.ts';
import { createCertificateAuthority } from '../support/certificates.ts';
import type { Ending } from '../support/temp-dir.ts';
import { assertRefused, bench, bytes, caller, pushBlob, type Store } from './serve-harness.ts';

const MEMORY: Store = { name: 'memory', open: async () => createMemoryContent() };
const CHUNK = 64 * 1024;

/** One blob whose source is the test's. */
function oneBlob(digest: Digest, blob: StoredBlob): RegistryContent {
  return {
    manifest: async () => undefined,
    blob: async (_, asked) => (asked === digest ? blob : undefined),
    tags: async () => undefined,
    referrers: async () => [],
  };
}

const inChunks = (body: Buffer, promised = body.length): StoredBlob => ({
  size: promised,
  async *open(start = 0, end = body.length) {
    for (let at = start; at < end; at += CHUNK) yield body.subarray(at, Math.min(end, at + CHUNK));
  },
});

async function serve(t: Ending, options: RegistryOptions) {
  const registry = await startRegistry(options);
  const agent = new Agent({ keepAlive: true });
  t.after(async () => {
    agent.destroy();
    await registry.close(0);
  });
  return { registry, call: caller(registry.url, agent) };
}

/** What arrived, and whether the connection ended before the promised length. */
async function fetchRaw(url: string, range?: string): Promise<{ status: number; received: number; whole: boolean }> {
  const sent = request(url, { headers: range === undefined ? {} : { range } }).end();
  const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
  let received = 0;
  try {
    for await (const chunk of response) received += (chunk as Buffer).length;
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ECONNRESET');
  }
  return { status: response.statusCode ?? 0, received, whole: response.complete };
}

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

describe('bodies that go wrong', () => {
  test('a source that ends early cuts the connection: fewer bytes, never padding', async (t) => {
    const body = bytes(10 * CHUNK);
    const digest = digestOf(body);
    const { registry } = await serve(t, { content: oneBlob(digest, inChunks(body, body.length + 5)) });
    const got = await fetchRaw(`${registry.url}/v2/x/blobs/${digest}`);
    assert.deepEqual(got, { status: 200, received: body.length, whole: false });
  });

  test('a source that gives too much is cut before the byte too many', async (t) => {
    const body = bytes(10 * CHUNK);
    const digest = digestOf(body);
    const { registry } = await serve(t, { content: oneBlob(digest, inChunks(body, 9 * CHUNK + 1)) });
    const got = await fetchRaw(`${registry.url}/v2/x/blobs/${digest}`);
    assert.deepEqual(got, { status: 200, received: 9 * CHUNK, whole: false });
  });

  test('a source that fails half-way cuts the connection; one that fails at once is 500 and says nothing of why', async (t) => {
    const digest = digestOf(bytes(1));
    const failing = (after: number): StoredBlob => ({
      size: 4 * CHUNK,
      async *open() {
        for (let i = 0; i < after; i++) yield bytes(CHUNK);
        throw new Error('/secret/path is broken');
      },
    });
    const half = await serve(t, { content: oneBlob(digest, failing(2)) });
    assert.deepEqual(await fetchRaw(`${half.registry.url}/v2/x/blobs/${digest}`), {
      status: 200,
      received: 2 * CHUNK,
      whole: false,
    });
    const records: ResponseRecord[] = [];
    const once = await serve(t, { content: oneBlob(digest, failing(0)), onResponse: (record) => records.push(record) });
    const reply = await once.call('GET', `/v2/x/blobs/${digest}`);
    assertRefused(reply, 500, 'UNKNOWN');
    assert.doesNotMatch(reply.body.toString(), /secret/);
    assert.match(String(records[0]?.error), /secret/);
  });

  test('content that throws is 500, and the next request works', async (t) => {
    const content = { ...createMemoryContent(), tags: () => Promise.reject(new Error('broken')) };
    const { call } = await serve(t, { content });
    assertRefused(await call('GET', '/v2/x/tags/list'), 500, 'UNKNOWN');
    assert.equal((await call('GET', '/v2/')).status, 200);
  });
});

describe('verified content', () => {
  const flipped = (body: Buffer, at: number): Buffer => {
    const copy = Buffer.from(body);
    copy[at] = (copy[at] as number) ^ 1;
    return copy;
  };

  test('right bytes pass, whole and in part', async (t) => {
    const body = bytes(3 * CHUNK + 7);
    for (const algorithm of ['sha256', 'sha512'] as const) {
      const digest = digestOf(body, algorithm);
      const { call } = await serve(t, { content: verifiedContent(oneBlob(digest, inChunks(body))) });
      assert.equal((await call('GET', `/v2/x/blobs/${digest}`)).body.compare(body), 0);
      const part = await call('GET', `/v2/x/blobs/${digest}`, { headers: { range: 'bytes=100-' } });
      assert.equal(part.status, 206);
      assert.equal(part.body.compare(body.subarray(100)), 0);
    }
  });

  for (const at of [0, 2 * CHUNK, 3 * CHUNK + 6]) {
    test(`a byte flipped at ${at} of ${3 * CHUNK + 7}: the end never comes`, async (t) => {
      const body = bytes(3 * CHUNK + 7);
      const digest = digestOf(body);
      const { registry, call } = await serve(t, { content: verifiedContent(oneBlob(digest, inChunks(flipped(body, at)))) });
      const url = `${registry.url}/v2/x/blobs/${digest}`;
      assert.deepEqual(await fetchRaw(url), { status: 200, received: 3 * CHUNK, whole: false });
      const part = await call('GET', `/v2/x/blobs/${digest}`, { headers: { range: 'bytes=5-9' } });
      assertRefused(part, 500, 'UNKNOWN');
    });
  }

  test('a small wrong blob, a wrong empty one and a wrong manifest: 500 and none of their bytes', async (t) => {
    const body = bytes(100);
    const digest = digestOf(body);
    const wrong = await serve(t, { content: verifiedContent(oneBlob(digest, inChunks(flipped(body, 50)))) });
    assertRefused(await wrong.call('GET', `/v2/x/blobs/${digest}`), 500, 'UNKNOWN');
    const empty = await serve(t, { content: verifiedContent(oneBlob(digest, inChunks(Buffer.alloc(0)))) });
    assertRefused(await empty.call('GET', `/v2/x/blobs/${digest}`), 500, 'UNKNOWN');
    const content = createMemoryContent();
    await content.putManifest('x', { digest, mediaType: 'application/x', bytes: flipped(body, 1) }, ['v1']);
    const manifest = await serve(t, { content: verifiedContent(content) });
    assertRefused(await manifest.call('GET', '/v2/x/manifests/v1'), 500, 'UNKNOWN');
  });

  test('many ranges of one blob cost one check', async (t) => {
    const body = bytes(3 * CHUNK);
    const digest = digestOf(body);
    let opened = 0;
    const source = inChunks(body);
    const counted: StoredBlob = {
      size: source.size,
      open(start, end) {
        if (start === undefined) opened++;
        return source.open(start, end);
      },
    };
    const { call } = await serve(t, { content: verifiedContent(oneBlob(digest, counted)) });
    const ranges = ['bytes=0-0', 'bytes=5-', 'bytes=-7', 'bytes=1-2'];
    const replies = await Promise.all(ranges.map((range) => call('GET', `/v2/x/blobs/${digest}`, { headers: { range } })));
    assert.deepEqual(
      replies.map((reply) => reply.status),
      [206, 206, 206, 206],
    );
    assert.equal(opened, 1);
  });
});

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
    assert.deepEqual(requests, [
      { method: 'GET', url: '/v2/?x=1', authorization: 'Bearer', range: 'bytes=0-1', userAgent: 'test/1' },
    ]);
    const { milliseconds, ...record } = await outcome;
    assert.ok(milliseconds >= 0);
    assert.deepEqual(record, { ...requests[0], status: 200, sent: 2, whole: true, error: undefined });
  });

  test('pushes of one client reuse one connection', async (t) => {
    const { call } = await bench(t, MEMORY);
    const body = bytes(10);
    const digest = await pushBlob(call, 'x', body);
    assert.equal((await call('GET', `/v2/x/blobs/${digest}`)).headers.connection, 'keep-alive');
  });
});
