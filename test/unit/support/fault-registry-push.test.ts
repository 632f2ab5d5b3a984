import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type FaultRegistry, type Switches, startFaultRegistry } from '../../support/fault-registry.ts';
import { blobOf, randomArtifact, randomImage, randomIndex } from '../../support/random-image.ts';

const MIB = 1024 * 1024;
const send = (url: string, method: string, body?: Buffer | string, headers: Record<string, string> = {}) =>
  fetch(url, { method, headers, redirect: 'manual', ...(body === undefined ? {} : { body }) });
const open = async (registry: FaultRegistry, query = '') => send(`${registry.url}/v2/a/b/blobs/uploads/${query}`, 'POST');
const locationOf = (answer: Response): string => answer.headers.get('location') ?? '';

async function pushBlob(registry: FaultRegistry, content: string, digest = blobOf(content).digest): Promise<Response> {
  return send(`${locationOf(await open(registry))}&digest=${digest}`, 'PUT', content);
}

describe('the stand-in registry and what is pushed to it', () => {
  it('moves the upload elsewhere, or names no place', async (t) => {
    const registry = await startFaultRegistry(t);
    const location = async (form: Switches['location']) => {
      registry.switches.location = form;
      return locationOf(await open(registry));
    };
    assert.match(await location('relative'), /^\/v2\/a\/b\/blobs\/uploads\/.*_state=/);
    assert.equal(await location('missing'), '');
    assert.equal((await send(await location('other-host'), 'PUT', 'x')).status, 401);
    const works = await location('other-host-works');
    assert.ok(works.startsWith(registry.urls.elsewhere));
    assert.equal((await send(`${works}&digest=${blobOf('x').digest}`, 'PUT', 'x')).status, 201);
  });

  it('caps and drops chunks, caps whole uploads, and loses sessions', async (t) => {
    const registry = await startFaultRegistry(t, { switches: { upload: 'patch-max-4MiB' } });
    const patch = async (url: string, size: number) => send(url, 'PATCH', Buffer.alloc(size));
    assert.equal((await patch(locationOf(await open(registry)), 4 * MIB + 1)).status, 416);
    assert.equal((await patch(locationOf(await open(registry)), 4 * MIB)).status, 202);
    registry.switches.upload = 'patch-drops-2nd';
    const first = await patch(locationOf(await open(registry)), 10);
    const second = await patch(locationOf(first), 10);
    assert.equal(second.status, 202);
    assert.equal(second.headers.get('range'), '0-9');
    registry.switches.upload = 'range-quay';
    assert.equal((await open(registry)).headers.get('range'), 'bytes=0--1');
    Object.assign(registry.switches, { upload: 'normal', putMaxBytes: 2 });
    assert.equal((await pushBlob(registry, 'abc')).status, 413);
    Object.assign(registry.switches, { putMaxBytes: 100, sessionLosses: 1 });
    assert.equal((await pushBlob(registry, 'abc')).status, 404);
    assert.equal((await pushBlob(registry, 'abc')).status, 201);
    registry.switches.chunkMinLength = 100;
    assert.equal((await open(registry)).headers.get('oci-chunk-min-length'), '100');
    Object.assign(registry.switches, { upload: '10min', uploadTimeLimitMs: 20 });
    async function* slowly(): AsyncGenerator<Buffer> {
      for (let i = 0; i < 40; i++) yield await delay(5, Buffer.from('x'));
    }
    await assert.rejects(
      fetch(locationOf(await open(registry)), { method: 'PATCH', body: slowly(), duplex: 'half' } as RequestInit),
    );
  });

  it('says yes and keeps something else, or nothing', async (t) => {
    const registry = await startFaultRegistry(t, { switches: { upload: 'stores-other-bytes' } });
    const { digest } = blobOf('abc');
    assert.equal((await pushBlob(registry, 'abc')).status, 201);
    assert.notEqual(await (await fetch(`${registry.url}/v2/a/b/blobs/${digest}`)).text(), 'abc');
    registry.switches.upload = 'loses-after-201';
    assert.equal((await pushBlob(registry, 'def')).status, 201);
    assert.equal(registry.hasBlob('a/b', blobOf('def').digest), false);
    registry.switches.upload = 'post-digest-202';
    assert.equal((await send(`${registry.url}/v2/a/b/blobs/uploads/?digest=${digest}`, 'POST', 'abc')).status, 202);
  });

  it('mounts, or does not', async (t) => {
    const registry = await startFaultRegistry(t);
    const image = await randomImage();
    registry.addBlob('from', blobOf('loose'));
    registry.add('from', 'v1', image);
    const status = async (mount: Switches['mount'], digest = image.blobs[0]?.digest, from = '&from=from') => {
      registry.switches.mount = mount;
      return (await open(registry, `?mount=${digest}${from}`)).status;
    };
    assert.equal(await status('202'), 202);
    assert.equal(await status('401'), 401);
    assert.equal(await status('404'), 404);
    assert.equal(await status('only-referenced', blobOf('loose').digest), 202);
    assert.equal(await status('from-required', image.blobs[0]?.digest, ''), 400);
    assert.equal(await status('201', image.blobs[0]?.digest, ''), 201);
  });

  it('has opinions about names, tags, digests and manifests', async (t) => {
    const registry = await startFaultRegistry(t);
    const image = await randomImage();
    registry.add('a/b', 'v1', image);
    const put = (path: string, body = image.root.bytes, type = image.root.mediaType) =>
      send(`${registry.url}/v2/${path}`, 'PUT', body, { 'content-type': type });
    registry.switches.tag = 'immutable-400';
    assert.match(await (await put('a/b/manifests/v1')).text(), /TAG_INVALID.*immutable/);
    registry.switches.tag = 'immutable-409';
    assert.equal((await put('a/b/manifests/v1')).status, 409);
    registry.switches.repo = 'must-exist';
    assert.equal((await put('new/repo/manifests/v1')).status, 404);
    registry.switches.repo = 'two-segments';
    assert.equal((await put('one/two/three/manifests/v1')).status, 400);
    Object.assign(registry.switches, { repo: 'free', manifest: 'max-4MiB' });
    assert.equal((await put('a/b/manifests/big', Buffer.alloc(4 * MIB + 1))).status, 413);
    registry.switches.manifest = 'need-mediatype';
    const bare = Buffer.from(JSON.stringify({ ...JSON.parse(image.root.bytes.toString()), mediaType: undefined }));
    assert.match(await (await put('a/b/manifests/bare', bare)).text(), /Invalid JSON syntax/);
    const artifact = randomArtifact();
    registry.switches.manifest = '405-artifact';
    assert.equal((await put('a/b/manifests/artifact', artifact.root.bytes)).status, 405);
    registry.switches.manifest = 'stores-other-bytes';
    assert.equal((await put('a/b/manifests/v2')).status, 201);
    assert.notDeepEqual(registry.manifestAt('a/b', 'v2')?.bytes, image.root.bytes);
    const index = await randomIndex({ seed: 9 });
    registry.switches.manifest = 'sparse-refused';
    assert.equal((await put('a/b/manifests/index', index.root.bytes, index.root.mediaType)).status, 400);
    registry.switches.manifest = 'sparse-ok';
    assert.equal((await put('a/b/manifests/index', index.root.bytes, index.root.mediaType)).status, 201);
  });

  it('refuses sha512, or takes it under another name', async (t) => {
    const registry = await startFaultRegistry(t, { switches: { sha512: 'refused' } });
    const { digest } = blobOf('abc', 'sha512');
    assert.equal((await pushBlob(registry, 'abc', digest)).status, 400);
    registry.switches.sha512 = 'downgraded';
    const answer = await pushBlob(registry, 'abc', digest);
    assert.deepEqual([answer.status, answer.headers.get('docker-content-digest')], [201, blobOf('abc').digest]);
    registry.switches.sha512 = 'ok';
    assert.equal((await pushBlob(registry, 'abc', digest)).headers.get('docker-content-digest'), digest);
  });
});
