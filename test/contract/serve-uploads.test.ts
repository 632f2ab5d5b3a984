import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { type DigestAlgorithm, digestOf } from '../../src/core/digest.ts';
import { assertRefused, bench, bytes, type Call, pushBlob, pushImage, type Reply, STORES, withDigest } from './serve-harness.ts';

const UUID = /^\/v2\/up\/load\/blobs\/uploads\/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

async function open(call: Call, query = ''): Promise<string> {
  const reply = await call('POST', `/v2/up/load/blobs/uploads/${query}`);
  assert.equal(reply.status, 202);
  assert.match(reply.headers.location ?? '', UUID);
  assert.equal(reply.headers['content-length'], '0');
  return reply.headers.location as string;
}

const patch = (call: Call, location: string, all: Buffer, start: number, end: number): Promise<Reply> =>
  call('PATCH', location, {
    body: all.subarray(start, end),
    headers: { 'content-range': `${start}-${end - 1}`, 'content-type': 'application/octet-stream' },
  });

async function assertStored(call: Call, reply: Reply, digest: string, body: Buffer): Promise<void> {
  assert.equal(reply.status, 201, reply.body.toString());
  assert.equal(reply.headers['docker-content-digest'], digest);
  const got = await call('GET', reply.headers.location ?? '');
  assert.equal(got.status, 200);
  assert.equal(got.body.compare(body), 0);
}

async function assertStatus(call: Call, location: string, held: number): Promise<void> {
  const reply = await call('GET', location);
  assert.equal(reply.status, 204);
  assert.match(reply.headers.location ?? '', UUID);
  assert.equal(reply.headers.range, `0-${Math.max(0, held - 1)}`);
}

for (const store of STORES) {
  for (const algorithm of ['sha256', 'sha512'] as const satisfies readonly DigestAlgorithm[]) {
    describe(`uploads with ${algorithm} over ${store.name}`, () => {
      test('one POST', async (t) => {
        const { call } = await bench(t, store);
        const body = bytes(1000);
        const digest = digestOf(body, algorithm);
        await assertStored(call, await call('POST', `/v2/up/load/blobs/uploads/?digest=${digest}`, { body }), digest, body);
      });

      test('POST, then PUT of the whole', async (t) => {
        const { call } = await bench(t, store);
        const body = bytes(1000);
        const digest = digestOf(body, algorithm);
        const reply = await call('PUT', withDigest(await open(call), digest), { body });
        await assertStored(call, reply, digest, body);
      });

      test('POST, one stream without length, PUT with nothing more', async (t) => {
        const { call } = await bench(t, store);
        const body = bytes(700_000);
        const digest = digestOf(body, algorithm);
        const streamed = await call('PATCH', await open(call), { body, chunked: true });
        assert.equal(streamed.status, 202);
        assert.equal(streamed.headers.range, '0-699999');
        await assertStored(call, await call('PUT', withDigest(streamed.headers.location, digest)), digest, body);
      });

      test('one chunk', async (t) => {
        const { call } = await bench(t, store);
        const body = bytes(512);
        const digest = digestOf(body, algorithm);
        const reply = await patch(call, await open(call), body, 0, 512);
        assert.equal(reply.status, 202);
        await assertStored(call, await call('PUT', withDigest(reply.headers.location, digest)), digest, body);
      });

      for (const lastInPut of [false, true]) {
        test(`three chunks${lastInPut ? ', the last in the PUT' : ''}, and out of order ones are 416 and change nothing`, async (t) => {
          const { call } = await bench(t, store);
          const body = bytes(3067);
          const digest = digestOf(body, algorithm);
          let location = await open(call);
          const good: [number, number][] = [
            [0, 1024],
            [1024, 2048],
            [2048, 3067],
          ];
          const bad: [number, number][] = [
            [1024, 2048],
            [2048, 3067],
            [0, 1024],
          ];
          for (const [i, [start, end]] of good.entries()) {
            const [badStart, badEnd] = bad[i] as [number, number];
            const refused = await patch(call, location, body, badStart, badEnd);
            assertRefused(refused, 416, 'BLOB_UPLOAD_INVALID');
            assert.equal(refused.headers.range, `0-${Math.max(0, start - 1)}`);
            await assertStatus(call, location, start);
            const badPut = await call('PUT', withDigest(location, digest), {
              body: body.subarray(badStart, badEnd),
              headers: { 'content-range': `${badStart}-${badEnd - 1}` },
            });
            assertRefused(badPut, 416, 'BLOB_UPLOAD_INVALID');
            await assertStatus(call, withDigest(location, digest), start);
            if (lastInPut && i === 2) break;
            const reply = await patch(call, location, body, start, end);
            assert.equal(reply.status, 202);
            assert.equal(reply.headers.range, `0-${end - 1}`);
            location = reply.headers.location as string;
          }
          const closing = lastInPut ? { body: body.subarray(2048), headers: { 'content-range': '2048-3066' } } : {};
          await assertStored(call, await call('PUT', withDigest(location, digest), closing), digest, body);
        });
      }

      test('other bytes than the digest names are 400 on the closing request, and nothing is stored', async (t) => {
        const { call } = await bench(t, store);
        const [body, wrong] = [bytes(3072), bytes(3072)];
        const digest = digestOf(body, algorithm);
        assertRefused(await call('POST', `/v2/up/load/blobs/uploads/?digest=${digest}`, { body: wrong }), 400, 'DIGEST_INVALID');
        assertRefused(await call('PUT', withDigest(await open(call), digest), { body: wrong }), 400, 'DIGEST_INVALID');
        const chunk = await patch(call, await open(call), wrong, 0, 3072);
        assert.equal(chunk.status, 202);
        assertRefused(await call('PUT', withDigest(chunk.headers.location, digest)), 400, 'DIGEST_INVALID');
        const stream = await call('PATCH', await open(call), { body: wrong, chunked: true });
        assertRefused(await call('PUT', withDigest(stream.headers.location, digest)), 400, 'DIGEST_INVALID');
        assert.equal((await call('HEAD', `/v2/up/load/blobs/${digest}`)).status, 404);
        assert.equal((await call('GET', stream.headers.location ?? '')).status, 404);
      });

      test('mount from a repository, and from wherever it is', async (t) => {
        const { call } = await bench(t, store);
        const body = bytes(400);
        const digest = await pushBlob(call, 'source', body, algorithm);
        const named = await call('POST', `/v2/up/load/blobs/uploads/?mount=${digest}&from=source`);
        await assertStored(call, named, digest, body);
        const anonymous = await call('POST', `/v2/other/blobs/uploads/?mount=${digest}`);
        await assertStored(call, anonymous, digest, body);
        assert.equal(anonymous.headers.location, `/v2/other/blobs/${digest}`);
      });

      test('mount of a blob that is nowhere becomes an upload', async (t) => {
        const { call } = await bench(t, store);
        const body = bytes(400);
        const digest = digestOf(body, algorithm);
        for (const query of [`?mount=${digest}&from=source`, `?mount=${digest}`]) {
          const location = await open(call, query);
          await assertStored(call, await call('PUT', withDigest(location, digest), { body }), digest, body);
          await call('DELETE', `/v2/up/load/blobs/${digest}`);
        }
      });
    });
  }

  describe(`upload sessions over ${store.name}`, () => {
    test('a cancelled session is 204 and then unknown', async (t) => {
      const { call } = await bench(t, store);
      const location = await open(call);
      assert.equal((await call('DELETE', location)).status, 204);
      for (const method of ['GET', 'PATCH', 'PUT', 'DELETE']) {
        const target = method === 'PUT' ? withDigest(location, digestOf(bytes(1))) : location;
        assertRefused(await call(method, target, { body: bytes(10) }), 404, 'BLOB_UPLOAD_UNKNOWN');
      }
    });

    test('a closed session is unknown, and a session belongs to its repository', async (t) => {
      const { call } = await bench(t, store);
      const body = bytes(10);
      const location = await open(call);
      assertRefused(await call('GET', location.replace('up/load', 'down/load')), 404, 'BLOB_UPLOAD_UNKNOWN');
      assert.equal((await call('PUT', withDigest(location, digestOf(body)), { body })).status, 201);
      assertRefused(await call('GET', location), 404, 'BLOB_UPLOAD_UNKNOWN');
    });

    test('a session nobody touches expires', async (t) => {
      let now = 0;
      const { call } = await bench(t, store, { uploads: { idleMs: 1000, now: () => now } });
      const location = await open(call);
      now = 999;
      await assertStatus(call, location, 0);
      now = 1999;
      assertRefused(await call('GET', location), 404, 'BLOB_UPLOAD_UNKNOWN');
    });

    test('more sessions than are allowed are 429 with a time to come back', async (t) => {
      const { call } = await bench(t, store, { uploads: { sessions: 1 } });
      await open(call);
      const reply = await call('POST', '/v2/up/load/blobs/uploads/');
      assertRefused(reply, 429, 'TOOMANYREQUESTS');
      assert.equal(reply.headers['retry-after'], '10');
    });

    test('malformed digests, algorithms and ranges are 400 and leave the session', async (t) => {
      const { call } = await bench(t, store);
      const location = await open(call, '?digest-algorithm=sha512');
      assertRefused(await call('POST', '/v2/up/load/blobs/uploads/?digest=sha256:bad'), 400, 'DIGEST_INVALID');
      assertRefused(await call('POST', '/v2/up/load/blobs/uploads/?mount=bad&from=x'), 400, 'DIGEST_INVALID');
      assertRefused(await call('POST', '/v2/up/load/blobs/uploads/?digest-algorithm=md5'), 400, 'DIGEST_INVALID');
      assertRefused(await call('PUT', location), 400, 'DIGEST_INVALID');
      assertRefused(await call('PUT', withDigest(location, 'sha256:12')), 400, 'DIGEST_INVALID');
      const headers = (range: string) => ({ body: bytes(10), headers: { 'content-range': range } });
      assertRefused(await call('PATCH', location, headers('abc')), 400, 'BLOB_UPLOAD_INVALID');
      assertRefused(await call('PATCH', location, headers('9-0')), 400, 'BLOB_UPLOAD_INVALID');
      assertRefused(await call('PATCH', location, headers('0-10')), 400, 'SIZE_INVALID');
      await assertStatus(call, location, 0);
    });

    test('what digest-algorithm announces is a hint: the closing digest decides', async (t) => {
      const { call } = await bench(t, store);
      for (const announced of ['sha256', 'sha512']) {
        for (const algorithm of ['sha256', 'sha512'] as const) {
          const body = bytes(100_000);
          const digest = digestOf(body, algorithm);
          const location = await open(call, `?digest-algorithm=${announced}`);
          const patched = await call('PATCH', location, { body, chunked: true });
          await assertStored(call, await call('PUT', withDigest(patched.headers.location, digest)), digest, body);
        }
      }
    });

    test('two uploads of one blob at once both succeed', async (t) => {
      const { call } = await bench(t, store);
      const body = bytes(300_000);
      const digest = digestOf(body);
      const locations = [await open(call), await open(call)];
      const replies = await Promise.all(locations.map((location) => call('PUT', withDigest(location, digest), { body })));
      for (const reply of replies) await assertStored(call, reply, digest, body);
    });

    test('two different digests in one request are refused, the same twice is one', async (t) => {
      const { call } = await bench(t, store);
      const body = bytes(10);
      const [digest, other] = [digestOf(body), digestOf(bytes(1))];
      const post = (query: string) => call('POST', `/v2/up/load/blobs/uploads/?${query}`, { body });
      assertRefused(await post(`digest=${digest}&digest=${other}`), 400, 'DIGEST_INVALID');
      assertRefused(await post(`mount=${digest}&mount=${other}&from=x`), 400, 'DIGEST_INVALID');
      const location = await open(call);
      assertRefused(await call('PUT', `${location}?digest=${other}&digest=${digest}`, { body }), 400, 'DIGEST_INVALID');
      await assertStatus(call, location, 0);
      await assertStored(call, await call('PUT', `${location}?digest=${digest}&digest=${digest}`, { body }), digest, body);
    });

    test('two chunks for one place of one session at once: one is taken whole, the other is 416', async (t) => {
      const { call } = await bench(t, store);
      for (let round = 0; round < 5; round++) {
        const location = await open(call);
        const bodies = [bytes(50_000), bytes(50_000)];
        const replies = await Promise.all(bodies.map((body) => patch(call, location, body, 0, body.length)));
        assert.deepEqual(replies.map((reply) => reply.status).sort(), [202, 416]);
        const body = bodies[replies.findIndex((reply) => reply.status === 202)] as Buffer;
        const digest = digestOf(body);
        await assertStored(call, await call('PUT', withDigest(location, digest)), digest, body);
      }
    });

    test('two closings of one session at once: one stores the blob, the other finds no session', async (t) => {
      const { call } = await bench(t, store);
      const body = bytes(5000);
      const digest = digestOf(body);
      const location = (await patch(call, await open(call), body, 0, body.length)).headers.location ?? '';
      const replies = await Promise.all([1, 2].map(() => call('PUT', withDigest(location, digest))));
      const [first, second] = replies.sort((a, b) => a.status - b.status) as [Reply, Reply];
      await assertStored(call, first, digest, body);
      assert.ok(second.status === 404 || second.status === 416, `${second.status}`);
      assertRefused(await call('GET', location), 404, 'BLOB_UPLOAD_UNKNOWN');
    });

    test('a delete against a push of one blob: it is there whole, or not at all, and can be pushed again', async (t) => {
      const { call } = await bench(t, store);
      const body = bytes(20_000);
      const digest = await pushBlob(call, 'up/load', body);
      const url = `/v2/up/load/blobs/${digest}`;
      for (let round = 0; round < 10; round++) {
        const post = () => call('POST', `/v2/up/load/blobs/uploads/?digest=${digest}`, { body });
        const [pushed, deleted] = await Promise.all([post(), call('DELETE', url)]);
        assert.equal(pushed.status, 201);
        assert.ok(deleted.status === 202 || deleted.status === 404, `${deleted.status}`);
        const got = await call('GET', url);
        if (got.status === 200) assert.equal(got.body.compare(body), 0);
        else assertRefused(got, 404, 'BLOB_UNKNOWN');
        await pushBlob(call, 'up/load', body);
        assert.equal((await call('GET', url)).body.compare(body), 0);
      }
    });

    test('a delete against a push of one manifest: its tag is never listed without it', async (t) => {
      const { call } = await bench(t, store);
      const image = await pushImage(call, 'up/load');
      const url = `/v2/up/load/manifests/${image.digest}`;
      const put = (path: string) => call('PUT', path, { body: image.bytes, headers: { 'content-type': image.mediaType } });
      for (let round = 0; round < 10; round++) {
        const [pushed, deleted] = await Promise.all([put('/v2/up/load/manifests/v1'), call('DELETE', url)]);
        assert.equal(pushed.status, 201);
        assert.ok(deleted.status === 202 || deleted.status === 404, `${deleted.status}`);
        const listed = JSON.parse((await call('GET', '/v2/up/load/tags/list')).body.toString()).tags as string[];
        const status = (await call('HEAD', '/v2/up/load/manifests/v1')).status;
        assert.equal(status, listed.includes('v1') ? 200 : 404);
        assert.equal((await call('HEAD', url)).status, status);
        assert.equal((await put(url)).status, 201);
      }
    });

    test('a client that breaks off in the middle finds its bytes again', async (t) => {
      const { call, registry } = await bench(t, store);
      const body = bytes(1000);
      const location = await open(call);
      const { hostname, port } = new URL(registry.url);
      const socket = connect(Number(port), hostname);
      socket.on('error', () => undefined);
      socket.write(`PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n`);
      socket.write(body.subarray(0, 600));
      while ((await call('GET', location)).headers.range !== '0-599');
      socket.destroy();
      let resumed: Reply;
      do resumed = await patch(call, location, body, 600, 1000);
      while (resumed.status === 416); // until the server has noticed
      assert.equal(resumed.status, 202);
      const digest = digestOf(body);
      await assertStored(call, await call('PUT', withDigest(location, digest)), digest, body);
    });

    test('a second writer to a session that is being written is refused', async (t) => {
      const { call, registry } = await bench(t, store);
      const location = await open(call);
      const { hostname, port } = new URL(registry.url);
      const socket = connect(Number(port), hostname);
      t.after(() => void socket.destroy());
      socket.write(`PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n${'x'.repeat(10)}`);
      while ((await call('GET', location)).headers.range !== '0-9');
      assertRefused(await call('PATCH', location, { body: bytes(5) }), 416, 'BLOB_UPLOAD_INVALID');
      assertRefused(await call('DELETE', location), 416, 'BLOB_UPLOAD_INVALID');
    });
  });
}
