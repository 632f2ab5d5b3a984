import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MANIFEST_ACCEPT, MEDIA_TYPE } from '../../../src/core/media-types.ts';
import { type FaultRegistry, type Switches, startFaultRegistry } from '../../support/fault-registry.ts';
import { digestOfBytes, randomImage, randomIndex, schema1Image, type TestImage } from '../../support/random-image.ts';
import type { Ending } from '../../support/temp-dir.ts';

type Set = { registry: FaultRegistry; image: TestImage; blobPath: string; blob: Buffer };

async function start(t: Ending, switches: Partial<Switches> = {}): Promise<Set> {
  const registry = await startFaultRegistry(t, { switches });
  const image = await randomImage({ bytes: 9000 });
  registry.add('a/b', 'v1', image);
  const blob = image.layers[0]?.blob.bytes as Buffer;
  return { registry, image, blob, blobPath: `/v2/a/b/blobs/${image.layers[0]?.blob.digest}` };
}

const ask = (registry: FaultRegistry, path: string, init: RequestInit = {}) =>
  fetch(path.startsWith('/') ? registry.url + path : path, { redirect: 'manual', ...init });
const bytesOf = async (answer: Response) => Buffer.from(await answer.arrayBuffer());

describe('the stand-in registry and its blobs', () => {
  it('redirects to storage that refuses our header, other methods, other spellings and old addresses', async (t) => {
    const { registry, blobPath, blob } = await start(t, { blob: '307-s3' });
    const location = (await ask(registry, blobPath)).headers.get('location') ?? '';
    assert.ok(location.startsWith(registry.urls.cdn));
    assert.deepEqual(await bytesOf(await ask(registry, location)), blob);
    const withHeader = await ask(registry, location, { headers: { authorization: 'Bearer x' } });
    assert.equal(withHeader.status, 400);
    assert.match(await withHeader.text(), /Only one auth mechanism allowed/);
    assert.equal((await ask(registry, location, { method: 'HEAD' })).status, 403);
    assert.equal((await ask(registry, location.replace('X-Amz-Expires=1200&', ''))).status, 403);
    assert.equal((await ask(registry, location, { headers: { range: 'bytes=5-' } })).status, 206);
    registry.expireUrls();
    assert.match(await (await ask(registry, location)).text(), /Request has expired/);
  });

  it('redirects in every other way', async (t) => {
    const { registry, blobPath, blob } = await start(t);
    const to = async (form: Switches['blob']) => {
      registry.switches.blob = form;
      const answer = await ask(registry, blobPath);
      return `${answer.status} ${answer.headers.get('location')}`;
    };
    assert.match(await to('307-azure'), /^307 .*\/ghcr1\/\/docker/);
    const relative = await to('302-relative');
    assert.match(relative, /^302 \/artifacts-downloads/);
    assert.deepEqual(await bytesOf(await ask(registry, relative.slice(4))), blob);
    assert.match(await to('302-html-cached'), /^302 /);
    assert.ok((await to('307-http')).startsWith(`307 ${registry.urls.plain}`));
    assert.match(await to('307-private-ip'), /169\.254\.169\.254/);
    assert.equal(await to('ring'), `307 ${blobPath}`);
    const back = await to('307-there-and-back');
    assert.equal((await ask(registry, back.slice(4))).headers.get('location'), registry.url + blobPath);
    const challenge = await ask(registry, (await to('307-foreign-401')).slice(4));
    assert.match(challenge.headers.get('www-authenticate') ?? '', /Basic realm="elsewhere"/);
    registry.switches.cdn = 'alternate';
    const hosts = [await to('307-s3'), await to('307-s3')].map((text) => new URL(text.slice(4)).origin);
    assert.deepEqual(hosts.sort(), [registry.urls.cdn, registry.urls.cdn2].sort());
  });

  it('gets ranges wrong when told to', async (t) => {
    const { registry, blobPath, blob } = await start(t);
    const got = async (range: Switches['range']) => {
      registry.switches.range = range;
      const answer = await ask(registry, blobPath, { headers: { range: 'bytes=100-' } });
      return [answer.status, answer.headers.get('content-range'), (await bytesOf(answer)).length];
    };
    const size = blob.length;
    assert.deepEqual(await got('206'), [206, `bytes 100-${size - 1}/${size}`, size - 100]);
    assert.deepEqual(await got('ignored-200'), [200, null, size]);
    assert.deepEqual(await got('206-wrong-offset'), [206, `bytes 0-${size - 1}/${size}`, size]);
    assert.deepEqual(await got('206-no-header'), [206, null, size - 100]);
    assert.deepEqual(await got('206-wrong-total'), [206, `bytes 100-${size - 1}/${size + 1}`, size - 100]);
    assert.deepEqual(await got('416'), [416, `bytes */${size}`, 0]);
    assert.deepEqual(await got('416-empty'), [416, 'bytes */0', 0]);
  });

  it('lies about content, in body and in HEAD', async (t) => {
    const { registry, blobPath, blob, image } = await start(t, { blobLie: 'same-size' });
    const lie = await bytesOf(await ask(registry, blobPath));
    assert.equal(lie.length, blob.length);
    assert.notDeepEqual(lie, blob);
    Object.assign(registry.switches, { blobLie: 'none', headLies: 'size' });
    const head = () => ask(registry, blobPath, { method: 'HEAD' });
    assert.equal((await head()).headers.get('content-length'), String(blob.length + 1));
    registry.switches.headLies = 'digest';
    assert.notEqual((await head()).headers.get('docker-content-digest'), image.layers[0]?.blob.digest);
    registry.switches.headLies = 'exists';
    const missing = `/v2/a/b/blobs/${digestOfBytes(Buffer.from('nobody'))}`;
    assert.equal((await ask(registry, missing, { method: 'HEAD' })).status, 200);
    assert.equal((await ask(registry, missing)).status, 404);
    Object.assign(registry.switches, { headLies: 'none', contentEncoding: 'gzip' });
    const encoded = await ask(registry, blobPath);
    assert.equal(encoded.headers.get('content-encoding'), 'gzip');
    assert.deepEqual(await bytesOf(encoded), blob, 'fetch decodes it');
  });
});

describe('the stand-in registry and its manifests', () => {
  it('lies about them', async (t) => {
    const { registry, image } = await start(t, { manifestLie: 'other-manifest' });
    const path = `/v2/a/b/manifests/${image.digest}`;
    const swapped = await ask(registry, path);
    assert.equal(swapped.headers.get('docker-content-digest'), image.digest);
    assert.equal(((await swapped.json()) as { annotations: { swapped: string } }).annotations.swapped, 'yes');
    Object.assign(registry.switches, { manifestLie: 'none', dcd: 'lying' });
    const lying = await ask(registry, path);
    assert.notEqual(lying.headers.get('docker-content-digest'), image.digest);
    assert.deepEqual(await bytesOf(lying), image.root.bytes);
    Object.assign(registry.switches, { dcd: 'none', ctype: 'charset' });
    const plain = await ask(registry, path);
    assert.equal(plain.headers.get('docker-content-digest'), null);
    assert.equal(plain.headers.get('content-type'), `${MEDIA_TYPE.ociManifest};charset=ISO-8859-1`);
    registry.switches.ctype = 'other-kind';
    assert.equal((await ask(registry, path)).headers.get('content-type'), MEDIA_TYPE.ociIndex);
  });

  it('looks at Accept as quay.io does', async (t) => {
    const { registry } = await start(t, { accept: 'literal' });
    const path = '/v2/a/b/manifests/v1';
    assert.equal((await ask(registry, path, { headers: { accept: '*/*' } })).status, 404);
    assert.equal((await ask(registry, path, { headers: { accept: MANIFEST_ACCEPT } })).status, 200);
    registry.switches.accept = 'schema1-default';
    assert.equal((await ask(registry, path)).headers.get('content-type'), MEDIA_TYPE.dockerSchema1Signed);
    registry.add('old', 'v1', schema1Image());
    assert.equal((await ask(registry, '/v2/old/manifests/v1', { headers: { accept: '*/*' } })).status, 200);
  });

  it('stands behind fronts: registry.k8s.io, a proxy with a foreign realm, Harbor', async (t) => {
    const { registry, image } = await start(t, { auth: 'bearer' });
    const front = await startFaultRegistry(t, { switches: { front: '307-all-drop-query', frontTo: registry.url } });
    assert.equal((await ask(front, '/v2/')).status, 200);
    assert.equal((await ask(front, '/v2/a/b/tags/list?n=2')).headers.get('location'), `${registry.url}/v2/a/b/tags/list`);
    front.switches.front = 'foreign-realm';
    const refused = await ask(front, '/v2/a/b/manifests/v1');
    assert.match(refused.headers.get('www-authenticate') ?? '', new RegExp(`realm="${registry.url}/token"`));
    const authorization = `Bearer ${registry.issueToken('a/b', ['pull'])}`;
    const passed = await ask(front, '/v2/a/b/manifests/v1', { headers: { authorization } });
    assert.deepEqual(await bytesOf(passed), image.root.bytes);
    Object.assign(front.switches, { front: 'off', harborLibrary: '301' });
    const moved = await ask(front, '/v2/hub/alpine/manifests/v1');
    assert.deepEqual([moved.status, moved.headers.get('location')], [301, '/v2/hub/library/alpine/manifests/v1']);
  });

  it('counts GETs of manifests, not HEADs', async (t) => {
    const { registry } = await start(t, { rate: 'hub-429-json', rateLimit: 1 });
    const path = '/v2/a/b/manifests/v1';
    for (let i = 0; i < 3; i++) assert.equal((await ask(registry, path, { method: 'HEAD' })).status, 200);
    assert.equal((await ask(registry, path)).headers.get('ratelimit-remaining'), '0;w=21600');
    assert.match(await (await ask(registry, path)).text(), /pull rate limit/);
    Object.assign(registry.switches, { rate: '429-retry-after', retryAfter: '1000000000' });
    assert.equal((await ask(registry, path)).headers.get('retry-after'), '1000000000');
    registry.switches.rate = '503-egress';
    assert.equal((await ask(registry, path)).status, 503);
  });
});

describe('the stand-in registry and its lists', () => {
  it('pages tags in every form', async (t) => {
    const { registry, image } = await start(t);
    for (let i = 0; i < 250; i++) registry.storage.repository('a/b').tags.set(`t${String(i).padStart(3, '0')}`, image.digest);
    const page = async (query: string, tags: Switches['tags']) => {
      registry.switches.tags = tags;
      const answer = await ask(registry, `/v2/a/b/tags/list${query}`);
      return {
        status: answer.status,
        link: answer.headers.get('link'),
        ...((await answer.json()) as { tags?: (string | null)[] }),
      };
    };
    assert.equal((await page('', 'normal')).tags?.length, 251);
    const capped = await page('?n=1000', 'cap-100');
    assert.equal(capped.tags?.length, 100);
    assert.equal(capped.link, '</v2/a/b/tags/list?n=100&last=t099>; rel="next"');
    assert.equal((await page('?n=100&last=t199', 'cap-100')).tags?.length, 51);
    assert.equal((await page('?n=1001', 'n-max-1000')).status, 400);
    assert.equal((await page('', 'nulls')).tags?.[0], null);
    assert.ok((await page('', 'digests')).tags?.includes(image.digest));
    assert.ok((await page('?n=2', 'link-absolute')).link?.startsWith(`<${registry.url}/v2/`));
    assert.ok((await page('?n=2', 'link-other-host')).link?.startsWith(`<${registry.urls.elsewhere}/v2/`));
    assert.equal((await page('?x=1', 'self-link')).link, '</v2/a/b/tags/list?x=1>; rel="next"');
    assert.match((await page('?n=100&last=t500', 'endless')).link ?? '', /last=t600/);
  });

  it('has no referrers API in every form, or one without end', async (t) => {
    const { registry, image } = await start(t);
    const answer = (referrers: Switches['referrers'], query = '') => {
      registry.switches.referrers = referrers;
      return ask(registry, `/v2/a/b/referrers/${image.digest}${query}`);
    };
    for (const form of ['404-json', '404-html', '405', '406', '400', '503'] as const)
      assert.equal((await answer(form)).status, Number(form.slice(0, 3)));
    assert.equal((await answer('200-html')).headers.get('content-type'), 'text/html');
    assert.match((await answer('endless', '?page=7')).headers.get('link') ?? '', /page=8/);
    assert.match((await answer('self-link')).headers.get('link') ?? '', new RegExp(image.digest));
    assert.equal((await answer('api', '?artifactType=x')).headers.get('oci-filters-applied'), 'artifactType');
    assert.equal((await answer('unfiltered', '?artifactType=x')).headers.get('oci-filters-applied'), null);
    const fallback = `/v2/a/b/manifests/${image.digest.replace(':', '-')}`;
    assert.equal((await ask(registry, fallback)).status, 404);
    registry.switches.fallbackTag = 'resolves-digest';
    assert.equal((await ask(registry, fallback)).headers.get('docker-content-digest'), image.digest);
  });

  it('says where an index names platforms', async () => {
    const index = await randomIndex({ platforms: ['linux/arm/v7', 'linux/amd64'], attestations: true });
    const body = JSON.parse(index.root.bytes.toString()) as { manifests: { platform: object }[] };
    assert.deepEqual(body.manifests[0]?.platform, { architecture: 'arm', os: 'linux', variant: 'v7' });
    assert.deepEqual(body.manifests[3]?.platform, { architecture: 'unknown', os: 'unknown' });
  });
});
