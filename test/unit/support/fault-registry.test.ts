import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MEDIA_TYPE } from '../../../src/core/media-types.ts';
import { type FaultRegistry, startFaultRegistry } from '../../support/fault-registry.ts';
import { blobOf, randomArtifact, randomImage, randomIndex, syntheticBlob, type TestImage } from '../../support/random-image.ts';

const get = (registry: FaultRegistry, path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(registry.url + path, { redirect: 'manual', ...init });

async function push(registry: FaultRegistry, repository: string, tag: string, image: TestImage): Promise<void> {
  for (const blob of image.blobs) {
    const opened = await get(registry, `/v2/${repository}/blobs/uploads/`, { method: 'POST' });
    assert.equal(opened.status, 202);
    const url = `${opened.headers.get('location')}&digest=${encodeURIComponent(blob.digest)}`;
    const body = Buffer.concat([...blob.read(0, blob.size)]);
    assert.equal((await fetch(url, { method: 'PUT', body })).status, 201);
  }
  for (const manifest of image.manifests) {
    const reference = manifest.digest === image.digest ? tag : manifest.digest;
    const put = { method: 'PUT', headers: { 'content-type': manifest.mediaType }, body: manifest.bytes };
    assert.equal((await get(registry, `/v2/${repository}/manifests/${reference}`, put)).status, 201);
  }
}

describe('the stand-in registry, well behaved', () => {
  it('serves what was put in: ping, tags, manifests by tag and digest, blobs, ranges', async (t) => {
    const registry = await startFaultRegistry(t);
    const image = await randomIndex({ attestations: true });
    registry.add('lib/app', 'v1', image);
    assert.equal((await get(registry, '/v2/')).status, 200);
    assert.deepEqual(await (await get(registry, '/v2/lib/app/tags/list')).json(), { name: 'lib/app', tags: ['v1'] });
    for (const reference of ['v1', image.digest]) {
      const answer = await get(registry, `/v2/lib/app/manifests/${reference}`);
      assert.equal(answer.headers.get('content-type'), MEDIA_TYPE.ociIndex);
      assert.equal(answer.headers.get('docker-content-digest'), image.digest);
      assert.deepEqual(Buffer.from(await answer.arrayBuffer()), image.root.bytes);
    }
    const blob = image.blobs[1] as (typeof image.blobs)[0];
    const bytes = Buffer.concat([...blob.read(0, blob.size)]);
    const path = `/v2/lib/app/blobs/${blob.digest}`;
    assert.deepEqual(Buffer.from(await (await get(registry, path)).arrayBuffer()), bytes);
    const part = await get(registry, path, { headers: { range: 'bytes=10-' } });
    assert.equal(part.status, 206);
    assert.equal(part.headers.get('content-range'), `bytes 10-${blob.size - 1}/${blob.size}`);
    assert.deepEqual(Buffer.from(await part.arrayBuffer()), bytes.subarray(10));
    const head = await get(registry, path, { method: 'HEAD' });
    assert.equal(head.headers.get('content-length'), String(blob.size));
    assert.equal((await get(registry, '/v2/lib/app/manifests/v2')).status, 404);
  });

  it('takes pushes whole, in chunks and by mount, and refuses a wrong order and a wrong digest', async (t) => {
    const registry = await startFaultRegistry(t);
    const image = await randomImage();
    const early = { method: 'PUT', headers: { 'content-type': image.root.mediaType }, body: image.root.bytes };
    const refused = await get(registry, '/v2/a/b/manifests/v1', early);
    assert.equal(refused.status, 400);
    assert.match(await refused.text(), /MANIFEST_BLOB_UNKNOWN/);
    await push(registry, 'a/b', 'v1', image);
    assert.deepEqual(registry.manifestAt('a/b', 'v1')?.bytes, image.root.bytes);

    const mounted = await get(registry, `/v2/c/d/blobs/uploads/?mount=${image.blobs[0]?.digest}&from=a/b`, { method: 'POST' });
    assert.equal(mounted.status, 201);
    assert.ok(registry.hasBlob('c/d', image.blobs[0]?.digest ?? ''));

    const blob = blobOf('0123456789');
    let location = (await get(registry, '/v2/c/d/blobs/uploads/', { method: 'POST' })).headers.get('location') ?? '';
    const first = location;
    for (const [range, body, status] of [
      ['5-9', '56789', 416],
      ['0-4', '01234', 202],
      ['5-9', '56789', 202],
    ] as const) {
      const answer = await fetch(location, { method: 'PATCH', headers: { 'content-range': range }, body });
      assert.equal(answer.status, status, range);
      location = answer.headers.get('location') ?? '';
    }
    assert.equal((await fetch(first, { method: 'GET' })).status, 404, 'an old Location is not honoured');
    assert.equal((await fetch(`${location}&digest=${blob.digest}`, { method: 'PUT' })).status, 201);
    const wrong = await get(registry, `/v2/c/d/blobs/uploads/?digest=${blob.digest}`, { method: 'POST', body: 'other' });
    assert.equal(wrong.status, 400);
  });

  it('takes sha512, Docker lists and artifacts with a subject, and lists referrers', async (t) => {
    const registry = await startFaultRegistry(t);
    await push(registry, 'a', 'docker', await randomIndex({ docker: true }));
    const image = await randomImage({ seed: 3, algorithm: 'sha512' });
    registry.add('a', 'long', image);
    assert.ok(registry.manifestAt('a', 'long')?.digest.startsWith('sha512:'));
    const subject = await randomImage({ seed: 4 });
    await push(registry, 'a', 'subject', subject);
    await push(
      registry,
      'a',
      'note',
      randomArtifact({ subject: subject.descriptor, artifactType: 'application/vnd.example.note' }),
    );
    const list = (await (await get(registry, `/v2/a/referrers/${subject.digest}`)).json()) as {
      manifests: { artifactType: string }[];
    };
    assert.deepEqual(
      list.manifests.map((m) => m.artifactType),
      ['application/vnd.example.note'],
    );
  });

  it('records every request with host, headers, bytes and answer, and calls the hook before it', async (t) => {
    const registry = await startFaultRegistry(t);
    registry.onRequest((record) => {
      if (record.kind === 'tags') registry.add('late', 'v1', { ...late, manifests: [late.root] });
    });
    const late = await randomImage();
    assert.equal((await get(registry, '/v2/late/tags/list?n=5', { headers: { 'x-canary': '1' } })).status, 200);
    await get(registry, '/v2/late/blobs/uploads/?digest=sha256:x', { method: 'POST', body: 'abc' });
    const [tags, post] = registry.requests;
    assert.equal(tags?.kind, 'tags');
    assert.equal(tags?.headers['x-canary'], '1');
    assert.equal(tags?.query.get('n'), '5');
    assert.equal(tags?.host, registry.host);
    assert.equal(post?.bytesReceived, 3);
    assert.equal(post?.status, 400);
  });

  it('holds a blob of any size in no memory', async (t) => {
    const registry = await startFaultRegistry(t);
    const blob = syntheticBlob(5, 3_000_001);
    registry.addBlob('big', blob);
    const answer = await get(registry, `/v2/big/blobs/${blob.digest}`, { headers: { range: 'bytes=2999990-' } });
    assert.deepEqual(Buffer.from(await answer.arrayBuffer()), Buffer.concat([...blob.read(2_999_990, blob.size)]));
  });
});
