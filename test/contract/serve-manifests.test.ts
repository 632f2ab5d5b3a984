import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { digestOf } from '../../src/core/digest.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import {
  assertRefused,
  bench,
  bytes,
  descriptorOf,
  encoded,
  pushBlob,
  pushImage,
  pushManifest,
  STORES,
} from './serve-harness.ts';

const absent = { mediaType: MEDIA_TYPE.ociManifest, digest: digestOf(Buffer.from('absent')), size: 6 };
const index = (manifests: object[], extra: object = {}) => ({
  schemaVersion: 2,
  mediaType: MEDIA_TYPE.ociIndex,
  manifests,
  ...extra,
});
const TWO_ACCEPTS = { accept: [MEDIA_TYPE.ociIndex, MEDIA_TYPE.ociManifest] };

for (const store of STORES) {
  describe(`manifests over ${store.name}`, () => {
    test('pushed without a length by digest and then by tag, got back byte for byte under the exact type', async (t) => {
      const { call } = await bench(t, store);
      const image = await pushImage(call, 'm');
      const put = (reference: string) =>
        call('PUT', `/v2/m/manifests/${reference}`, {
          body: image.bytes,
          chunked: true,
          headers: { 'content-type': image.mediaType },
        });
      for (const reference of [image.digest, 'v1']) {
        const reply = await put(reference);
        assert.equal(reply.status, 201);
        assert.equal(reply.headers['docker-content-digest'], image.digest);
        const located = await call('GET', reply.headers.location ?? '', { headers: TWO_ACCEPTS });
        assert.deepEqual(located.body, image.bytes);
      }
      for (const reference of [image.digest, 'v1']) {
        for (const method of ['GET', 'HEAD']) {
          const reply = await call(method, `/v2/m/manifests/${reference}`, { headers: TWO_ACCEPTS });
          assert.equal(reply.status, 200);
          assert.equal(reply.headers['content-type'], MEDIA_TYPE.ociManifest);
          assert.equal(reply.headers['content-length'], String(image.size));
          assert.equal(reply.headers['docker-content-digest'], image.digest);
          assert.deepEqual(reply.body, method === 'HEAD' ? Buffer.alloc(0) : image.bytes);
        }
      }
    });

    test('Accept never decides what is served', async (t) => {
      const { call } = await bench(t, store);
      const { digest } = await pushImage(call, 'm');
      const reply = await call('GET', `/v2/m/manifests/${digest}`, { headers: { accept: 'text/html' } });
      assert.equal(reply.status, 200);
    });

    test('unknown fields, key order and white space survive', async (t) => {
      const { call } = await bench(t, store);
      const text = `{ "org.example": {"x": [1, 2.50]},\n "manifests":[],\t"mediaType":"${MEDIA_TYPE.ociIndex}","schemaVersion":2 }\n`;
      const body = Buffer.from(text);
      const reply = await call('PUT', '/v2/m/manifests/odd', {
        body,
        headers: { 'content-type': `${MEDIA_TYPE.ociIndex}; charset=utf-8` },
      });
      assert.equal(reply.status, 201);
      const got = await call('GET', '/v2/m/manifests/odd');
      assert.equal(got.body.toString(), text);
      assert.equal(got.headers['content-type'], MEDIA_TYPE.ociIndex);
    });

    test('a sha512 manifest lives under its sha512 digest, with tags by parameter', async (t) => {
      const { call } = await bench(t, store);
      const layer = bytes(50);
      const config = encoded({});
      const body = encoded({
        schemaVersion: 2,
        mediaType: MEDIA_TYPE.ociManifest,
        config: { mediaType: MEDIA_TYPE.ociEmpty, digest: await pushBlob(call, 'm', config, 'sha512'), size: 2 },
        layers: [{ mediaType: 'application/x', digest: await pushBlob(call, 'm', layer, 'sha512'), size: 50 }],
      });
      const digest = digestOf(body, 'sha512');
      const reply = await call('PUT', `/v2/m/manifests/${digest}?tag=a&tag=b`, {
        body,
        headers: { 'content-type': MEDIA_TYPE.ociManifest },
      });
      assert.equal(reply.status, 201);
      assert.equal(reply.headers['docker-content-digest'], digest);
      assert.equal(reply.headers['oci-tag'], 'a, b');
      for (const reference of [digest, 'a', 'b']) {
        const got = await call('GET', `/v2/m/manifests/${reference}`);
        assert.deepEqual(got.body, body);
        assert.equal(got.headers['docker-content-digest'], digest);
      }
    });

    test('ten tags by parameter are all taken, and OCI-Tag names each; the same twice is one', async (t) => {
      const { call } = await bench(t, store);
      const { bytes: body, digest, mediaType } = await pushImage(call, 'm');
      const tags = Array.from({ length: 10 }, (_, i) => `t${i}`);
      const query = [...tags, 't0'].map((tag) => `tag=${tag}`).join('&');
      const reply = await call('PUT', `/v2/m/manifests/${digest}?${query}`, { body, headers: { 'content-type': mediaType } });
      assert.equal(reply.status, 201);
      assert.equal(reply.headers['oci-tag'], tags.join(', '));
      assert.deepEqual(JSON.parse((await call('GET', '/v2/m/tags/list')).body.toString()).tags, tags);
    });

    test('If-None-Match with the tag of a manifest is 304, by digest and by tag, until the tag moves', async (t) => {
      const { call } = await bench(t, store);
      const [a, b] = [await pushImage(call, 'm', {}, 'v1'), await pushImage(call, 'm')];
      const held = { headers: { ...TWO_ACCEPTS, 'if-none-match': `"other", W/"${a.digest}"` } };
      for (const reference of ['v1', a.digest]) {
        for (const method of ['GET', 'HEAD']) {
          const reply = await call(method, `/v2/m/manifests/${reference}`, held);
          assert.equal(reply.status, 304);
          assert.equal(reply.body.length, 0);
          assert.equal(reply.headers.etag, `"${a.digest}"`);
          assert.equal(reply.headers['docker-content-digest'], a.digest);
          assert.equal(reply.headers['content-length'], undefined);
        }
      }
      await call('PUT', '/v2/m/manifests/v1', { body: b.bytes, headers: { 'content-type': b.mediaType } });
      const moved = await call('GET', '/v2/m/manifests/v1', held);
      assert.equal(moved.status, 200);
      assert.deepEqual(moved.body, b.bytes);
      assertRefused(await call('GET', '/v2/m/manifests/none', { headers: { 'if-none-match': '*' } }), 404, 'MANIFEST_UNKNOWN');
    });

    test('a sparse push is warned of what is missing, in at most 4096 bytes; a whole one is not', async (t) => {
      const { call } = await bench(t, store, { acceptSparse: true });
      const children = Array.from({ length: 200 }, (_, i) => ({ ...absent, digest: digestOf(Buffer.from(`${i}`), 'sha512') }));
      const warning = async (value: object): Promise<string | undefined> => {
        const { reply } = await pushManifest(call, 'm', value, 'sparse');
        assert.equal(reply.status, 201, reply.body.toString());
        return reply.headers.warning;
      };
      assert.equal(
        await warning(index([absent])),
        `299 - "this repository lacks manifests that the manifest names: ${absent.digest}"`,
      );
      const long = (await warning(index(children))) ?? '';
      assert.match(long, /^299 - "[ -!#-~]+, and more"$/);
      assert.ok(long.length <= 4096, `${long.length}`);
      assert.equal(await warning(index([])), undefined);
      assert.equal((await pushImage(call, 'm')).reply.headers.warning, undefined);
    });

    test('Content-Type: parameters and case do not count, contradictions are MANIFEST_INVALID', async (t) => {
      const { call } = await bench(t, store);
      const body = encoded(index([]));
      const put = (type: string) => call('PUT', '/v2/m/manifests/x', { body, headers: { 'content-type': type } });
      for (const type of [
        `${MEDIA_TYPE.ociIndex};charset=utf-8`,
        `${MEDIA_TYPE.ociIndex} ; a=b; c`,
        MEDIA_TYPE.ociIndex.toUpperCase(),
      ]) {
        assert.equal((await put(type)).status, 201, type);
        assert.equal((await call('HEAD', '/v2/m/manifests/x')).headers['content-type'], MEDIA_TYPE.ociIndex);
      }
      for (const type of [MEDIA_TYPE.ociManifest, MEDIA_TYPE.dockerList, 'application/json', 'application/octet-stream']) {
        assertRefused(await put(type), 400, 'MANIFEST_INVALID');
      }
    });

    test('tag parameters: bad ones refuse the push, too many as well', async (t) => {
      const { call } = await bench(t, store);
      const { bytes: body, digest, mediaType } = await pushImage(call, 'm');
      const headers = { 'content-type': mediaType };
      assertRefused(await call('PUT', `/v2/m/manifests/${digest}?tag=-bad`, { body, headers }), 400, 'MANIFEST_INVALID');
      const many = Array.from({ length: 101 }, (_, i) => `tag=t${i}`).join('&');
      assertRefused(await call('PUT', `/v2/m/manifests/${digest}?${many}`, { body, headers }), 400, 'MANIFEST_INVALID');
      assert.equal((await call('PUT', `/v2/m/manifests/${digest}?tag=a&${'tag=b&'.repeat(20)}`, { body, headers })).status, 201);
    });

    test('missing ones are 404, malformed references 400', async (t) => {
      const { call } = await bench(t, store);
      await pushImage(call, 'm');
      assertRefused(await call('GET', `/v2/m/manifests/${absent.digest}`), 404, 'MANIFEST_UNKNOWN');
      assertRefused(await call('GET', '/v2/m/manifests/missing-tag'), 404, 'MANIFEST_UNKNOWN');
      assertRefused(await call('GET', '/v2/nowhere/manifests/latest'), 404, 'MANIFEST_UNKNOWN');
      assert.equal((await call('HEAD', '/v2/m/manifests/missing-tag')).status, 404);
      assertRefused(await call('GET', '/v2/m/manifests/sha256:baddigeststring'), 400, 'DIGEST_INVALID');
      assertRefused(await call('GET', `/v2/m/manifests/${'t'.repeat(129)}`), 400, 'MANIFEST_INVALID');
      assert.equal((await call('GET', `/v2/m/manifests/${'t'.repeat(128)}`)).status, 404);
    });

    test('a body that does not fit its digest is 400, a malformed digest too', async (t) => {
      const { call } = await bench(t, store);
      const { bytes: body, mediaType } = await pushImage(call, 'm');
      const headers = { 'content-type': mediaType };
      const padded = Buffer.concat([body, Buffer.from('  ')]);
      const other = digestOf(Buffer.concat([body, Buffer.from(' ')]));
      assertRefused(await call('PUT', `/v2/m/manifests/${other}`, { body: padded, headers }), 400, 'DIGEST_INVALID');
      assertRefused(await call('PUT', '/v2/m/manifests/sha256:baddigeststring', { body, headers }), 400, 'DIGEST_INVALID');
    });

    test('what is no manifest is 400 MANIFEST_INVALID', async (t) => {
      const { call } = await bench(t, store);
      const put = (body: string, type: string = MEDIA_TYPE.ociManifest) =>
        call('PUT', '/v2/m/manifests/x', { body: Buffer.from(body), headers: { 'content-type': type } });
      const empty = JSON.stringify(index([]));
      for (const [body, type] of [
        ['not json', undefined],
        ['[]', undefined],
        ['{"schemaVersion":2,"schemaVersion":2}', undefined],
        ['{"schemaVersion":1,"fsLayers":[]}', MEDIA_TYPE.dockerSchema1Signed],
        [empty, MEDIA_TYPE.ociManifest],
        [empty, 'text/plain'],
      ] as const) {
        assertRefused(await put(body, type), 400, 'MANIFEST_INVALID');
      }
      assert.equal((await call('HEAD', '/v2/m/manifests/x')).status, 404);
    });

    test('without Content-Type the mediaType inside counts', async (t) => {
      const { call } = await bench(t, store);
      assert.equal((await call('PUT', '/v2/m/manifests/x', { body: encoded(index([])) })).status, 201);
      assert.equal((await call('GET', '/v2/m/manifests/x')).headers['content-type'], MEDIA_TYPE.ociIndex);
      assertRefused(await call('PUT', '/v2/m/manifests/x', { body: encoded({ schemaVersion: 2 }) }), 400, 'MANIFEST_INVALID');
    });

    test('a manifest of 3.9 MB is taken by digest and by tag', async (t) => {
      const { call } = await bench(t, store);
      const annotations = Object.fromEntries(Array.from({ length: 390 }, (_, i) => [`org.example.${i}`, 'x'.repeat(10_000)]));
      const pushed = await pushManifest(call, 'm', index([], { annotations }));
      assert.equal(pushed.reply.status, 201);
      assert.equal((await pushManifest(call, 'm', index([], { annotations }), 'large')).reply.status, 201);
      assert.equal((await call('GET', '/v2/m/manifests/large')).body.compare(pushed.bytes), 0);
    });

    test('above 4 MiB it is 413, with a length and without, and the answer is seen', async (t) => {
      const { call } = await bench(t, store);
      const body = Buffer.alloc(LIMITS.ociManifestBytes + 1, ' ');
      const headers = { 'content-type': MEDIA_TYPE.ociIndex };
      for (const chunked of [false, true]) {
        assertRefused(await call('PUT', '/v2/m/manifests/x', { body, headers, chunked }), 413, 'SIZE_INVALID');
      }
    });

    test('indexes: of images, of indexes without platform, of nothing', async (t) => {
      const { call } = await bench(t, store);
      const [a, b] = [await pushImage(call, 'm'), await pushImage(call, 'm')];
      const platform = { os: 'linux', architecture: 'arm64' };
      const inner = await pushManifest(call, 'm', index([{ ...descriptorOf(a), platform }, descriptorOf(b)]));
      assert.equal(inner.reply.status, 201);
      const outer = await pushManifest(call, 'm', index([descriptorOf(inner)]), 'nested');
      assert.equal(outer.reply.status, 201);
      assert.equal((await pushManifest(call, 'm', index([]), 'empty')).reply.status, 201);
      assert.deepEqual((await call('GET', '/v2/m/manifests/nested')).body, outer.bytes);
    });

    test('artifacts: an own layer type, one empty descriptor as config and layer, embedded data, no layers', async (t) => {
      const { call } = await bench(t, store);
      const digest = await pushBlob(call, 'm', Buffer.from('{}'));
      const empty = { mediaType: MEDIA_TYPE.ociEmpty, digest, size: 2, data: 'e30=' };
      const artifact = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest, artifactType: 'application/vnd.x', config: empty };
      assert.equal((await pushManifest(call, 'm', { ...artifact, layers: [empty] }, 'one')).reply.status, 201);
      assert.equal((await pushManifest(call, 'm', { ...artifact, layers: [] }, 'two')).reply.status, 201);
    });

    test('an index that lacks a child, an image that lacks a layer: MANIFEST_BLOB_UNKNOWN, unless sparse ones are taken', async (t) => {
      for (const acceptSparse of [false, true]) {
        const { call } = await bench(t, store, { acceptSparse });
        const there = await pushImage(call, 'm');
        const config = { mediaType: MEDIA_TYPE.ociEmpty, digest: await pushBlob(call, 'm', Buffer.from('{}')), size: 2 };
        const layers = [{ ...absent, mediaType: 'application/vnd.oci.image.layer.v1.tar' }];
        const image = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest, config, layers };
        for (const sparse of [index([descriptorOf(there), absent]), image]) {
          const { reply } = await pushManifest(call, 'm', sparse, 'sparse');
          if (acceptSparse) assert.equal(reply.status, 201);
          else assertRefused(reply, 400, 'MANIFEST_BLOB_UNKNOWN');
        }
        assert.equal((await call('HEAD', '/v2/m/manifests/sparse')).status, acceptSparse ? 200 : 404);
      }
    });

    test('layers of another repository do not count', async (t) => {
      const { call } = await bench(t, store);
      const image = await pushImage(call, 'm');
      const headers = { 'content-type': image.mediaType };
      assertRefused(await call('PUT', '/v2/other/manifests/x', { body: image.bytes, headers }), 400, 'MANIFEST_BLOB_UNKNOWN');
    });

    test('foreign and non-distributable layers need not be there', async (t) => {
      const { call } = await bench(t, store);
      const urls = ['https://example.org/layer'];
      for (const type of [
        'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
        'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      ]) {
        await pushImage(call, 'm', { layers: [{ mediaType: type, digest: absent.digest, size: 5, urls }] });
      }
    });

    test('a tag moves, a deleted tag leaves the manifest, a deleted manifest takes its tags', async (t) => {
      const { call } = await bench(t, store);
      const [a, b] = [await pushImage(call, 'm', {}, 'v1'), await pushImage(call, 'm', {}, 'v1')];
      assert.equal((await call('HEAD', '/v2/m/manifests/v1')).headers['docker-content-digest'], b.digest);
      assert.equal((await call('HEAD', `/v2/m/manifests/${a.digest}`)).status, 200);
      assert.equal((await call('DELETE', '/v2/m/manifests/v1')).status, 202);
      assert.equal((await call('HEAD', '/v2/m/manifests/v1')).status, 404);
      assert.equal((await call('HEAD', `/v2/m/manifests/${b.digest}`)).status, 200);
      assertRefused(await call('DELETE', '/v2/m/manifests/v1'), 404, 'MANIFEST_UNKNOWN');
      const headers = { 'content-type': b.mediaType };
      for (const tag of ['x', 'y']) await call('PUT', `/v2/m/manifests/${tag}`, { body: b.bytes, headers });
      await call('PUT', '/v2/m/manifests/keep', { body: a.bytes, headers });
      assert.equal((await call('DELETE', `/v2/m/manifests/${b.digest}`)).status, 202);
      assert.equal((await call('HEAD', `/v2/m/manifests/${b.digest}`)).status, 404);
      assertRefused(await call('DELETE', `/v2/m/manifests/${b.digest}`), 404, 'MANIFEST_UNKNOWN');
      assert.deepEqual(JSON.parse((await call('GET', '/v2/m/tags/list')).body.toString()).tags, ['keep']);
      assert.equal((await call('PUT', '/v2/m/manifests/x', { body: b.bytes, headers })).status, 201);
      assert.equal((await call('HEAD', '/v2/m/manifests/x')).status, 200);
    });
  });
}
