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

    test('odd ranges: several, huge, empty parts, none at all in the empty blob', async (t) => {
      const { call } = await bench(t, store);
      const body = bytes(2048);
      const digest = await pushBlob(call, 'r', body);
      const get = (range: string, path = `/v2/r/blobs/${digest}`) => call('GET', path, { headers: { range } });
      for (const whole of [
        'bytes=0-1,5-6',
        'bytes=0-1, -5',
        'bytes=,0-1',
        'bytes=-',
        'bytes',
        'bits=0-1',
        'bytes=0x0-1',
        'bytes=0-1-2',
      ]) {
        const reply = await get(whole);
        assert.equal(reply.status, 200, whole);
        assert.equal(reply.body.compare(body), 0);
        assert.equal(reply.headers['accept-ranges'], 'bytes');
      }
      const huge = '9'.repeat(400);
      assert.deepEqual((await get(`bytes=2000-${huge}`)).body, body.subarray(2000));
      assert.equal((await get(`bytes=-${huge}`)).headers['content-range'], 'bytes 0-2047/2048');
      assertRefused(await get(`bytes=${huge}-`), 416, 'SIZE_INVALID');
      const empty = `/v2/r/blobs/${await pushBlob(call, 'r', Buffer.alloc(0))}`;
      for (const range of ['bytes=0-', 'bytes=0-0', 'bytes=-1']) {
        const reply = await get(range, empty);
        assertRefused(reply, 416, 'SIZE_INVALID');
        assert.equal(reply.headers['content-range'], 'bytes */0');
      }
    });

    test('If-Range takes the strong tag only; anything else means the whole', async (t) => {
      const { call } = await bench(t, store);
      const digest = await pushBlob(call, 'r', bytes(2048));
      const status = async (condition: string) =>
        (await call('GET', `/v2/r/blobs/${digest}`, { headers: { range: 'bytes=0-9', 'if-range': condition } })).status;
      assert.equal(await status(`"${digest}"`), 206);
      for (const other of [`W/"${digest}"`, digest, '*', 'Sat, 21 Nov 2026 11:00:00 GMT'])
        assert.equal(await status(other), 200, other);
    });

    test('If-None-Match with the tag of a blob is 304 without a body, before any range; another tag is 200', async (t) => {
      const { call } = await bench(t, store);
      const body = bytes(2048);
      const digest = await pushBlob(call, 'r', body);
      const url = `/v2/r/blobs/${digest}`;
      const { etag } = (await call('HEAD', url)).headers;
      assert.equal(etag, `"${digest}"`);
      for (const method of ['GET', 'HEAD']) {
        for (const held of [`"${digest}"`, `W/"${digest}"`, `"x", W/"y",${etag} , "z"`, '*', digest]) {
          const reply = await call(method, url, { headers: { 'if-none-match': held, range: 'bytes=0-9' } });
          assert.equal(reply.status, 304, held);
          assert.equal(reply.body.length, 0);
          assert.equal(reply.headers.etag, etag);
          assert.equal(reply.headers['content-length'], undefined);
          assert.equal(reply.headers['transfer-encoding'], undefined);
        }
        for (const other of ['"x"', `"${digest}`, `"${digest.toUpperCase()}"`, 'W/*', '']) {
          const reply = await call(method, url, { headers: { 'if-none-match': other } });
          assert.equal(reply.status, 200, other);
          assert.equal(reply.headers['content-length'], '2048');
        }
      }
      assert.equal((await call('GET', `/v2/r/blobs/${ABSENT}`, { headers: { 'if-none-match': '*' } })).status, 404);
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
