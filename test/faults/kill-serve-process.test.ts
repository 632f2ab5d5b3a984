/** The registry as a real process, killed with SIGKILL at random moments while clients push: what it acknowledged is there after the next start. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { digestOf } from '../../src/core/digest.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { type Call, caller, withDigest } from '../contract/serve-harness.ts';
import { closeBench, imageOf, openBench, requireTidy, requireWhole } from '../support/disk-registry.ts';
import { createPrng } from '../support/random-image.ts';
import { tempDir } from '../support/temp-dir.ts';

const ROUNDS = 6;
const CLIENTS = 4;
const WORKER = join(import.meta.dirname, '../support/serve-worker.ts');

test('whatever was acknowledged is there after a kill -9 under load', { timeout: 120_000 }, async (t) => {
  const seed = Number(process.env.KILL_SEED ?? randomInt(2 ** 31));
  t.diagnostic(`KILL_SEED=${seed}`);
  const prng = createPrng(seed);
  const root = await tempDir(t);
  /** `<repository>:<tag>` to digest; blobs as `<repository> <digest>`; what is deleted at the kill may be there or not. */
  const tags = new Map<string, string>();
  const blobs = new Set<string>();
  const sessions = new Map<string, number>();
  let serial = 0;

  /** One image by two ways of upload, its tag, and now and then a delete of the tag. @throws when the registry is gone */
  async function pushOne(call: Call, client: number): Promise<void> {
    const n = ++serial;
    const repository = `team/${client}`;
    const [config, layer] = [Buffer.from(`config ${n}`), Buffer.alloc(100_000, `layer ${n}`)];
    const image = imageOf(config, layer);
    const posted = await call('POST', `/v2/${repository}/blobs/uploads/?digest=${digestOf(config)}`, { body: config });
    assert.equal(posted.status, 201, posted.body.toString());
    blobs.add(`${repository} ${digestOf(config)}`);
    const location = (await call('POST', `/v2/${repository}/blobs/uploads/`)).headers.location ?? '';
    sessions.set(location, 0);
    for (const half of [layer.subarray(0, 50_000), layer.subarray(50_000)]) {
      const reply = await call('PATCH', location, { body: half });
      assert.equal(reply.status, 202, reply.body.toString());
      sessions.set(location, Number(reply.headers.range?.split('-')[1]) + 1);
    }
    sessions.delete(location);
    assert.equal((await call('PUT', withDigest(location, digestOf(layer)))).status, 201);
    blobs.add(`${repository} ${digestOf(layer)}`);
    const headers = { 'content-type': image.mediaType };
    const put = await call('PUT', `/v2/${repository}/manifests/v${n}`, { body: Buffer.from(image.bytes), headers });
    assert.equal(put.status, 201, put.body.toString());
    tags.set(`${repository}:v${n}`, image.digest);
    if (n % 5 !== 0) return;
    tags.delete(`${repository}:v${n}`);
    assert.equal((await call('DELETE', `/v2/${repository}/manifests/v${n}`)).status, 202);
  }

  let pushes = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const worker = spawn(process.execPath, [WORKER, root], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => void worker.kill('SIGKILL'));
    const [url] = (await once(createInterface(worker.stdout), 'line')) as [string];
    const agent = new Agent({ keepAlive: true });
    let alive = true;
    const clients = Array.from({ length: CLIENTS }, async (_, client) => {
      while (alive) {
        try {
          await pushOne(caller(url, agent), client);
          pushes++;
        } catch (error) {
          // The connection goes with the process; anything else is a wrong answer.
          assert.ok((error as NodeJS.ErrnoException).code?.startsWith('ECONN') || !alive, String(error));
          return;
        }
      }
    });
    await setTimeout(150 + prng.int(400));
    const gone = once(worker, 'exit');
    alive = false;
    worker.kill('SIGKILL');
    await gone;
    await Promise.all(clients);
    agent.destroy();

    const bench = await openBench(nodeFileSystem, root);
    await requireTidy(root, bench);
    await requireWhole(bench.content);
    for (const [name, digest] of tags) {
      const at = name.lastIndexOf(':');
      assert.equal((await bench.content.manifest(name.slice(0, at), name.slice(at + 1)))?.digest, digest, name);
    }
    for (const blob of blobs) {
      const [repository, digest] = blob.split(' ') as [string, never];
      assert.ok(await bench.content.blob(repository, digest), blob);
    }
    for (const [location, received] of sessions) {
      const [, repository = '', id = ''] = /^\/v2\/(.+)\/blobs\/uploads\/(.+)$/.exec(location) ?? [];
      const upload = await bench.uploads.find(repository, id);
      assert.ok(upload.received >= received, `${upload.received} of ${received} bytes of an upload`);
    }
    await closeBench(bench);
  }
  t.diagnostic(`${ROUNDS} kills, ${pushes} images, ${tags.size} tags, ${blobs.size} blobs, ${sessions.size} sessions cut off`);
  assert.ok(pushes > 0);
});
