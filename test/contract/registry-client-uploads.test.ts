import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { rejectsWith } from '../support/assert-code.ts';
import { blobOf, createPrng, syntheticBlob } from '../support/random-image.ts';
import { aliceBasic, pushBlob, type Setup, setUp } from './registry-client-harness.ts';

const FOREVER = Number.POSITIVE_INFINITY;
const MIB = 1024 * 1024;
const BLOB = blobOf(createPrng(9).bytes(20_000));
const methods = (setup: Setup) => setup.registry.seen('upload').map((r) => r.method);
const holds = (setup: Setup, blob = BLOB, repository = 'new/repo') =>
  assert.deepEqual(
    Buffer.concat([...(setup.registry.storage.blob(repository, blob.digest)?.read(0, blob.size) ?? [])]),
    Buffer.concat([...blob.read(0, blob.size)]),
  );

describe('rule 13: HEAD before an upload', () => {
  it('what is there is not sent', async (t) => {
    const setup = await setUp(t);
    assert.equal(await pushBlob(setup, 'a/b', setup.layer), 'present');
    assert.deepEqual(setup.registry.log(), [`HEAD /v2/a/b/blobs/${setup.layer.digest}`]);
  });

  it('head-lies=size: a blob of another size is sent again', async (t) => {
    const setup = await setUp(t, { switches: { headLies: 'size' } });
    assert.equal(await pushBlob(setup, 'a/b', setup.layer), 'pushed');
  });

  it('head-lies=exists: it can be forced', async (t) => {
    const setup = await setUp(t, { switches: { headLies: 'exists' } });
    setup.registry.inject({
      on: 'blob',
      method: 'HEAD',
      times: FOREVER,
      does: { kind: 'answer', status: 200, headers: { 'content-length': String(BLOB.size) } },
    });
    assert.equal(await pushBlob(setup, 'new/repo', BLOB), 'present');
    assert.equal(setup.registry.hasBlob('new/repo', BLOB.digest), false);
    assert.equal(await pushBlob(setup, 'new/repo', BLOB, { force: true }), 'pushed');
    holds(setup);
  });

  it('blob-head=403: a HEAD that is redirected counts as there, and its target is not asked', async (t) => {
    const setup = await setUp(t, { switches: { blob: '307-s3', blobHead: '403' } });
    assert.equal(await pushBlob(setup, 'a/b', setup.layer), 'present');
    assert.equal(setup.registry.seen(undefined, undefined, 'cdn').length, 0);
  });
});

describe('rule 16 and 17: Location', () => {
  for (const location of ['absolute', 'relative'] as const) {
    it(`location=${location}, with a query that matters: kept as it is`, async (t) => {
      const setup = await setUp(t, { switches: { location } });
      assert.equal(await pushBlob(setup, 'new/repo', BLOB), 'pushed');
      holds(setup);
    });
  }

  it('each chunk goes to the Location of the answer before', async (t) => {
    const setup = await setUp(t, { switches: { putMaxBytes: 100 } });
    const big = syntheticBlob(4, 10 * MIB);
    assert.equal(await pushBlob(setup, 'new/repo', big), 'pushed');
    holds(setup, big as never);
    const states = setup.registry.seen('upload', 'PATCH').map((r) => r.query.get('_state'));
    assert.equal(new Set(states).size, states.length);
  });

  for (const location of ['other-host', 'other-host-works'] as const) {
    it(`location=${location}: refused, and neither bytes nor credentials go there`, async (t) => {
      const setup = await setUp(t, { switches: { location, auth: 'bearer' }, credential: aliceBasic });
      await rejectsWith(pushBlob(setup, 'new/repo', BLOB), 'E_REDIRECT');
      assert.deepEqual(setup.registry.leaks(), []);
      assert.equal(setup.registry.seen(undefined, undefined, 'elsewhere').length, 0);
    });
  }

  it('location=missing: E_REGISTRY', async (t) => {
    const setup = await setUp(t, { switches: { location: 'missing' } });
    await rejectsWith(pushBlob(setup, 'new/repo', BLOB), 'E_REGISTRY', /Location/);
  });
});

describe('rule 18 and 19: in one piece, chunks only as the way out', () => {
  it('POST and PUT, nothing else', async (t) => {
    const setup = await setUp(t, { switches: { upload: 'patch-drops-2nd' } });
    const big = syntheticBlob(4, 9 * MIB);
    assert.equal(await pushBlob(setup, 'new/repo', big), 'pushed');
    assert.deepEqual(methods(setup), ['POST', 'PUT']);
  });

  it('a registry that takes no large PUT gets chunks under 4 MiB (upload=patch-max-4MiB)', async (t) => {
    const setup = await setUp(t, { switches: { upload: 'patch-max-4MiB', putMaxBytes: MIB } });
    const big = syntheticBlob(4, 9 * MIB);
    assert.equal(await pushBlob(setup, 'new/repo', big), 'pushed');
    holds(setup, big as never);
    const ranges = setup.registry.seen('upload', 'PATCH').map((r) => r.headers['content-range']);
    assert.equal(ranges.length, 3);
    assert.match(ranges[0] ?? '', /^0-\d+$/);
  });

  it('upload=patch-drops-2nd when chunks are needed: found out, never success', async (t) => {
    const setup = await setUp(t, { switches: { upload: 'patch-drops-2nd', putMaxBytes: MIB } });
    await rejectsWith(pushBlob(setup, 'new/repo', syntheticBlob(4, 9 * MIB)), 'E_REGISTRY');
  });

  it('upload=range-quay: odd Range headers do not matter', async (t) => {
    const setup = await setUp(t, { switches: { upload: 'range-quay', putMaxBytes: MIB } });
    const big = syntheticBlob(4, 9 * MIB);
    assert.equal(await pushBlob(setup, 'new/repo', big), 'pushed');
  });

  it('OCI-Chunk-Min-Length is honoured', async (t) => {
    const setup = await setUp(t, { switches: { chunkMinLength: 5 * MIB, putMaxBytes: MIB } });
    const big = syntheticBlob(4, 11 * MIB);
    assert.equal(await pushBlob(setup, 'new/repo', big), 'pushed');
    assert.deepEqual(
      setup.registry.seen('upload', 'PATCH').map((r) => r.bytesReceived),
      [5 * MIB, 5 * MIB, MIB],
    );
  });

  it('an absurd OCI-Chunk-Min-Length does not break it', async (t) => {
    const setup = await setUp(t, { switches: { putMaxBytes: 100 } });
    setup.registry.inject({
      on: 'upload',
      method: 'POST',
      times: FOREVER,
      does: { kind: 'headers', set: { 'oci-chunk-min-length': '1e300' } },
    });
    assert.equal(await pushBlob(setup, 'new/repo', BLOB), 'pushed');
    holds(setup);
  });

  it('a chunk out of step (416) is taken up from where the registry is', async (t) => {
    const setup = await setUp(t, { switches: { putMaxBytes: 100 } });
    setup.registry.inject({ on: 'upload', method: 'PATCH', does: { kind: 'lose' }, skip: 1 });
    const big = syntheticBlob(4, 9 * MIB);
    assert.equal(await pushBlob(setup, 'new/repo', big), 'pushed');
    holds(setup, big as never);
  });

  it('the empty blob is pushed', async (t) => {
    const setup = await setUp(t);
    assert.equal(await pushBlob(setup, 'new/repo', blobOf('')), 'pushed');
    assert.ok(setup.registry.hasBlob('new/repo', blobOf('').digest));
  });
});

describe('uploads that break', () => {
  it('a lost session is opened anew', async (t) => {
    const setup = await setUp(t, { switches: { sessionLosses: 1 } });
    assert.equal(await pushBlob(setup, 'new/repo', BLOB), 'pushed');
    holds(setup);
  });

  it('sessions that are lost for ever: an error, in bounds', async (t) => {
    const setup = await setUp(t, { switches: { sessionLosses: 1000 } });
    await assert.rejects(pushBlob(setup, 'new/repo', BLOB));
    assert.ok(methods(setup).filter((m) => m === 'PUT').length <= 6);
  });

  it('a connection that dies in the body is tried again', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'upload', method: 'PUT', times: 2, does: { kind: 'cut-request', after: 5000 } });
    assert.equal(await pushBlob(setup, 'new/repo', BLOB), 'pushed');
    holds(setup);
  });

  it('an answer that is lost after the work was done is no failure', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'upload', method: 'PUT', does: { kind: 'lose' } });
    assert.match(await pushBlob(setup, 'new/repo', BLOB), /^(pushed|present)$/);
    holds(setup);
  });

  it('503 on each step is tried again', async (t) => {
    for (const method of ['POST', 'PUT']) {
      const setup = await setUp(t);
      setup.registry.inject({ on: 'upload', method, times: 2, does: { kind: 'answer', status: 503 } });
      assert.equal(await pushBlob(setup, 'new/repo', BLOB), 'pushed');
      holds(setup);
    }
  });

  it('rule 21: an abandoned session is cancelled, and a refusal of that is nobody’s news', async (t) => {
    const setup = await setUp(t, { switches: { sha512: 'refused' } });
    setup.registry.inject({ on: 'upload', method: 'DELETE', times: FOREVER, does: { kind: 'answer', status: 405 } });
    await rejectsWith(pushBlob(setup, 'new/repo', blobOf('abc', 'sha512')), 'E_REGISTRY', /DIGEST_INVALID/);
    assert.ok(methods(setup).includes('DELETE'));
  });

  it('a source whose bytes fail in the middle: its error comes out, and nothing is stored', async (t) => {
    const setup = await setUp(t);
    const read = async function* () {
      yield BLOB.bytes.subarray(0, 100);
      throw new TypeError('the stick was pulled out');
    };
    await assert.rejects(
      setup.client.pushBlob(setup.origin, { repository: 'new/repo', blob: BLOB, read }),
      /the stick was pulled out/,
    );
    assert.equal(setup.registry.hasBlob('new/repo', BLOB.digest), false);
  });
});

describe('rule 20: mounts', () => {
  it('mount=201: no byte is sent', async (t) => {
    const setup = await setUp(t);
    assert.equal(await pushBlob(setup, 'new/repo', setup.layer, { mountFrom: 'a/b' }), 'mounted');
    assert.deepEqual(methods(setup), ['POST']);
  });

  it('mount=202: the session that was opened is used', async (t) => {
    const setup = await setUp(t, { switches: { mount: '202' } });
    assert.equal(await pushBlob(setup, 'new/repo', setup.layer, { mountFrom: 'a/b' }), 'pushed');
    assert.deepEqual(methods(setup), ['POST', 'PUT']);
  });

  for (const mount of ['401', '404', 'only-referenced', 'from-required'] as const) {
    it(`mount=${mount}: ends with the blob there`, async (t) => {
      const setup = await setUp(t, { switches: { mount, auth: 'bearer' }, credential: aliceBasic });
      setup.registry.addBlob('loose', BLOB);
      await pushBlob(setup, 'new/repo', BLOB, { mountFrom: 'loose' });
      holds(setup);
    });
  }
});
