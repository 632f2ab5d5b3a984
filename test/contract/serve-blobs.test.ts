import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { digestOf } from '../../src/core/digest.ts';
import { assertRefused, bench, bytes, pushBlob, STORES } from './serve-harness.ts';

const ABSENT = digestOf(Buffer.from('never pushed'));

for (const store of STORES) {
  describe(`blobs over ${store.name}`, () => {
    for (const algorithm of ['sha256', 'sha512'] as const) {
      test(`GET and HEAD give bytes, length and ${algorithm} digest`, async (t) => {
        const { call } = await bench(t, store);
        const body = bytes(2048);
        const digest = await pushBlob(call, 'a/b', body, algorithm);
        const got = await call('GET', `/v2/a/b/blobs/${digest}`);
        assert.equal(got.status, 200);
        assert.deepEqual(got.body, body);
        for (const reply of [got, await call('HEAD', `/v2/a/b/blobs/${digest}`)]) {
          assert.equal(reply.status, 200);
          assert.equal(reply.headers['content-length'], '2048');
          assert.equal(reply.headers['docker-content-digest'], digest);
          assert.equal(reply.headers['content-type'], 'application/octet-stream');
          assert.equal(reply.headers['content-encoding'], undefined);
          assert.equal(reply.headers['transfer-encoding'], undefined);
        }
      });
    }

    test('a blob of several megabytes comes back whole', async (t) => {
      const { call } = await bench(t, store);
      const body = bytes(5_000_001);
      const digest = await pushBlob(call, 'big', body);
      assert.equal((await call('GET', `/v2/big/blobs/${digest}`)).body.compare(body), 0);
    });

    test('the empty blob has length 0, however it is pushed', async (t) => {
      const { call } = await bench(t, store);
      const digest = digestOf(Buffer.alloc(0));
      const chunkedPost = await call('POST', '/v2/e/blobs/uploads/');
      const put = await call('PUT', `${chunkedPost.headers.location}?digest=${digest}`, { chunked: true });
      assert.equal(put.status, 201);
      await pushBlob(call, 'f', Buffer.alloc(0));
      for (const name of ['e', 'f']) {
        for (const method of ['GET', 'HEAD']) {
          const reply = await call(method, `/v2/${name}/blobs/${digest}`);
          assert.equal(reply.status, 200);
          assert.equal(reply.headers['content-length'], '0');
        }
      }
      assertRefused(await call('GET', `/v2/e/blobs/${digest}`, { headers: { range: 'bytes=0-' } }), 416, 'SIZE_INVALID');
    });

    test('what is not there is 404 BLOB_UNKNOWN, what is no digest is 400', async (t) => {
      const { call } = await bench(t, store);
      assertRefused(await call('GET', `/v2/a/blobs/${ABSENT}`), 404, 'BLOB_UNKNOWN');
      const head = await call('HEAD', `/v2/a/blobs/${ABSENT}`);
      assert.equal(head.status, 404);
      assert.equal(head.body.length, 0);
      assertRefused(await call('GET', '/v2/a/blobs/sha256:baddigeststring'), 400, 'DIGEST_INVALID');
      assertRefused(await call('GET', `/v2/a/blobs/md5:${'0'.repeat(32)}`), 400, 'DIGEST_INVALID');
      assertRefused(await call('GET', `/v2/UPPER/blobs/${ABSENT}`), 400, 'NAME_INVALID');
    });

    const RANGES: [string, number, number][] = [
      ['500-1499', 500, 1500],
      ['500-', 500, 2048],
      ['-500', 1548, 2048],
      ['2000-5000', 2000, 2048],
      ['0-0', 0, 1],
      ['-9999', 0, 2048],
    ];
    for (const [range, start, end] of RANGES) {
      test(`Range ${range} of 2048 bytes is 206 with exactly those`, async (t) => {
        const { call } = await bench(t, store);
        const body = bytes(2048);
        const digest = await pushBlob(call, 'r', body);
        const reply = await call('GET', `/v2/r/blobs/${digest}`, { headers: { range: `bytes=${range}` } });
        assert.equal(reply.status, 206);
        assert.deepEqual(reply.body, body.subarray(start, end));
        assert.equal(reply.headers['content-length'], String(end - start));
        assert.equal(reply.headers['content-range'], `bytes ${start}-${end - 1}/2048`);
      });
    }

    test('a range outside is 416 with a body that is well formed, and the connection goes on', async (t) => {
      const { call } = await bench(t, store);
      const body = bytes(2048);
      const digest = await pushBlob(call, 'r', body);
      for (const range of ['500-0', '5000-10000', '2048-', '-0']) {
        const reply = await call('GET', `/v2/r/blobs/${digest}`, { headers: { range: `bytes=${range}` } });
        assertRefused(reply, 416, 'SIZE_INVALID');
        assert.equal(reply.headers['content-range'], 'bytes */2048');
      }
      assert.deepEqual((await call('GET', `/v2/r/blobs/${digest}`)).body, body);
    });

    test('a range is ignored on HEAD, in other units, and when If-Range names other bytes', async (t) => {
      const { call } = await bench(t, store);
      const digest = await pushBlob(call, 'r', bytes(2048));
      const url = `/v2/r/blobs/${digest}`;
      assert.equal((await call('HEAD', url, { headers: { range: 'bytes=0-9' } })).headers['content-length'], '2048');
      assert.equal((await call('GET', url, { headers: { range: 'lines=0-9' } })).status, 200);
      assert.equal((await call('GET', url, { headers: { range: 'bytes=0-1,5-6' } })).status, 200);
      assert.equal((await call('GET', url, { headers: { range: 'bytes=0-9', 'if-range': '"other"' } })).status, 200);
      assert.equal((await call('GET', url, { headers: { range: 'bytes=0-9', 'if-range': `"${digest}"` } })).status, 206);
    });

    test('a deleted blob is gone at once, in that repository only, and can be pushed again', async (t) => {
      const { call } = await bench(t, store);
      const body = bytes(100);
      const digest = await pushBlob(call, 'one', body);
      await call('POST', `/v2/two/blobs/uploads/?mount=${digest}&from=one`);
      assert.equal((await call('DELETE', `/v2/one/blobs/${digest}`)).status, 202);
      assert.equal((await call('HEAD', `/v2/one/blobs/${digest}`)).status, 404);
      assert.equal((await call('HEAD', `/v2/two/blobs/${digest}`)).status, 200);
      assertRefused(await call('DELETE', `/v2/one/blobs/${digest}`), 404, 'BLOB_UNKNOWN');
      assert.equal((await call('DELETE', `/v2/two/blobs/${digest}`)).status, 202);
      assert.equal((await call('HEAD', `/v2/two/blobs/${digest}`)).status, 404);
      await pushBlob(call, 'one', body);
      assert.deepEqual((await call('GET', `/v2/one/blobs/${digest}`)).body, body);
    });

    test('a blob of one repository is not there in another', async (t) => {
      const { call } = await bench(t, store);
      const digest = await pushBlob(call, 'one', bytes(100));
      assertRefused(await call('GET', `/v2/two/blobs/${digest}`), 404, 'BLOB_UNKNOWN');
    });

    test('the digest in the path may be percent-encoded', async (t) => {
      const { call } = await bench(t, store);
      const digest = await pushBlob(call, 'one', bytes(100));
      assert.equal((await call('HEAD', `/v2/one/blobs/${encodeURIComponent(digest)}`)).status, 200);
      assertRefused(await call('GET', '/v2/one/blobs/%E0%A4%A'), 400, 'NAME_INVALID');
    });
  });
}
