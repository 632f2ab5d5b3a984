import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { describe, test } from 'node:test';
import { digestOf } from '../../src/core/digest.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import { startRegistry } from '../../src/serve/server.ts';
import {
  assertRefused,
  bench,
  type Call,
  caller,
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

/** The entries of all pages, the Link of each followed to the next. */
async function follow(call: Call, start: string, field: 'tags' | 'repositories'): Promise<string[]> {
  const seen: string[] = [];
  for (let path: string | undefined = start; path !== undefined; ) {
    const reply: Reply = await call('GET', path);
    assert.equal(reply.status, 200);
    const page = JSON.parse(reply.body.toString())[field] as string[];
    assert.ok(page.length > 0, `${path} is empty`);
    seen.push(...page);
    path = /^<([^>]+)>; rel="next"$/.exec(String(reply.headers.link ?? ''))?.[1];
  }
  return seen;
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

    test('last without n gives all after it; n beyond the end, n=1, and the Link followed to the end, give each tag once', async (t) => {
      const { call } = await bench(t, store);
      const image = await pushImage(call, 'd');
      const tags = ['-', 'a', 'B', 'a.1', 'a-1', 'a_1', 'Z', '0'].map((tag) => `x${tag}`);
      const query = tags.map((tag) => `tag=${tag}`).join('&');
      await call('PUT', `/v2/d/manifests/${image.digest}?${query}`, {
        body: image.bytes,
        headers: { 'content-type': image.mediaType },
      });
      const sorted = tags.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      for (const [i, last] of sorted.entries()) {
        assert.deepEqual(tagsOf(await call('GET', `/v2/d/tags/list?last=${last}`)), sorted.slice(i + 1));
      }
      for (const n of [1, 3, 8, 100]) assert.deepEqual(await follow(call, `/v2/d/tags/list?n=${n}`, 'tags'), sorted);
      const one = await call('GET', '/v2/d/tags/list?n=1&last=xB');
      assert.equal(one.headers.link, '</v2/d/tags/list?n=1&last=xZ>; rel="next"');
      assert.deepEqual(tagsOf(await call('GET', '/v2/d/tags/list?n=0&last=xB')), []);
      for (const digits of [10, 400])
        assert.deepEqual(tagsOf(await call('GET', `/v2/d/tags/list?n=${'9'.repeat(digits)}`)), sorted);
      for (const bad of ['n=', 'n=1.5', 'n=+1', 'n=%31%00'])
        assertRefused(await call('GET', `/v2/d/tags/list?${bad}`), 400, 'UNSUPPORTED');
    });

    test('the catalog lists repositories in byte order, by n, last and Link', async (t) => {
      const { call } = await bench(t, store);
      const catalog = async (query = '') => {
        const reply = await call('GET', `/v2/_catalog${query}`);
        assert.equal(reply.status, 200);
        assert.equal(reply.headers['content-type'], 'application/json');
        return { reply, names: JSON.parse(reply.body.toString()).repositories as string[] };
      };
      assert.deepEqual((await catalog()).names, []);
      const names = ['a-b', 'a/b', 'a/b/c', 'aa', 'b/blobs/uploads'];
      for (const name of [...names].reverse()) await pushBlob(call, name, Buffer.from('x'));
      const all = await catalog();
      assert.deepEqual(all.names, names);
      assert.equal(all.reply.headers.link, undefined);
      for (const n of [1, 2, 5, 100]) assert.deepEqual(await follow(call, `/v2/_catalog?n=${n}`, 'repositories'), names);
      assert.deepEqual((await catalog('?last=a/b')).names, ['a/b/c', 'aa', 'b/blobs/uploads']);
      assert.equal((await catalog('?n=1&last=a/b')).reply.headers.link, '</v2/_catalog?n=1&last=a%2Fb%2Fc>; rel="next"');
      const none = await catalog('?n=0');
      assert.deepEqual(none.names, []);
      assert.equal(none.reply.headers.link, undefined);
      assertRefused(await call('GET', '/v2/_catalog?n=x'), 400, 'UNSUPPORTED');
      assertRefused(await call('DELETE', '/v2/_catalog'), 405, 'UNSUPPORTED');
      assert.equal((await call('HEAD', '/v2/_catalog')).status, 200);
    });

    test('the catalog names only what its reader may pull, and a page is full of that', async (t) => {
      const { content, call: write } = await bench(t, store);
      for (const name of ['a', 'b/secret', 'c', 'd']) await pushBlob(write, name, Buffer.from('x'));
      const may = (_: string, repository: string) => repository !== 'b/secret';
      const registry = await startRegistry({ content, auth: { kind: 'basic', users: { u: 'p' }, may } });
      const agent = new Agent({ keepAlive: true });
      t.after(async () => {
        agent.destroy();
        await registry.close(0);
      });
      const call = caller(registry.url, agent);
      assertRefused(await call('GET', '/v2/_catalog'), 401, 'UNAUTHORIZED');
      const headers = { authorization: `Basic ${Buffer.from('u:p').toString('base64')}` };
      const reply = await call('GET', '/v2/_catalog?n=2', { headers });
      assert.deepEqual(JSON.parse(reply.body.toString()).repositories, ['a', 'c']);
      assert.match(String(reply.headers.link), /last=c>/);
    });

    test('a deleted referrer is listed no more; deleting the subject leaves its referrers', async (t) => {
      const { call } = await bench(t, store);
      const image = await pushImage(call, 'r');
      const [a, b] = [
        await pushImage(call, 'r', { subject: descriptorOf(image) }),
        await pushImage(call, 'r', { subject: descriptorOf(image) }),
      ];
      const listed = async () => (await referrers(call, 'r', image.digest)).manifests.map((entry) => entry.digest);
      assert.deepEqual(await listed(), [a.digest, b.digest].sort());
      assert.equal((await call('DELETE', `/v2/r/manifests/${a.digest}`)).status, 202);
      assert.deepEqual(await listed(), [b.digest]);
      assert.equal((await call('DELETE', `/v2/r/manifests/${image.digest}`)).status, 202);
      assert.deepEqual(await listed(), [b.digest]);
      assert.equal((await call('HEAD', `/v2/r/manifests/${b.digest}`)).status, 200);
      assert.deepEqual((await referrers(call, 'other', image.digest)).manifests, [], 'referrers of one repository only');
    });

    test('what an older client noted under the fallback tag is listed too, once, with what the manifests say themselves', async (t) => {
      const { call } = await bench(t, store);
      const image = await pushImage(call, 'r');
      const subject = descriptorOf(image);
      const own = await pushImage(call, 'r', { subject, annotations: { who: 'own' } });
      const noted = await pushImage(call, 'r', { artifactType: 'application/vnd.noted', annotations: { who: 'noted' } });
      const plain = await pushImage(call, 'r');
      const elsewhere = await pushImage(call, 'r', { subject: absent });
      const entries = [
        descriptorOf(own),
        descriptorOf(noted),
        { ...descriptorOf(plain), annotations: { who: 'the client says' } },
        descriptorOf(elsewhere),
        descriptorOf(noted),
      ];
      const list = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: entries };
      const tag = subject.digest.replace(':', '-');
      assert.equal((await pushManifest(call, 'r', list, tag)).reply.status, 201);
      const want = [
        { ...descriptorOf(own), artifactType: MEDIA_TYPE.ociConfig, annotations: { who: 'own' } },
        { ...descriptorOf(noted), artifactType: 'application/vnd.noted', annotations: { who: 'noted' } },
        { ...descriptorOf(plain), artifactType: MEDIA_TYPE.ociConfig, annotations: { who: 'the client says' } },
      ].sort((a, b) => (a.digest < b.digest ? -1 : 1));
      assert.deepEqual((await referrers(call, 'r', subject.digest)).manifests, want);
      const filtered = await referrers(call, 'r', subject.digest, '?artifactType=application/vnd.noted');
      assert.deepEqual(
        filtered.manifests.map((entry) => entry.digest),
        [noted.digest],
      );
      await call('DELETE', `/v2/r/manifests/${noted.digest}`);
      const left = (await referrers(call, 'r', subject.digest)).manifests.map((entry) => entry.digest);
      assert.deepEqual(left, [own.digest, plain.digest].sort(), 'the list is old, the manifest has gone');
    });

    test('under a fallback tag a sha512 subject is cut to 64 characters, and what is no index is no list', async (t) => {
      const { call } = await bench(t, store);
      const referrer = await pushImage(call, 'r', { artifactType: 'application/vnd.x' });
      const list = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: [descriptorOf(referrer)] };
      const subject = digestOf(Buffer.from('subject'), 'sha512');
      assert.equal((await pushManifest(call, 'r', list, `sha512-${subject.slice(7, 71)}`)).reply.status, 201);
      assert.deepEqual(
        (await referrers(call, 'r', subject)).manifests.map((entry) => entry.digest),
        [referrer.digest],
      );
      await pushImage(call, 'r', {}, absent.digest.replace(':', '-'));
      assert.deepEqual((await referrers(call, 'r', absent.digest)).manifests, []);
      const itself = await pushManifest(call, 'r', list);
      await pushManifest(call, 'r', list, itself.digest.replace(':', '-'));
      assert.deepEqual((await referrers(call, 'r', itself.digest)).manifests, [], 'the children of an index do not refer to it');
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
