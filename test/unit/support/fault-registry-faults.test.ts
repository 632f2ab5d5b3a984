import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Fault, type FaultRegistry, startFaultRegistry } from '../../support/fault-registry.ts';
import { blobOf } from '../../support/random-image.ts';
import type { Ending } from '../../support/temp-dir.ts';

const CONTENT = '0123456789'.repeat(20);
const BLOB = blobOf(CONTENT);

async function start(
  t: Ending,
  does: Fault['does'],
  more: Partial<Fault> = {},
): Promise<{ registry: FaultRegistry; url: string }> {
  const registry = await startFaultRegistry(t);
  registry.addBlob('a', BLOB);
  registry.inject({ on: 'blob', does, ...more });
  return { registry, url: `${registry.url}/v2/a/blobs/${BLOB.digest}` };
}

/** Everything that came before the connection broke. */
async function upToBreak(url: string): Promise<{ text: string; broke: boolean }> {
  let text = '';
  try {
    for await (const chunk of (await fetch(url)).body ?? []) text += Buffer.from(chunk).toString();
  } catch {
    return { text, broke: true };
  }
  return { text, broke: false };
}

describe('faults that strike single requests', () => {
  it('cut: the first N bytes, then a broken connection; once', async (t) => {
    const { registry, url } = await start(t, { kind: 'cut', after: 33 });
    assert.deepEqual(await upToBreak(url), { text: CONTENT.slice(0, 33), broke: true });
    assert.equal(registry.requests[0]?.completed, false);
    assert.deepEqual(await upToBreak(url), { text: CONTENT, broke: false });
  });

  it('cut after no byte, always', async (t) => {
    const { url } = await start(t, { kind: 'cut', after: 0 }, { times: Number.POSITIVE_INFINITY });
    for (let i = 0; i < 3; i++) assert.deepEqual(await upToBreak(url), { text: '', broke: true });
  });

  it('short, flip, append: other bytes that HTTP finds whole', async (t) => {
    const { registry, url } = await start(t, { kind: 'short', bytes: 12 });
    registry.inject({ on: 'blob', does: { kind: 'flip', at: 0 } });
    registry.inject({ on: 'blob', does: { kind: 'append', bytes: 6 } });
    registry.inject({ on: 'blob', does: { kind: 'append', bytes: 6, length: 'hidden' } });
    assert.equal(await (await fetch(url)).text(), CONTENT.slice(0, 12));
    assert.equal(await (await fetch(url)).text(), `1${CONTENT.slice(1)}`);
    assert.equal(await (await fetch(url)).text(), `${CONTENT}filler`);
    const hidden = await fetch(url);
    assert.equal(hidden.headers.get('content-length'), null);
    assert.equal(await hidden.text(), `${CONTENT}filler`);
  });

  it('drip: slowly, but whole', async (t) => {
    const { url } = await start(t, { kind: 'drip', bytes: 50, everyMs: 5 });
    const before = performance.now();
    assert.equal(await (await fetch(url)).text(), CONTENT);
    assert.ok(performance.now() - before > 15);
  });

  it('endless: until the caller has enough', async (t) => {
    const { url } = await start(t, { kind: 'endless' });
    let length = 0;
    for await (const chunk of (await fetch(url)).body ?? []) {
      length += chunk.length;
      if (length > 1_000_000) break;
    }
    assert.ok(length > 1_000_000);
  });

  it('answer and redirect: instead of the real one, so many times, after so many others', async (t) => {
    const { registry, url } = await start(
      t,
      { kind: 'answer', status: 503, headers: { 'retry-after': '7' } },
      { times: 2, skip: 1 },
    );
    const statuses: number[] = [];
    for (let i = 0; i < 4; i++) statuses.push((await fetch(url)).status);
    assert.deepEqual(statuses, [200, 503, 503, 200]);
    registry.inject({ does: { kind: 'answer', status: 400, body: 10 * 1024 * 1024 } });
    assert.equal((await (await fetch(url)).arrayBuffer()).byteLength, 10 * 1024 * 1024);
    const forever = registry.inject({
      path: /blobs/,
      times: 9,
      does: { kind: 'redirect', to: 'http://x.example/y', status: 301 },
    });
    assert.equal((await fetch(url, { redirect: 'manual' })).headers.get('location'), 'http://x.example/y');
    forever.stop();
    assert.equal(forever.hits, 1);
    assert.equal((await fetch(url)).status, 200);
  });

  it('reset and hang: no answer at all', async (t) => {
    const { registry, url } = await start(t, { kind: 'reset' });
    await assert.rejects(fetch(url));
    registry.inject({ does: { kind: 'hang' } });
    await assert.rejects(fetch(url, { signal: AbortSignal.timeout(30) }), { name: 'TimeoutError' });
  });

  it('headers: replaced and left out on a real answer', async (t) => {
    const { url } = await start(t, {
      kind: 'headers',
      set: { 'docker-content-digest': 'sha256:lie', 'content-type': undefined },
    });
    const answer = await fetch(url);
    assert.equal(answer.headers.get('docker-content-digest'), 'sha256:lie');
    assert.equal(answer.headers.get('content-type'), null);
    assert.equal(await answer.text(), CONTENT);
  });

  it('lose: the work is done, the answer is not seen', async (t) => {
    const registry = await startFaultRegistry(t);
    registry.inject({ on: 'upload', method: 'POST', does: { kind: 'lose' } });
    const url = `${registry.url}/v2/a/blobs/uploads/?digest=${BLOB.digest}`;
    await assert.rejects(fetch(url, { method: 'POST', body: CONTENT }));
    assert.ok(registry.hasBlob('a', BLOB.digest));
  });

  it('cut-request: the target dies while it is sent to', async (t) => {
    const registry = await startFaultRegistry(t);
    registry.inject({ on: 'upload', does: { kind: 'cut-request', after: 100 } });
    const url = `${registry.url}/v2/a/blobs/uploads/?digest=${BLOB.digest}`;
    await assert.rejects(fetch(url, { method: 'POST', body: CONTENT }));
    assert.equal(registry.hasBlob('a', BLOB.digest), false);
  });
});
