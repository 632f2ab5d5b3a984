import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseOciManifest } from '../../src/core/oci-manifest.ts';
import { rejectsWith } from '../support/assert-code.ts';
import { nestedIndex, randomArtifact, randomImage, randomIndex, schema1Image } from '../support/random-image.ts';
import { missingDigest, readBlob, setUp } from './registry-client-harness.ts';

const FOREVER = Number.POSITIVE_INFINITY;

describe('rule 9: types', () => {
  it('all manifest types are listed in Accept, literally (accept=literal)', async (t) => {
    const { client, origin, registry, image } = await setUp(t, { switches: { accept: 'literal' } });
    registry.add('a/b', 'index', await randomIndex());
    registry.add('a/b', 'docker', await randomIndex({ docker: true, seed: 2 }));
    assert.equal((await client.getManifest(origin, 'a/b', 'v1')).digest, image.digest);
    await client.getManifest(origin, 'a/b', 'index');
    await client.getManifest(origin, 'a/b', 'docker');
    assert.notEqual(await client.headManifest(origin, 'a/b', 'docker'), undefined);
  });

  it('ctype=charset: parameters of the Content-Type are left out', async (t) => {
    const { client, origin, image } = await setUp(t, { switches: { ctype: 'charset' } });
    assert.equal((await client.getManifest(origin, 'a/b', 'v1')).mediaType, image.root.mediaType);
    assert.equal((await client.headManifest(origin, 'a/b', 'v1'))?.mediaType, image.root.mediaType);
  });

  it('ctype=octet-stream or none: the type inside counts', async (t) => {
    const { client, origin, image, registry } = await setUp(t, { switches: { ctype: 'octet-stream' } });
    assert.equal((await client.getManifest(origin, 'a/b', 'v1')).mediaType, image.root.mediaType);
    registry.switches.ctype = 'missing';
    assert.equal((await client.getManifest(origin, 'a/b', 'v1')).mediaType, image.root.mediaType);
    assert.equal(await client.headManifest(origin, 'a/b', 'v1'), undefined);
  });

  it('ctype=html: a login page is not an image', async (t) => {
    const { client, origin } = await setUp(t, { switches: { ctype: 'html' } });
    await rejectsWith(client.getManifest(origin, 'a/b', 'v1'), 'E_OCI_MANIFEST', /text\/html/);
  });

  it('ctype=other-kind: an image under the type of an index is refused by whoever reads it', async (t) => {
    const { client, origin } = await setUp(t, { switches: { ctype: 'other-kind' } });
    const read = client.getManifest(origin, 'a/b', 'v1').then((got) => parseOciManifest(got.bytes, got.mediaType, 'it'));
    await rejectsWith(read, 'E_OCI_MANIFEST', /differs/);
  });

  it('schema 1 is refused by its name', async (t) => {
    const { client, origin, registry } = await setUp(t);
    registry.add('old', 'v1', schema1Image());
    const error = await rejectsWith(client.getManifest(origin, 'old', 'v1'), 'E_SCHEMA1');
    assert.match(error.hint ?? '', /push it again/);
  });
});

describe('rule 10: bytes are what was asked for, as they are', () => {
  it('every kind of image comes byte for byte', async (t) => {
    const { client, origin, registry } = await setUp(t);
    const images = [
      await randomIndex({ attestations: true }),
      await randomIndex({ docker: true }),
      await nestedIndex(),
      randomArtifact(),
      await randomImage({ algorithm: 'sha512', compression: 'zstd' }),
    ];
    for (const [i, image] of images.entries()) {
      registry.add('kinds', `k${i}`, image);
      const got = await client.getManifest(origin, 'kinds', `k${i}`);
      assert.deepEqual(got, { mediaType: image.root.mediaType, digest: image.digest, bytes: image.root.bytes });
      for (const { digest, bytes } of image.manifests)
        assert.deepEqual((await client.getManifest(origin, 'kinds', digest)).bytes, bytes);
    }
  });

  for (const manifestLie of ['other-manifest', 'flipped'] as const) {
    it(`a registry that answers ${manifestLie} under the right header is found out, by digest and by tag`, async (t) => {
      const { client, origin, image } = await setUp(t, { switches: { manifestLie } });
      await rejectsWith(client.getManifest(origin, 'a/b', image.digest), 'E_DIGEST');
      await rejectsWith(client.getManifest(origin, 'a/b', 'v1'), 'E_DIGEST');
    });
  }

  it('dcd=lying: a header that differs from the bytes is found out', async (t) => {
    const { client, origin, image } = await setUp(t, { switches: { dcd: 'lying' } });
    await rejectsWith(client.getManifest(origin, 'a/b', 'v1'), 'E_DIGEST');
    await rejectsWith(client.headManifest(origin, 'a/b', image.digest), 'E_DIGEST');
  });

  it('Content-Encoding on a manifest is refused', async (t) => {
    const { client, origin, registry } = await setUp(t, { switches: { contentEncoding: 'gzip' } });
    await rejectsWith(client.getManifest(origin, 'a/b', 'v1'), 'E_REGISTRY', /gzip/);
    assert.equal(registry.requests[0]?.headers['accept-encoding'], 'identity');
  });

  it('a manifest that was cut short is asked for again', async (t) => {
    const { client, origin, registry, image } = await setUp(t);
    registry.inject({ on: 'manifest', does: { kind: 'cut', after: 20 } });
    assert.equal((await client.getManifest(origin, 'a/b', image.digest)).digest, image.digest);
  });

  it('a manifest that is shorter than it should be, with a matching length, is E_DIGEST', async (t) => {
    const { client, origin, registry, image } = await setUp(t);
    registry.inject({ on: 'manifest', times: FOREVER, does: { kind: 'short', bytes: 20 } });
    await rejectsWith(client.getManifest(origin, 'a/b', image.digest), 'E_DIGEST');
  });
});

describe('rule 11 and 12: resolving', () => {
  it('dcd=none: HEAD says nothing, GET computes', async (t) => {
    const { client, origin, image } = await setUp(t, { switches: { dcd: 'none' } });
    assert.equal(await client.headManifest(origin, 'a/b', 'v1'), undefined);
    assert.equal((await client.getManifest(origin, 'a/b', 'v1')).digest, image.digest);
  });

  it('HEAD resolves, and costs nothing of the quota', async (t) => {
    const { client, origin, image, registry } = await setUp(t, { switches: { rate: 'hub-429-json', rateLimit: 0 } });
    assert.equal((await client.headManifest(origin, 'a/b', 'v1'))?.digest, image.digest);
    assert.deepEqual(registry.log(), ['HEAD /v2/a/b/manifests/v1']);
  });

  it('head-length-lies: the length of a HEAD is no reason to refuse the GET', async (t) => {
    const { client, origin, image } = await setUp(t, { switches: { headLies: 'size' } });
    assert.equal((await client.headManifest(origin, 'a/b', 'v1'))?.digest, image.digest);
    assert.equal((await client.getManifest(origin, 'a/b', image.digest)).digest, image.digest);
  });

  it('HEAD is not allowed: undefined, so that GET is used', async (t) => {
    const { client, origin, registry } = await setUp(t);
    registry.inject({ on: 'manifest', method: 'HEAD', times: FOREVER, does: { kind: 'answer', status: 405 } });
    assert.equal(await client.headManifest(origin, 'a/b', 'v1'), undefined);
  });

  it('what is not there is E_NOT_FOUND at once, for tag, digest and repository', async (t) => {
    const { client, origin, registry } = await setUp(t);
    await rejectsWith(client.headManifest(origin, 'a/b', 'v2'), 'E_NOT_FOUND', /a\/b:v2/);
    await rejectsWith(client.getManifest(origin, 'a/b', missingDigest), 'E_NOT_FOUND');
    await rejectsWith(client.getManifest(origin, 'no/such', 'v1'), 'E_NOT_FOUND', /no such repository/);
    assert.equal(registry.requests.length, 3);
  });
});

describe('rule 28: bounded', () => {
  it('a manifest over 4 MiB is E_LIMIT, told or endless', async (t) => {
    const { client, origin, registry } = await setUp(t);
    registry.inject({ on: 'manifest', does: { kind: 'append', bytes: 5 * 1024 * 1024 } });
    await rejectsWith(client.getManifest(origin, 'a/b', 'v1'), 'E_LIMIT');
    registry.inject({ on: 'manifest', does: { kind: 'endless' } });
    await rejectsWith(client.getManifest(origin, 'a/b', 'v1'), 'E_LIMIT');
    const sent = registry.requests.at(-1)?.bytesSent ?? 0;
    assert.ok(sent < 64 * 1024 * 1024, `${sent} bytes were taken`);
  });

  it('a token of 10 MiB is E_LIMIT', async (t) => {
    const { client, origin, registry } = await setUp(t, { switches: { auth: 'bearer' } });
    registry.inject({ on: 'token', times: FOREVER, does: { kind: 'answer', status: 200, body: 10 * 1024 * 1024 } });
    await rejectsWith(client.getManifest(origin, 'a/b', 'v1'), 'E_LIMIT', /token/);
  });

  it('an error body of 10 MiB is not shown and not kept', async (t) => {
    const { client, origin, registry } = await setUp(t);
    registry.inject({ on: 'manifest', times: FOREVER, does: { kind: 'answer', status: 403, body: 10 * 1024 * 1024 } });
    const error = await rejectsWith(client.getManifest(origin, 'a/b', 'v1'), 'E_AUTH');
    assert.ok(error.message.length < 1000);
  });

  it('an error message can hold no control characters', async (t) => {
    const { client, origin, registry } = await setUp(t);
    const body = JSON.stringify({ errors: [{ code: 'DENIED', message: 'red \u001b[31m and \r\n more' }] });
    registry.inject({ on: 'manifest', does: { kind: 'answer', status: 403, body } });
    const error = await rejectsWith(client.getManifest(origin, 'a/b', 'v1'), 'E_AUTH', /red .* more/);
    assert.doesNotMatch(error.message, /[\x00-\x1f]/);
  });

  it('a token with line breaks, or none at all, is E_AUTH', async (t) => {
    const { client, origin, registry } = await setUp(t, { switches: { auth: 'bearer' } });
    for (const body of [
      '{"token":"a\\r\\nx-evil: 1"}',
      '{}',
      '[]',
      'null',
      '{"token":7}',
      '<html>',
      `{"token":"${'a'.repeat(40_000)}"}`,
    ]) {
      registry.inject({ on: 'token', does: { kind: 'answer', status: 200, body } });
      await rejectsWith(client.getManifest(origin, 'a/b', 'v1'), 'E_AUTH');
    }
  });
});

describe('rule 29: warnings', () => {
  it('are shown once each and change nothing', async (t) => {
    const { client, origin, warnings, image } = await setUp(t, { switches: { warning: '299 - "this registry closes in May"' } });
    for (let i = 0; i < 3; i++) assert.equal((await client.getManifest(origin, 'a/b', 'v1')).digest, image.digest);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? '', /this registry closes in May/);
  });
});

describe('foreign layers', () => {
  it('are never fetched from their urls', async (t) => {
    const setup = await setUp(t);
    const foreign = await randomImage({ seed: 8, foreignUrls: [`${setup.registry.urls.elsewhere}/layer`], layers: 1 });
    setup.registry.add('windows', 'v1', foreign);
    await setup.client.getManifest(setup.origin, 'windows', 'v1');
    await rejectsWith(readBlob(setup, 'windows', foreign.layers[0]?.blob as (typeof setup)['layer']), 'E_NOT_FOUND');
    assert.equal(setup.registry.seen(undefined, undefined, 'elsewhere').length, 0);
  });
});
