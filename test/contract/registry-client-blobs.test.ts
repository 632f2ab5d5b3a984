import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { rejectsWith } from '../support/assert-code.ts';
import { blobOf, createPrng, syntheticBlob } from '../support/random-image.ts';
import { readBlob, type Setup, setUp } from './registry-client-harness.ts';

const FOREVER = Number.POSITIVE_INFINITY;
const MIB = 1024 * 1024;
const gets = (setup: Setup) => setup.registry.seen('blob', 'GET');

describe('rule 14: a blob that broke off', () => {
  it('is taken up again where it stopped', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'blob', does: { kind: 'cut', after: 1000 } });
    assert.deepEqual(await readBlob(setup, 'a/b', setup.layer), setup.layer.bytes);
    assert.deepEqual(
      gets(setup).map((r) => r.headers.range),
      [undefined, 'bytes=1000-'],
    );
  });

  it('range=ignored-200: is read from the start, and no byte comes twice', async (t) => {
    const setup = await setUp(t, { switches: { range: 'ignored-200' } });
    setup.registry.inject({ on: 'blob', does: { kind: 'cut', after: 1000 } });
    assert.deepEqual(await readBlob(setup, 'a/b', setup.layer), setup.layer.bytes);
  });

  it('range=206-wrong-offset: what comes before is left out, or it is an error; never wrong bytes', async (t) => {
    const setup = await setUp(t, { switches: { range: '206-wrong-offset' } });
    setup.registry.inject({ on: 'blob', does: { kind: 'cut', after: 1000 } });
    assert.deepEqual(await readBlob(setup, 'a/b', setup.layer), setup.layer.bytes);
  });

  for (const range of ['206-no-header', '206-wrong-total'] as const) {
    it(`range=${range}: a 206 that does not say what it holds is refused`, async (t) => {
      const setup = await setUp(t, { switches: { range } });
      setup.registry.inject({ on: 'blob', does: { kind: 'cut', after: 1000 } });
      await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_REGISTRY', /Content-Range/);
    });
  }

  it('range=416: starts again without Range', async (t) => {
    const setup = await setUp(t, { switches: { range: '416' } });
    setup.registry.inject({ on: 'blob', does: { kind: 'cut', after: 1000 } });
    assert.deepEqual(await readBlob(setup, 'a/b', setup.layer), setup.layer.bytes);
  });

  it('is taken up by a later run from the bytes it has', async (t) => {
    const setup = await setUp(t);
    assert.deepEqual(await readBlob(setup, 'a/b', setup.layer, 2000), setup.layer.bytes.subarray(2000));
    assert.equal(gets(setup)[0]?.headers.range, 'bytes=2000-');
  });

  it('the empty blob arrives, also where the storage says 416', async (t) => {
    const setup = await setUp(t);
    setup.registry.addBlob('a/b', blobOf(''));
    assert.equal((await readBlob(setup, 'a/b', blobOf(''))).length, 0);
    setup.registry.inject({
      on: 'blob',
      times: FOREVER,
      does: { kind: 'answer', status: 416, headers: { 'content-range': 'bytes */0' } },
    });
    assert.equal((await readBlob(setup, 'a/b', blobOf(''))).length, 0);
  });

  it('a connection that is reset before the answer is tried again', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'blob', times: 2, does: { kind: 'reset' } });
    assert.deepEqual(await readBlob(setup, 'a/b', setup.layer), setup.layer.bytes);
  });
});

describe('rule 15: an end to reconnecting', () => {
  it('without progress it gives up with E_NETWORK after a few tries', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'blob', times: FOREVER, does: { kind: 'cut', after: 0 } });
    await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_NETWORK');
    assert.ok(gets(setup).length >= 3 && gets(setup).length <= 60, `${gets(setup).length} requests`);
  });

  it('with a MiB of progress each time it goes on as long as it takes', async (t) => {
    const setup = await setUp(t);
    const blob = syntheticBlob(3, 12 * MIB);
    setup.registry.addBlob('big', blob);
    setup.registry.inject({ on: 'blob', times: FOREVER, does: { kind: 'cut', after: MIB + 10 } });
    assert.equal((await readBlob(setup, 'big', blob)).length, blob.size);
    assert.ok(gets(setup).length >= 11);
  });

  it('a server that trickles a few bytes each time is given up', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'blob', times: FOREVER, does: { kind: 'cut', after: 3 } });
    await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_NETWORK');
  });

  it('silence in the middle is ended by the idle limit', async (t) => {
    const setup = await setUp(t, { client: { timeouts: { idle: 150 } } });
    setup.registry.inject({ on: 'blob', does: { kind: 'drip', bytes: 1000, everyMs: 5_000 } });
    assert.deepEqual(await readBlob(setup, 'a/b', setup.layer), setup.layer.bytes);
    assert.equal(gets(setup).length, 2);
  });

  it('no answer at all is ended by the header limit, and asked again', async (t) => {
    const setup = await setUp(t, { client: { timeouts: { headers: 100 } } });
    setup.registry.inject({ on: 'blob', does: { kind: 'hang' } });
    assert.deepEqual(await readBlob(setup, 'a/b', setup.layer), setup.layer.bytes);
    assert.equal(gets(setup).length, 2);
  });

  it('the tries of one request and those of one blob do not multiply: a dead host is given up after a dozen', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'blob', times: FOREVER, does: { kind: 'reset' } });
    await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_NETWORK');
    assert.ok(gets(setup).length <= 12, `${gets(setup).length} requests; at 60 s of silence each that is an hour`);
  });
});

describe('rule 10 for blobs: length and digest', () => {
  it('blob-lie=same-size is E_DIGEST when hashed', async (t) => {
    const setup = await setUp(t, { switches: { blobLie: 'same-size' } });
    await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_DIGEST');
  });

  it('blob-lie=other-bytes is E_SIZE before a byte is taken', async (t) => {
    const setup = await setUp(t, { switches: { blobLie: 'other-bytes' } });
    await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_SIZE');
  });

  it('a header that lies about the digest changes nothing', async (t) => {
    const setup = await setUp(t, { switches: { dcd: 'lying' } });
    assert.deepEqual(await readBlob(setup, 'a/b', setup.layer), setup.layer.bytes);
  });

  it('more bytes than promised end it, whether told or not', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'blob', does: { kind: 'append', bytes: 100 } });
    await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_SIZE');
    setup.registry.inject({ on: 'blob', does: { kind: 'append', bytes: 100, length: 'hidden' } });
    await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_SIZE');
    setup.registry.inject({ on: 'blob', does: { kind: 'endless' } });
    await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_SIZE');
  });

  it('fewer bytes than promised under a matching length is E_SIZE', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'blob', times: FOREVER, does: { kind: 'short', bytes: 100 } });
    await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_SIZE');
  });

  it('Content-Encoding on a blob is refused', async (t) => {
    const setup = await setUp(t, { switches: { contentEncoding: 'gzip' } });
    await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_REGISTRY', /gzip/);
    setup.registry.switches.blob = '307-s3';
    await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_REGISTRY', /gzip/);
  });

  it('a missing blob is E_NOT_FOUND, once', async (t) => {
    const setup = await setUp(t);
    await rejectsWith(readBlob(setup, 'a/b', blobOf(createPrng(4).bytes(9))), 'E_NOT_FOUND');
    assert.equal(gets(setup).length, 1);
  });

  it('a sha512 blob is read like any other', async (t) => {
    const setup = await setUp(t);
    const blob = blobOf('long digest', 'sha512');
    setup.registry.addBlob('a/b', blob);
    assert.deepEqual(await readBlob(setup, 'a/b', blob), blob.bytes);
  });
});

describe('giving up on purpose', () => {
  it('a signal ends a transfer at once', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'blob', does: { kind: 'drip', bytes: 100, everyMs: 20 } });
    const stop = new AbortController();
    const read = async () => {
      for await (const _ of setup.client.readBlob(setup.origin, 'a/b', setup.layer, 0, stop.signal))
        stop.abort(new Error('stopped'));
    };
    await assert.rejects(read(), /stopped|abort/i);
    assert.equal(gets(setup).length, 1);
  });
});
