import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { rejectsWith } from '../support/assert-code.ts';
import { type Switches, startFaultRegistry } from '../support/fault-registry.ts';
import { randomImage } from '../support/random-image.ts';
import { aliceBasic, PRIVATE, PUBLIC, readBlob, setUp } from './registry-client-harness.ts';

const LOGGED_IN = { credential: aliceBasic, switches: { auth: 'bearer', anonymousPull: false } } as const;
const INTO = (blob: Switches['blob']) => ({ ...LOGGED_IN, switches: { ...LOGGED_IN.switches, blob } }) as const;

describe('rule 7: redirects, and the canary', () => {
  for (const blob of ['direct', '307-s3', '307-azure', '302-relative', '302-html-cached'] as const) {
    it(`blob=${blob}: the bytes arrive, and no credential leaves the registry`, async (t) => {
      const setup = await setUp(t, { ...INTO(blob) });
      assert.deepEqual(await readBlob(setup, 'a/b', setup.layer), setup.layer.bytes);
      assert.deepEqual(setup.registry.leaks(), []);
    });
  }

  it('a relative redirect on the same host keeps the header', async (t) => {
    const setup = await setUp(t, { ...INTO('302-relative') });
    await readBlob(setup, 'a/b', setup.layer);
    assert.match(setup.registry.requests.at(-1)?.headers.authorization ?? '', /^Bearer /);
  });

  it('307-there-and-back: once away, the header does not come back by the redirect', async (t) => {
    const setup = await setUp(t, { ...INTO('307-there-and-back') });
    await assert.rejects(readBlob(setup, 'a/b', setup.layer));
    assert.deepEqual(setup.registry.leaks(), []);
    const log = setup.registry.requests;
    const returned = log.filter((_, i) => log[i - 1]?.at === 'elsewhere' && log[i]?.at === 'registry');
    assert.ok(returned.length > 0);
    assert.ok(returned.every((r) => r.headers.authorization === undefined));
  });

  it('307-foreign-401: a challenge from where we were sent is answered anonymously or not at all', async (t) => {
    const setup = await setUp(t, { ...INTO('307-foreign-401') });
    await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_AUTH');
    assert.deepEqual(setup.registry.leaks(), []);
  });

  it('Range goes on the request to the registry and over the redirect', async (t) => {
    const setup = await setUp(t, { ...INTO('307-s3') });
    assert.deepEqual(await readBlob(setup, 'a/b', setup.layer, 1000), setup.layer.bytes.subarray(1000));
    const asked = setup.registry.requests.filter((r) => r.kind === 'blob');
    assert.ok(asked.every((r) => r.headers.range === 'bytes=1000-'));
    assert.equal(setup.registry.seen('blob', 'GET', 'cdn')[0]?.status, 206);
  });
});

describe('rule 8: redirects that are not followed', () => {
  it('307-http: from https to http', async (t) => {
    const setup = await setUp(t, { ...INTO('307-http'), urls: PUBLIC });
    await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_REDIRECT', /plain http/);
    assert.equal(setup.registry.seen(undefined, undefined, 'plain').length, 0);
  });

  it('307-private-ip: from a public host to a private address', async (t) => {
    const setup = await setUp(t, { ...INTO('307-private-ip'), urls: PUBLIC });
    await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_REDIRECT', /private/);
  });

  it('307-private-ip from a registry on a private address: link-local is refused all the same', async (t) => {
    const setup = await setUp(t, { ...INTO('307-private-ip'), urls: { registry: PRIVATE } });
    await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_REDIRECT');
  });

  for (const blob of ['ring', 'ring-hosts'] as const) {
    it(`${blob}: ends after a few hops, and is not tried again`, async (t) => {
      const setup = await setUp(t, { switches: { blob } });
      await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_REDIRECT', /more than 5/);
      assert.ok(setup.registry.requests.length <= 12, setup.registry.log().join('\n'));
    });
  }

  for (const location of ['http://user:password@cdn.example/x', 'file:///etc/passwd', 'gopher://x/', 'https://[', '']) {
    it(`a Location of ${JSON.stringify(location)} is refused by name`, async (t) => {
      const setup = await setUp(t);
      setup.registry.inject({ on: 'manifest', times: 9, does: { kind: 'redirect', to: location } });
      const error = await rejectsWith(setup.client.getManifest(setup.origin, 'a/b', 'v1'), 'E_REDIRECT');
      assert.ok(!error.message.includes('password@'));
    });
  }
});

describe('fronts', () => {
  it('front=307-all-drop-query (registry.k8s.io): manifests, blobs and tags come, and the tag list ends', async (t) => {
    const behind = await startFaultRegistry(t, { switches: { tags: 'cap-100' } });
    const image = await randomImage();
    behind.add('a/b', 'v1', image);
    for (let i = 0; i < 250; i++) behind.storage.repository('a/b').tags.set(`t${i}`, image.digest);
    const setup = await setUp(t, { switches: { front: '307-all-drop-query', frontTo: behind.url } });
    assert.equal((await setup.client.getManifest(setup.origin, 'a/b', 'v1')).digest, image.digest);
    assert.equal((await setup.client.headManifest(setup.origin, 'a/b', 'v1'))?.digest, image.digest);
    const blob = image.layers[0]?.blob as (typeof setup)['layer'];
    assert.deepEqual(await readBlob(setup, 'a/b', blob), blob.bytes);
    assert.equal((await setup.client.listTags(setup.origin, 'a/b')).length, 251);
  });

  it('front=307-all to a registry with a challenge of its own: answered anonymously there', async (t) => {
    const behind = await startFaultRegistry(t, { switches: { auth: 'bearer' } });
    const image = await randomImage();
    behind.add('a/b', 'v1', image);
    const setup = await setUp(t, { switches: { front: '307-all', frontTo: behind.url }, credential: aliceBasic });
    assert.equal((await setup.client.getManifest(setup.origin, 'a/b', 'v1')).digest, image.digest);
    assert.ok(behind.requests.every((r) => !/^basic/i.test(r.headers.authorization ?? '')));
  });

  it('front=foreign-realm (lscr.io): the token of the registry behind is used at the front, anonymously', async (t) => {
    const behind = await startFaultRegistry(t, { switches: { auth: 'bearer' }, urls: { registry: 'https://ghcr.example' } });
    const image = await randomImage();
    behind.add('a/b', 'v1', image);
    const urls = { registry: PUBLIC.registry };
    const setup = await setUp(t, { switches: { front: 'foreign-realm', frontTo: behind.listening.registry }, urls: { ...urls } });
    const { createTransport } = await import('../../src/registry/transport.ts');
    const { mappedTransport } = await import('./registry-client-harness.ts');
    const { createRegistryClient } = await import('../../src/registry/client.ts');
    const where = { [PUBLIC.registry]: setup.registry.listening.registry, 'https://ghcr.example': behind.listening.registry };
    const transport = mappedTransport(createTransport({ environment: {} }), where);
    const client = createRegistryClient({ credentials: { find: async () => undefined }, transport });
    t.after(() => client.close());
    assert.equal((await client.getManifest('registry.corp.example', 'a/b', 'v1')).digest, image.digest);
  });

  it('harbor-library=301: the method and, on the same host, the header are kept', async (t) => {
    const setup = await setUp(t, { ...LOGGED_IN, switches: { ...LOGGED_IN.switches, harborLibrary: '301' } });
    const image = await randomImage();
    setup.registry.add('hub/library/alpine', 'v1', image);
    // The token names the repository asked for; Harbor gives one that is good for the project.
    setup.registry.switches.challenge = 'gitea';
    assert.equal((await setup.client.headManifest(setup.origin, 'hub/alpine', 'v1'))?.digest, image.digest);
    assert.equal((await setup.client.getManifest(setup.origin, 'hub/alpine', 'v1')).digest, image.digest);
  });
});

describe('storage behind the redirect', () => {
  it('url-ttl: an address that ran out is replaced by a fresh one, and the bytes are kept', async (t) => {
    const setup = await setUp(t, { ...INTO('307-s3') });
    setup.registry.inject({ on: 'blob', at: 'cdn', does: { kind: 'cut', after: 500 } });
    setup.registry.onRequest((record) => {
      if (record.at === 'cdn' && setup.registry.seen('blob', 'GET', 'cdn').length === 2) setup.registry.expireUrls();
    });
    assert.deepEqual(await readBlob(setup, 'a/b', setup.layer), setup.layer.bytes);
    const cdn = setup.registry.seen('blob', 'GET', 'cdn');
    assert.deepEqual(
      cdn.map((r) => r.status),
      [200, 403, 206],
    );
    assert.equal(cdn[2]?.headers.range, 'bytes=500-');
  });

  it('cdn=alternate: goes on at the other host', async (t) => {
    const setup = await setUp(t, { ...LOGGED_IN, switches: { ...INTO('307-s3').switches, cdn: 'alternate' } });
    setup.registry.inject({ on: 'blob', does: { kind: 'cut', after: 700 } });
    assert.deepEqual(await readBlob(setup, 'a/b', setup.layer), setup.layer.bytes);
    assert.equal(setup.registry.seen('blob', 'GET', 'cdn').length, 1);
    assert.equal(setup.registry.seen('blob', 'GET', 'cdn2').length, 1);
  });
});
