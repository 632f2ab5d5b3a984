/** What a review of the site's registry found: strangers who send ahead, uploads that take long, readers that pause. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { digestOf } from '../../src/core/digest.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { bench, bytes, STORES } from './serve-harness.ts';
import { CHUNK, oneBlob, serve } from './serve-one-blob.ts';

const DIGEST = digestOf(Buffer.from('whatever it is'));
const path = `/v2/a/blobs/${DIGEST}`;
const port = (host: string): number => Number(host.split(':').at(-1));

/** Sends `count` GETs of a blob over one connection without reading an answer. */
async function sendAhead(t: TestContext, host: string, count: number) {
  const socket = connect(port(host), '127.0.0.1');
  t.after(() => socket.destroy());
  socket.on('error', () => undefined);
  const closed = once(socket, 'close');
  await once(socket, 'connect');
  socket.pause();
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(count));
  return { socket, closed };
}

describe('requests that are sent without waiting for answers', () => {
  /** Counts how many answers are being read at once. */
  function counting(size: number) {
    const state = { open: 0, most: 0 };
    const blob = {
      size,
      async *open(start = 0, end = size) {
        state.most = Math.max(state.most, ++state.open);
        try {
          for (let at = start; at < end; at += CHUNK) yield Buffer.alloc(Math.min(CHUNK, end - at));
        } finally {
          state.open--;
        }
      },
    };
    return { state, blob };
  }

  test('are answered one after the other, whole', async (t) => {
    const { state, blob } = counting(50_000);
    const { registry } = await serve(t, { content: oneBlob(DIGEST, blob) });
    const { socket } = await sendAhead(t, registry.host, 5);
    let received = 0;
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    socket.resume();
    while (received < 5 * 50_000) await setTimeout(5);
    assert.equal(state.most, 1);
  });

  test('open nothing while the first answer is not read, and too many end the connection', async (t) => {
    const { state, blob } = counting(30_000_000);
    const { registry } = await serve(t, { content: oneBlob(DIGEST, blob) });
    await sendAhead(t, registry.host, LIMITS.pipelinedRequests);
    const { closed } = await sendAhead(t, registry.host, LIMITS.pipelinedRequests + 2);
    await closed;
    assert.ok(state.most <= 2, `${state.most} answers at once for two connections`);
  });
});

for (const store of STORES)
  test(`${store.name}: an upload in one request is not idle, however long it takes`, async (t) => {
    const { registry, call } = await bench(t, store, { uploads: { idleMs: 50 } });
    const body = bytes(200_000);
    const digest = digestOf(body);
    const sent = request(`${registry.url}/v2/a/blobs/uploads/?digest=${digest}`, {
      method: 'POST',
      headers: { 'content-length': body.length },
    });
    const answered = once(sent, 'response');
    sent.write(body.subarray(0, 100_000));
    await setTimeout(200);
    assert.equal((await call('POST', '/v2/a/blobs/uploads/')).status, 202); // sweeps
    sent.end(body.subarray(100_000));
    const [response] = await answered;
    response.resume();
    assert.equal(response.statusCode, 201);
    assert.deepEqual((await call('GET', `/v2/a/blobs/${digest}`)).body, body);
  });

test('a reader that pauses for longer than a connection may be idle still gets the whole', async (t) => {
  const size = 30_000_000;
  const blob = {
    size,
    async *open() {
      for (let at = 0; at < size; at += 100_000) yield Buffer.alloc(100_000);
    },
  };
  const patience = { idleMs: 200, slowMs: 100, slowBytes: 1, slowReaderMs: 20_000 };
  const { registry } = await serve(t, { content: oneBlob(DIGEST, blob), patience });
  const { socket } = await sendAhead(t, registry.host, 1);
  await setTimeout(900);
  let received = 0;
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  socket.resume();
  while (received < size && !socket.destroyed) await setTimeout(5);
  assert.ok(received >= size, `${received} bytes of ${size}`);
});
