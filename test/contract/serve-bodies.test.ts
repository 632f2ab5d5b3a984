import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { digestOf } from '../../src/core/digest.ts';
import type { ResponseRecord } from '../../src/serve/access-log.ts';
import type { StoredBlob } from '../../src/serve/content.ts';
import { createMemoryContent } from '../../src/serve/memory-content.ts';
import { verifiedContent } from '../../src/serve/verified-content.ts';
import { assertRefused, bytes } from './serve-harness.ts';
import { CHUNK, fetchRaw, inChunks, oneBlob, serve } from './serve-one-blob.ts';

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
