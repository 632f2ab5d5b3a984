import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { rejectsWith } from '../support/assert-code.ts';
import { blobOf } from '../support/random-image.ts';
import { pushBlob, readBlob, type Setup, setUp } from './registry-client-harness.ts';

const FOREVER = Number.POSITIVE_INFINITY;
const pull = ({ client, origin }: Setup) => client.getManifest(origin, 'a/b', 'v1');
const limit = (retryAfter?: string) =>
  ({ kind: 'answer', status: 429, ...(retryAfter === undefined ? {} : { headers: { 'retry-after': retryAfter } }) }) as const;

describe('rule 27: 429', () => {
  it('Retry-After in seconds is waited for', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'manifest', does: limit('7') });
    assert.equal((await pull(setup)).digest, setup.image.digest);
    assert.ok(
      setup.clock.slept.some((ms) => ms > 6000 && ms <= 7100),
      String(setup.clock.slept),
    );
  });

  it('Retry-After as a date is waited for', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'manifest', does: limit(new Date(Date.now() + 20_000).toUTCString()) });
    assert.equal((await pull(setup)).digest, setup.image.digest);
    assert.ok(
      setup.clock.slept.some((ms) => ms > 15_000 && ms <= 20_000),
      String(setup.clock.slept),
    );
  });

  for (const retryAfter of ['1000000000', '9'.repeat(400), 'Fri, 31 Dec 9999 23:59:59 GMT']) {
    it(`Retry-After of ${retryAfter.slice(0, 30)}: fails at once and says so`, async (t) => {
      const setup = await setUp(t);
      setup.registry.inject({ on: 'manifest', times: FOREVER, does: limit(retryAfter) });
      const error = await rejectsWith(pull(setup), 'E_RATE_LIMIT', /wait/);
      assert.match(error.hint ?? '', /later/);
      assert.equal(setup.registry.requests.length, 1);
      assert.equal(setup.clock.slept.length, 0);
    });
  }

  for (const retryAfter of ['-5', 'soon', '', '1.5e9', 'NaN', '0']) {
    it(`Retry-After of ${JSON.stringify(retryAfter)}: our own back-off, in bounds`, async (t) => {
      const setup = await setUp(t);
      setup.registry.inject({ on: 'manifest', times: 2, does: limit(retryAfter) });
      assert.equal((await pull(setup)).digest, setup.image.digest);
      assert.ok(
        setup.clock.slept.every((ms) => ms <= 60_000),
        String(setup.clock.slept),
      );
    });
  }

  it('429 for ever ends in E_RATE_LIMIT after a few tries', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'manifest', times: FOREVER, does: limit() });
    await rejectsWith(pull(setup), 'E_RATE_LIMIT');
    assert.ok(setup.registry.requests.length <= 8);
  });

  it('holds back the whole host: other requests wait too', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'manifest', does: limit('30') });
    await pull(setup);
    const waited = setup.clock.slept.reduce((a, b) => a + b, 0);
    assert.ok(waited >= 29_000);
    assert.equal(setup.registry.requests.length, 2);
  });

  for (const method of ['POST', 'PUT', 'PATCH'] as const) {
    it(`on ${method} of an upload: waited for, and the upload succeeds`, async (t) => {
      const setup = await setUp(t, { switches: method === 'PATCH' ? { putMaxBytes: 10 } : {} });
      setup.registry.inject({ on: 'upload', method, does: limit('9') });
      const blob = blobOf('x'.repeat(1000));
      assert.equal(await pushBlob(setup, 'new', blob), 'pushed');
      assert.ok(
        setup.clock.slept.some((ms) => ms > 8000),
        String(setup.clock.slept),
      );
    });
  }

  it('on PUT of a manifest: waited for', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'manifest', method: 'PUT', does: limit('9') });
    await setup.client.putManifest(setup.origin, 'a/b', 'v2', setup.image.root);
    assert.equal(setup.registry.tagsOf('a/b').v2, setup.image.digest);
  });

  for (const rate of ['hub-429-json', 'hub-429-text'] as const) {
    it(`rate=${rate}: the advice of the registry reaches the person`, async (t) => {
      const setup = await setUp(t, { switches: { rate, rateLimit: 0 } });
      const error = await rejectsWith(pull(setup), 'E_RATE_LIMIT', /pull rate limit/);
      assert.match(error.hint ?? '', /log in/);
    });
  }

  it('rate=hub-429-json: a quota of hours is not hammered', async (t) => {
    const setup = await setUp(t, { switches: { rate: 'hub-429-json', rateLimit: 0 } });
    await rejectsWith(pull(setup), 'E_RATE_LIMIT');
    assert.ok(
      setup.registry.requests.length <= 2,
      `${setup.registry.requests.length} requests for an answer that stays the same for hours`,
    );
  });

  it('many at once are not a storm: 429 once, then one wave', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'manifest', times: 8, does: limit('5') });
    await Promise.all(Array.from({ length: 8 }, () => setup.client.inSlot(setup.origin, () => pull(setup))));
    assert.ok(setup.registry.requests.length <= 8 * 3, `${setup.registry.requests.length} requests`);
  });
});

describe('moments of weakness', () => {
  for (const status of [500, 502, 503, 504]) {
    it(`${status} three times, then right: nobody notices`, async (t) => {
      const setup = await setUp(t);
      setup.registry.inject({ times: 3, does: { kind: 'answer', status, body: '<html>oops</html>' } });
      assert.equal((await pull(setup)).digest, setup.image.digest);
    });
  }

  it('503 for ever: E_REGISTRY, in bounds', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ times: FOREVER, does: { kind: 'answer', status: 503 } });
    await rejectsWith(pull(setup), 'E_REGISTRY', /503/);
    assert.ok(setup.registry.requests.length <= 8);
  });

  it('rate=503-egress (ghcr.io on large pulls): backed off, and taken up again', async (t) => {
    const setup = await setUp(t, { switches: { blob: '307-s3' } });
    setup.registry.inject({
      on: 'blob',
      at: 'cdn',
      times: 2,
      does: { kind: 'answer', status: 503, body: 'Egress is over the account limit.' },
    });
    assert.deepEqual(await readBlob(setup, 'a/b', setup.layer), setup.layer.bytes);
  });

  it('400, 403 and 404 are not tried again', async (t) => {
    for (const status of [400, 403, 404, 451]) {
      const setup = await setUp(t);
      setup.registry.inject({ times: FOREVER, does: { kind: 'answer', status } });
      await assert.rejects(pull(setup));
      assert.equal(setup.registry.requests.length, 1, String(status));
    }
  });
});

describe('limits of our own', () => {
  it('no more transfers at once than allowed, per host', async (t) => {
    const setup = await setUp(t, { client: { concurrency: 8, perHost: 2 } });
    setup.registry.inject({ on: 'blob', times: FOREVER, does: { kind: 'drip', bytes: 4000, everyMs: 3 } });
    await Promise.all(
      Array.from({ length: 8 }, () => setup.client.inSlot(setup.origin, () => readBlob(setup, 'a/b', setup.layer))),
    );
    assert.equal(setup.registry.load.peak, 2);
  });
});
