/** distribution-spec "Error Codes", and what a request may not look like: each code once, and the odd forms of names, digests and paths. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { describe, test } from 'node:test';
import { digestOf } from '../../src/core/digest.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import type { RefusalCode } from '../../src/serve/refusal.ts';
import { startRegistry } from '../../src/serve/server.ts';
import { assertRefused, bench, bytes, caller, encoded, pushBlob, pushImage, type Reply, STORES } from './serve-harness.ts';

const ABSENT = digestOf(Buffer.from('never pushed'));
const MALFORMED = [
  'sha256:baddigeststring',
  `sha256:${'a'.repeat(63)}`,
  `sha256:${'a'.repeat(65)}`,
  `sha256:${'A'.repeat(64)}`,
  `SHA256:${'a'.repeat(64)}`,
  `sha512:${'a'.repeat(64)}`,
  `sha384:${'a'.repeat(96)}`,
  `md5:${'a'.repeat(32)}`,
  `sha256+b64u:${'a'.repeat(43)}`,
  ':',
  'sha256:',
];

/** The path goes out as it is written: URL would clean it. */
async function raw(base: string, path: string): Promise<Reply> {
  const { hostname, port } = new URL(base);
  const sent = request({ hostname, port, path }).end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) };
}

const EMPTY_INDEX = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: [] };

for (const store of STORES) {
  describe(`refusals over ${store.name}`, () => {
    test('each code of the specification, in the form of the specification', async (t) => {
      const { call, content } = await bench(t, store, { uploads: { sessions: 1 } });
      await pushBlob(call, 'r', bytes(1));
      const guarded = await startRegistry({
        content,
        readOnly: true,
        auth: { kind: 'basic', users: { none: 'p' }, may: () => false },
      });
      const agent = new Agent({ keepAlive: true });
      t.after(async () => {
        agent.destroy();
        await guarded.close(0);
      });
      const ask = caller(guarded.url, agent);
      const { location = '' } = (await call('POST', '/v2/r/blobs/uploads/')).headers;
      const put = (body: Uint8Array) =>
        call('PUT', '/v2/r/manifests/x', { body, headers: { 'content-type': MEDIA_TYPE.ociIndex } });
      const child = { mediaType: MEDIA_TYPE.ociManifest, digest: ABSENT, size: 1 };
      const known = { headers: { authorization: `Basic ${Buffer.from('none:p').toString('base64')}` } };
      const replies = {
        BLOB_UNKNOWN: [404, await call('GET', `/v2/r/blobs/${ABSENT}`)],
        BLOB_UPLOAD_INVALID: [416, await call('PATCH', location, { body: bytes(2), headers: { 'content-range': '5-6' } })],
        BLOB_UPLOAD_UNKNOWN: [404, await call('GET', '/v2/r/blobs/uploads/none')],
        DIGEST_INVALID: [400, await call('GET', '/v2/r/blobs/sha256:bad')],
        MANIFEST_BLOB_UNKNOWN: [400, await put(encoded({ ...EMPTY_INDEX, manifests: [child] }))],
        MANIFEST_INVALID: [400, await put(Buffer.from('{'))],
        MANIFEST_UNKNOWN: [404, await call('GET', '/v2/r/manifests/none')],
        NAME_INVALID: [400, await call('GET', '/v2/UPPER/tags/list')],
        NAME_UNKNOWN: [404, await call('GET', '/v2/none/tags/list')],
        SIZE_INVALID: [413, await put(Buffer.alloc(LIMITS.ociManifestBytes + 1, ' '))],
        UNAUTHORIZED: [401, await ask('GET', '/v2/r/tags/list')],
        DENIED: [403, await ask('GET', '/v2/r/tags/list', known)],
        UNSUPPORTED: [405, await ask('DELETE', `/v2/r/blobs/${ABSENT}`, known)],
        TOOMANYREQUESTS: [429, await call('POST', '/v2/r/blobs/uploads/')],
      } as const satisfies Readonly<Record<Exclude<RefusalCode, 'UNKNOWN'>, readonly [number, Reply]>>;
      for (const [code, [status, reply]] of Object.entries(replies)) assertRefused(reply, status, code);
    });

    test('a malformed digest, or one of an unknown algorithm, is 400 DIGEST_INVALID wherever it stands', async (t) => {
      const { call } = await bench(t, store);
      const body = encoded(EMPTY_INDEX);
      const headers = { 'content-type': MEDIA_TYPE.ociIndex };
      for (const digest of MALFORMED) {
        const { location = '' } = (await call('POST', '/v2/r/blobs/uploads/')).headers;
        const query = encodeURIComponent(digest);
        for (const reply of [
          await call('GET', `/v2/r/blobs/${digest}`),
          await call('DELETE', `/v2/r/blobs/${digest}`),
          await call('GET', `/v2/r/referrers/${digest}`),
          await call('GET', `/v2/r/manifests/${digest}`),
          await call('PUT', `/v2/r/manifests/${digest}`, { body, headers }),
          await call('DELETE', `/v2/r/manifests/${digest}`),
          await call('POST', `/v2/r/blobs/uploads/?digest=${query}`, { body: bytes(3) }),
          await call('POST', `/v2/r/blobs/uploads/?mount=${query}&from=x`),
          await call('PUT', `${location}?digest=${query}`, { body: bytes(3) }),
        ])
          assertRefused(reply, 400, 'DIGEST_INVALID');
        assert.equal((await call('DELETE', location)).status, 204);
      }
      for (const algorithm of ['md5', 'SHA256', 'sha384', 'sha256,sha512', '']) {
        const reply = await call('POST', `/v2/r/blobs/uploads/?digest-algorithm=${algorithm}`);
        assertRefused(reply, 400, 'DIGEST_INVALID');
      }
      for (const algorithm of ['sha256', 'sha512'])
        assert.equal((await call('POST', `/v2/r/blobs/uploads/?digest-algorithm=${algorithm}`)).status, 202);
    });

    test('names and tags by their grammar: what it allows works, anything else is 400', async (t) => {
      const { call } = await bench(t, store);
      const image = await pushImage(call, 'start');
      const put = (name: string, tag: string) =>
        call('PUT', `/v2/${name}/manifests/${encodeURIComponent(tag)}`, {
          body: encoded(EMPTY_INDEX),
          headers: { 'content-type': MEDIA_TYPE.ociIndex },
        });
      const long = `${'a/'.repeat(100)}${'b'.repeat(55)}`;
      for (const name of ['a', '0', 'a.b', 'a_b', 'a__b', 'a-b', 'a---b', 'a/b.c/d', long]) {
        assert.equal((await put(name, 'v1')).status, 201, name);
        assert.equal((await call('GET', `/v2/${name}/manifests/v1`)).status, 200, name);
      }
      const badNames = ['A', 'a.', '.a', '-a', 'a..b', 'a___b', 'a._b', '_', 'a/-b', 'a%20b', 'ä', 'a:b', 'a@b', `${long}b`];
      for (const name of badNames) {
        for (const reply of [
          await put(name, 'v1'),
          await call('GET', `/v2/${name}/tags/list`),
          await call('GET', `/v2/${name}/blobs/${ABSENT}`),
          await call('POST', `/v2/${name}/blobs/uploads/`),
          await call('GET', `/v2/${name}/referrers/${ABSENT}`),
        ])
          assertRefused(reply, 400, 'NAME_INVALID');
      }
      for (const tag of ['a', '_', '0', 'A.b-c_D', 't'.repeat(128)]) assert.equal((await put('start', tag)).status, 201, tag);
      for (const tag of ['-a', '.a', 'a b', 'a/b', 'ä', 'a+b', 't'.repeat(129)]) {
        const path = `/v2/start/manifests/${encodeURIComponent(tag)}`;
        for (const reply of [await put('start', tag), await call('GET', path), await call('DELETE', path)])
          assertRefused(reply, 400, 'MANIFEST_INVALID');
        const query = `tag=ok&tag=${encodeURIComponent(tag)}`;
        const reply = await call('PUT', `/v2/start/manifests/${image.digest}?${query}`, {
          body: image.bytes,
          headers: { 'content-type': image.mediaType },
        });
        assertRefused(reply, 400, 'MANIFEST_INVALID');
      }
      assert.equal((await call('HEAD', '/v2/start/manifests/ok')).status, 404, 'one bad tag refuses all');
    });

    test('odd paths are refused or mean what they say, and nothing is reached by them', async (t) => {
      const { call, registry } = await bench(t, store);
      const { digest } = await pushImage(call, 'a/b', {}, 'v1');
      const get = (path: string) => raw(registry.url, path);
      for (const same of [
        '/v2/a%2Fb/manifests/v1',
        '/v2/a/%62/manifests/%761',
        `/v2/a/b/manifests/${digest.replace(':', '%3A')}`,
      ]) {
        assert.equal((await get(same)).headers['docker-content-digest'], digest, same);
      }
      assert.equal((await get(`${registry.url}/v2/a/b/manifests/v1`)).status, 200, 'an absolute URL');
      for (const path of [
        '/v2//tags/list',
        '/v2/a//b/manifests/v1',
        '/v2/a/b//manifests/v1',
        '/v2/x/../a/b/manifests/v1',
        '/v2/../a/b/manifests/v1',
        '/v2/a/./b/manifests/v1',
        '/v2/%2e%2e/a/b/manifests/v1',
        '/v2/..%2f..%2fetc/tags/list',
        '/v2/a%00b/tags/list',
        '/v2/a%0d%0ab/tags/list',
        '/v2/a%/tags/list',
        '/v2/a%ff/tags/list',
        '/v2/a%252Fb/tags/list',
        `/v2/${'a/'.repeat(2000)}b/tags/list`,
      ])
        assertRefused(await get(path), 400, 'NAME_INVALID');
      for (const path of ['/v2/a/b/manifests/..%2f..%2fv1', '/v2/a/b/manifests/v1%00', '/v2/a/b/manifests/%2e%2e'])
        assertRefused(await get(path), 400, 'MANIFEST_INVALID');
      assertRefused(await get(`/v2/a/b/blobs/${digest}%2f..`), 400, 'DIGEST_INVALID');
      assertRefused(await get('/v2/a/b/blobs/uploads/..%2f..%2fx'), 404, 'BLOB_UPLOAD_UNKNOWN');
      for (const path of ['//v2/', '/V2/', '/v2/a/b/manifests/v1/', '/v2/a/b/tags', '/v2/a/b/tags/list/', '/v2/_catalog/x'])
        assert.equal((await get(path)).status, 404, path);
      assertRefused(await get(`/v2/${'a'.repeat(10_000)}`), 414, 'UNSUPPORTED');
      assert.equal((await get('/v2/a/b/manifests/v1?ns=docker.io')).status, 200, 'containerd says for whom it asks');
      assert.equal((await get('/v2/a/b/manifests/v1?digest=%00&x=%ff&=&&')).status, 200);
    });
  });
}
