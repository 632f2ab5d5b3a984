import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { digestOf } from '../../src/core/digest.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import {
  assertRefused,
  bench,
  type Call,
  descriptorOf,
  pushBlob,
  pushImage,
  pushManifest,
  type Reply,
  STORES,
} from './serve-harness.ts';

const absent = { mediaType: MEDIA_TYPE.ociManifest, digest: digestOf(Buffer.from('absent')), size: 6 };
const tagsOf = (reply: Reply): string[] => JSON.parse(reply.body.toString()).tags;

async function referrers(call: Call, repository: string, digest: string, query = '') {
  const reply = await call('GET', `/v2/${repository}/referrers/${digest}${query}`);
  assert.equal(reply.status, 200);
  assert.equal(reply.headers['content-type'], MEDIA_TYPE.ociIndex);
  const list = JSON.parse(reply.body.toString());
  assert.equal(list.schemaVersion, 2);
  assert.equal(list.mediaType, MEDIA_TYPE.ociIndex);
  assert.ok(Array.isArray(list.manifests));
  return { reply, manifests: list.manifests as { digest: string; artifactType?: string }[] };
}

for (const store of STORES) {
  describe(`discovery over ${store.name}`, () => {
    test('/v2/ answers 200, and so does every path that an endpoint may end in', async (t) => {
      const { call } = await bench(t, store);
      for (const path of ['/v2/', '/v2', '/v2/docker.io/', '/v2/mirror/docker.io/']) {
        for (const method of ['GET', 'HEAD']) {
          const reply = await call(method, path);
          assert.equal(reply.status, 200);
          assert.equal(reply.headers['content-length'], '2');
          assert.equal(reply.headers['docker-distribution-api-version'], 'registry/2.0');
        }
      }
      for (const path of ['/', '/v1/', '/v2/x', '/v2/x/y/z', '/v3/']) assert.equal((await call('GET', path)).status, 404);
    });

    test('repositories may be called like parts of the API', async (t) => {
      const { call } = await bench(t, store);
      for (const name of ['blobs/uploads', 'a/manifests/b', 'tags/list', 'a/blobs/uploads/referrers']) {
        const { digest } = await pushImage(call, name, {}, 'latest');
        assert.equal((await call('HEAD', `/v2/${name}/manifests/latest`)).headers['docker-content-digest'], digest);
        assert.deepEqual(tagsOf(await call('GET', `/v2/${name}/tags/list`)), ['latest']);
      }
    });

    test('tags come in byte order, all of them when nothing limits them', async (t) => {
      const { call } = await bench(t, store);
      const image = await pushImage(call, 'd/e');
      for (const tag of ['b', 'a', 'B', '10', '9', '_x']) {
        await call('PUT', `/v2/d/e/manifests/${tag}`, { body: image.bytes, headers: { 'content-type': image.mediaType } });
      }
      const reply = await call('GET', '/v2/d/e/tags/list');
      assert.equal(reply.headers['content-type'], 'application/json');
      assert.deepEqual(JSON.parse(reply.body.toString()), { name: 'd/e', tags: ['10', '9', 'B', '_x', 'a', 'b'] });
      assert.equal(reply.headers.link, undefined);
      assert.deepEqual(tagsOf(await call('GET', '/v2/d/e/tags/list?last=B')), ['_x', 'a', 'b']);
      assert.deepEqual(tagsOf(await call('GET', '/v2/d/e/tags/list?last=C')), ['_x', 'a', 'b']);
      assert.deepEqual(tagsOf(await call('GET', '/v2/d/e/tags/list?last=z')), []);
    });

    test('n pages through them by Link; n=0 is an empty list without one', async (t) => {
      const { call } = await bench(t, store);
      const image = await pushImage(call, 'd');
      for (const tag of ['a', 'b', 'c', 'd', 'e']) {
        await call('PUT', `/v2/d/manifests/${tag}`, { body: image.bytes, headers: { 'content-type': image.mediaType } });
      }
      const seen: string[][] = [];
      for (let path: string | undefined = '/v2/d/tags/list?n=2'; path !== undefined; ) {
        const reply: Reply = await call('GET', path);
        seen.push(tagsOf(reply));
        path = /^<([^>]+)>; rel="next"$/.exec(String(reply.headers.link ?? ''))?.[1];
      }
      assert.deepEqual(seen, [['a', 'b'], ['c', 'd'], ['e']]);
      assert.equal((await call('GET', '/v2/d/tags/list?n=5')).headers.link, undefined);
      const none = await call('GET', '/v2/d/tags/list?n=0');
      assert.deepEqual(tagsOf(none), []);
      assert.equal(none.headers.link, undefined);
      for (const n of ['-1', 'x', '1e3']) assertRefused(await call('GET', `/v2/d/tags/list?n=${n}`), 400, 'UNSUPPORTED');
    });

    test('tags of a repository that is not there: 404 NAME_UNKNOWN; with blobs only: none', async (t) => {
      const { call } = await bench(t, store);
      assertRefused(await call('GET', '/v2/none/tags/list'), 404, 'NAME_UNKNOWN');
      await pushBlob(call, 'some/where', Buffer.from('x'));
      assert.deepEqual(tagsOf(await call('GET', '/v2/some/where/tags/list')), []);
      assertRefused(await call('GET', '/v2/some/tags/list'), 404, 'NAME_UNKNOWN');
    });

    test('nothing refers to what was never seen: an empty index, never 404', async (t) => {
      const { call } = await bench(t, store);
      assert.deepEqual((await referrers(call, 'never/seen', absent.digest)).manifests, []);
      assertRefused(await call('GET', '/v2/never/seen/referrers/sha256:bad'), 400, 'DIGEST_INVALID');
    });

    test('referrers of an image: type, size and annotations of each, filtered where asked', async (t) => {
      const { call } = await bench(t, store);
      const subject = descriptorOf(await pushImage(call, 'r'));
      const plain = await pushImage(call, 'r', { subject, annotations: { who: 'plain' } });
      const sbom = await pushImage(call, 'r', { subject, artifactType: 'application/vnd.sbom+json' }, 'sbom');
      const index = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: [], subject };
      const untyped = await pushManifest(call, 'r', index);
      const typed = await pushManifest(call, 'r', { ...index, artifactType: 'application/vnd.x' });
      for (const { reply } of [plain, sbom, untyped, typed]) {
        assert.equal(reply.status, 201);
        assert.equal(reply.headers['oci-subject'], subject.digest);
      }
      const want = [
        { ...descriptorOf(plain), artifactType: MEDIA_TYPE.ociConfig, annotations: { who: 'plain' } },
        { ...descriptorOf(sbom), artifactType: 'application/vnd.sbom+json' },
        descriptorOf(untyped),
        { ...descriptorOf(typed), artifactType: 'application/vnd.x' },
      ].sort((a, b) => (a.digest < b.digest ? -1 : 1));
      const all = await referrers(call, 'r', subject.digest);
      assert.deepEqual(all.manifests, want);
      assert.equal(all.reply.headers['oci-filters-applied'], undefined);
      const query = `?artifactType=${encodeURIComponent('application/vnd.sbom+json')}`;
      const filtered = await referrers(call, 'r', subject.digest, query);
      assert.equal(filtered.reply.headers['oci-filters-applied'], 'artifactType');
      assert.deepEqual(
        filtered.manifests.map((entry) => entry.digest),
        [sbom.digest],
      );
      assert.deepEqual((await referrers(call, 'other', subject.digest)).manifests, []);
    });

    test('the subject may come later or never, and a deleted referrer is listed no more', async (t) => {
      const { call } = await bench(t, store);
      const first = await pushImage(call, 'r', { subject: absent });
      const second = await pushImage(call, 'r', { subject: absent, artifactType: 'application/vnd.y' });
      assert.equal((await referrers(call, 'r', absent.digest)).manifests.length, 2);
      assert.equal((await call('DELETE', `/v2/r/manifests/${first.digest}`)).status, 202);
      const { manifests } = await referrers(call, 'r', absent.digest);
      assert.deepEqual(
        manifests.map((entry) => entry.digest),
        [second.digest],
      );
    });

    test('a list longer than one index is paged by Link, with its filter', async (t) => {
      const { call } = await bench(t, store);
      const pushed: string[] = [];
      for (let i = 0; i < 4; i++) {
        const index = {
          schemaVersion: 2,
          mediaType: MEDIA_TYPE.ociIndex,
          manifests: [],
          subject: absent,
          artifactType: 'application/vnd.z',
        };
        const big = await pushManifest(call, 'r', { ...index, annotations: { [`n${i}`]: 'x'.repeat(1_500_000) } });
        assert.equal(big.reply.status, 201);
        pushed.push(big.digest);
      }
      const seen: string[] = [];
      let pages = 0;
      for (let path: string | undefined = `?artifactType=application/vnd.z`; path !== undefined; pages++) {
        const { reply, manifests } = await referrers(call, 'r', absent.digest, path.slice(path.indexOf('?')));
        assert.ok(reply.body.length <= 4 * 1024 * 1024);
        seen.push(...manifests.map((entry) => entry.digest));
        path = /^<([^>]+)>; rel="next"$/.exec(String(reply.headers.link ?? ''))?.[1];
        if (path !== undefined) assert.match(path, /artifactType=application%2Fvnd\.z/);
      }
      assert.deepEqual(seen, pushed.sort());
      assert.equal(pages, 2);
    });

    test('without the referrers API it is 404 and nobody is told of a subject, like CNCF distribution', async (t) => {
      const { call } = await bench(t, store, { referrersApi: false });
      const { reply } = await pushImage(call, 'r', { subject: absent });
      assert.equal(reply.headers['oci-subject'], undefined);
      assert.equal((await call('GET', `/v2/r/referrers/${absent.digest}`)).status, 404);
    });
  });
}
