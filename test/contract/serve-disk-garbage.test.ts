/** What garbage collection takes and what it leaves, while clients go on. */
import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { digestOf } from '../../src/core/digest.ts';
import type { FileSystem } from '../../src/files/file-system.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { collectGarbage, collectRegularly } from '../../src/serve/garbage.ts';
import { scrub } from '../../src/serve/scrub.ts';
import {
  chunksOf,
  closeBench,
  DAY,
  type DiskBench,
  HOUR,
  imageOf,
  indexOf,
  openBench,
  pushBytes,
  temporaryBench,
} from '../support/disk-registry.ts';
import type { Ending } from '../support/temp-dir.ts';
import { bytes } from './serve-harness.ts';

const start = (t: Ending, fs: FileSystem = nodeFileSystem): Promise<DiskBench & { root: string }> => temporaryBench(t, fs);

const NOTHING = { manifests: 0, blobs: 0, bytes: 0 };
const storedFiles = async (root: string): Promise<string[]> => readdir(`${root}/blobs/sha256`);

/** An image in a repository, without a tag unless one is named. */
async function pushImage(bench: DiskBench, repository: string, tags: string[] = [], subject?: Parameters<typeof imageOf>[2]) {
  const [config, layer] = [bytes(100), bytes(300)];
  for (const blob of [config, layer]) await pushBytes(bench, repository, blob);
  const image = imageOf(config, layer, subject);
  await bench.content.putManifest(repository, image, tags);
  return { ...image, blobs: [digestOf(config), digestOf(layer)] as const };
}

describe('garbage collection', () => {
  test('a blob that no manifest names goes after the grace period, one that is named stays', async (t) => {
    const bench = await start(t);
    const { content, clock } = bench;
    const image = await pushImage(bench, 'a', ['v1']);
    const loose = await pushBytes(bench, 'a', bytes(500));
    clock.now += DAY - 1;
    assert.deepEqual(await collectGarbage(content), NOTHING);
    clock.now += 1;
    assert.deepEqual(await collectGarbage(content), { manifests: 0, blobs: 1, bytes: 500 });
    assert.equal(await content.blob('a', loose), undefined);
    for (const digest of image.blobs) assert.ok(await content.blob('a', digest));
    assert.equal((await storedFiles(bench.root)).length, 3);
    assert.equal((await content.stats()).collection?.blobs, 1);
  });

  test('what a client was told is there counts as new: found, mounted, pushed again, or named by a manifest', async (t) => {
    const bench = await start(t);
    const { content, clock } = bench;
    const bodies = Array.from({ length: 5 }, () => bytes(200));
    for (const body of bodies) await pushBytes(bench, 'a', body);
    const [found, source, again, config, forgotten] = bodies.map((body) => digestOf(body));
    await content.mount('b', source as never, 'a');
    clock.now += 2 * DAY;
    await content.blob('a', found as never);
    await content.mount('b', source as never, undefined);
    await pushBytes(bench, 'a', bodies[2] as Buffer);
    const image = imageOf(bodies[3] as Buffer, bodies[3] as Buffer);
    await content.putManifest('a', image, []);
    await content.deleteManifest('a', image.digest);
    assert.equal((await collectGarbage(content)).blobs, 2);
    for (const digest of [found, again, config]) assert.ok(await content.blob('a', digest as never));
    assert.ok(await content.blob('b', source as never));
    for (const digest of [source, forgotten]) assert.equal(await content.blob('a', digest as never), undefined);
  });

  test('it counts per repository: what one repository names does not keep it in another', async (t) => {
    const bench = await start(t);
    const image = await pushImage(bench, 'a', ['v1']);
    for (const digest of image.blobs) await bench.content.mount('b', digest, 'a');
    bench.clock.now += 2 * DAY;
    assert.deepEqual(await collectGarbage(bench.content), { manifests: 0, blobs: 2, bytes: 0 });
    for (const digest of image.blobs) {
      assert.ok(await bench.content.blob('a', digest));
      assert.equal(await bench.content.blob('b', digest), undefined);
    }
  });

  test('after a start nothing goes within the grace period: who was told what before is not known', async (t) => {
    const bench = await start(t);
    const loose = await pushBytes(bench, 'a', bytes(500));
    await closeBench(bench);
    const again = await openBench(nodeFileSystem, bench.root);
    again.clock.now += 23 * HOUR;
    assert.deepEqual(await collectGarbage(again.content), NOTHING);
    again.clock.now += 2 * HOUR;
    assert.equal((await collectGarbage(again.content)).blobs, 1);
    assert.equal(await again.content.blob('a', loose), undefined);
    await closeBench(again);
  });

  test('a wall clock that is set forward by years makes nothing old', async (t) => {
    const bench = await temporaryBench(t, nodeFileSystem, { elapsed: () => 0 });
    const loose = await pushBytes(bench, 'a', bytes(500));
    await pushImage(bench, 'a');
    bench.clock.now += 50 * 365 * DAY;
    assert.deepEqual(await collectGarbage(bench.content, { untaggedMs: DAY }), NOTHING);
    assert.ok(await bench.content.blob('a', loose));
  });

  test('a manifest that comes in while it looks keeps what it names', async (t) => {
    const gate = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    let armed = false;
    const fs: FileSystem = {
      ...nodeFileSystem,
      async readFile(path, max) {
        if (armed && path.includes('/blobs/')) {
          armed = false;
          reached.resolve();
          await gate.promise;
        }
        return nodeFileSystem.readFile(path, max);
      },
    };
    const bench = await start(t, fs);
    const { content, clock } = bench;
    await pushImage(bench, 'a', ['v1']);
    const [config, layer, loose] = [bytes(10), bytes(20), bytes(30)];
    for (const body of [config, layer, loose]) await pushBytes(bench, 'a', body);
    clock.now += 2 * DAY;
    armed = true;
    const collecting = collectGarbage(content);
    await reached.promise;
    const image = imageOf(config, layer);
    await content.putManifest('a', image, ['late']);
    assert.ok(await content.manifest('a', 'v1'), 'reads go on');
    gate.resolve();
    assert.equal((await collecting).blobs, 1);
    for (const body of [config, layer]) assert.ok(await content.blob('a', digestOf(body)));
    assert.equal(await content.blob('a', digestOf(loose)), undefined);
  });

  test('untagged manifests stay, unless it is told their age', async (t) => {
    const bench = await start(t);
    await pushImage(bench, 'a');
    bench.clock.now += 400 * DAY;
    assert.deepEqual(await collectGarbage(bench.content), NOTHING);
    bench.clock.now -= 399 * DAY;
    assert.equal((await collectGarbage(bench.content, { graceMs: HOUR, untaggedMs: 2 * DAY })).manifests, 0);
    bench.clock.now += 2 * DAY;
    const collected = await collectGarbage(bench.content, { graceMs: HOUR, untaggedMs: 2 * DAY });
    assert.deepEqual({ ...collected, bytes: 0 }, { manifests: 1, blobs: 2, bytes: 0 });
    assert.deepEqual(await storedFiles(bench.root), []);
  });

  test('a tag, an index that stays and a subject that stays keep a manifest, with all that hangs on it', async (t) => {
    const bench = await start(t);
    const { content, clock } = bench;
    const child = await pushImage(bench, 'a');
    const index = indexOf(child);
    await content.putManifest('a', index, ['v1']);
    const signature = await pushImage(bench, 'a', [], child);
    const countersignature = await pushImage(bench, 'a', [], signature);
    const moved = await pushImage(bench, 'a', ['latest']);
    const current = await pushImage(bench, 'a', ['latest']);
    const orphan = await pushImage(bench, 'a', [], imageOf(bytes(1), bytes(2)));
    const lost = await pushImage(bench, 'a');
    const lostIndex = indexOf(lost);
    await content.putManifest('a', lostIndex, []);
    const lostSignature = await pushImage(bench, 'a', [], lostIndex);
    clock.now += 10 * DAY;
    assert.equal((await collectGarbage(content, { untaggedMs: 9 * DAY })).manifests, 5);
    for (const { digest } of [child, index, signature, countersignature, current]) assert.ok(await content.manifest('a', digest));
    for (const { digest } of [moved, orphan, lost, lostIndex, lostSignature])
      assert.equal(await content.manifest('a', digest), undefined);
    assert.deepEqual(
      (await content.referrers('a', child.digest)).map(({ digest }) => digest),
      [signature.digest],
    );
  });

  test('a manifest whose tag has just gone, or that was just pulled, gets the grace period', async (t) => {
    const bench = await start(t);
    const { content, clock } = bench;
    const untagged = await pushImage(bench, 'a', ['v1']);
    const pulled = await pushImage(bench, 'a');
    const pulledIndex = indexOf(pulled);
    await content.putManifest('a', pulledIndex, []);
    clock.now += 10 * DAY;
    await content.deleteTag('a', 'v1');
    await content.manifest('a', pulledIndex.digest);
    assert.deepEqual(await collectGarbage(content, { untaggedMs: DAY }), NOTHING);
    assert.ok(await content.manifest('a', pulled.digest), 'an index keeps its image');
    clock.now += 2 * DAY;
    assert.equal((await collectGarbage(content, { untaggedMs: DAY })).manifests, 3);
    assert.equal(await content.manifest('a', untagged.digest), undefined);
  });

  test('an index that is pulled while it decides keeps its images, and a subject its referrers', async (t) => {
    let onStat: (path: string) => Promise<unknown> = async () => undefined;
    const fs: FileSystem = {
      ...nodeFileSystem,
      async stat(path) {
        await onStat(path);
        return nodeFileSystem.stat(path);
      },
    };
    const bench = await start(t, fs);
    const { content, clock } = bench;
    const child = await pushImage(bench, 'a');
    const index = indexOf(child);
    await content.putManifest('a', index, []);
    const signature = await pushImage(bench, 'a', [], index);
    const last = await pushImage(bench, 'a');
    clock.now += 10 * DAY;
    const lastRecord = `/_manifests/${last.digest.replace(':', '/')}`;
    onStat = async (path) => {
      if (!path.endsWith(lastRecord)) return;
      onStat = async () => undefined;
      assert.ok(await content.manifest('a', index.digest));
    };
    assert.equal((await collectGarbage(content, { untaggedMs: DAY })).manifests, 1);
    for (const { digest } of [child, index, signature]) assert.ok(await content.manifest('a', digest));
    for (const digest of [...child.blobs, ...signature.blobs]) assert.ok(await content.blob('a', digest));
    assert.equal(await content.manifest('a', last.digest), undefined);
  });

  test('where one manifest is damaged nothing is taken, and the operator is told', async (t) => {
    const bench = await start(t);
    const image = await pushImage(bench, 'a', ['v1']);
    await pushImage(bench, 'b', ['v1']);
    for (const repository of ['a', 'b']) await pushBytes(bench, repository, bytes(500));
    await writeFile(`${bench.root}/blobs/${image.digest.replace(':', '/')}`, 'damaged');
    bench.clock.now += 2 * DAY;
    assert.equal((await collectGarbage(bench.content)).blobs, 1);
    assert.match(bench.warnings.join(), /nothing is collected in a: its manifest sha256:.* can't be read/);
    assert.ok(await bench.content.blob('a', image.blobs[0]));
    assert.deepEqual(await bench.content.deleteManifest('a', image.digest), true);
    assert.equal((await collectGarbage(bench.content)).blobs, 2); // one of the three was just asked for
  });

  test('bytes that no repository has go at once, but not those that are being stored', async (t) => {
    const bench = await start(t);
    await pushImage(bench, 'a', ['v1']);
    const stray = bytes(700);
    await writeFile(`${bench.root}/blobs/${digestOf(stray).replace(':', '/')}`, stray);
    const upload = await bench.uploads.start('a');
    await bench.uploads.receive(upload, chunksOf(bytes(100)));
    assert.deepEqual(await collectGarbage(bench.content), { manifests: 0, blobs: 0, bytes: 700 });
    assert.equal((await storedFiles(bench.root)).length, 3);
    assert.equal((await readdir(`${bench.root}/uploads`)).length, 2);
  });

  test('it runs regularly, one run after the other, and a failed one is followed by the next', async (t) => {
    let broken = true;
    const fs: FileSystem = {
      ...nodeFileSystem,
      list: (path) =>
        broken && path.endsWith('/sha256')
          ? Promise.reject(Object.assign(new Error('i/o'), { code: 'EIO' }))
          : nodeFileSystem.list(path),
    };
    broken = false;
    const bench = await start(t, fs);
    await pushBytes(bench, 'a', bytes(10));
    bench.clock.now += 2 * DAY;
    const waits: { run: () => void; ms: number }[] = [];
    const outcomes: unknown[] = [];
    const regular = collectRegularly(bench.content, {
      everyMs: 5000,
      timer(run, ms) {
        waits.push({ run, ms });
        return () => void outcomes.push('called off');
      },
      done: (result) => outcomes.push(result),
      failed: () => outcomes.push('failed'),
    });
    broken = true;
    for (let i = 0; i < 2; i++) {
      waits.at(-1)?.run();
      while (waits.length < i + 2) await new Promise(setImmediate);
      broken = false;
    }
    await regular.stop();
    assert.deepEqual(
      waits.map(({ ms }) => ms),
      [5000, 5000, 5000],
    );
    assert.match(bench.warnings.join(), /^garbage collection: /);
    assert.deepEqual(outcomes, ['failed', { manifests: 0, blobs: 0, bytes: 0 }, 'called off']);
    assert.deepEqual(await storedFiles(bench.root), []);
  });
});

describe('the scrub', () => {
  test('a damaged blob is set aside and told, so that clients see that it is gone and push it again', async (t) => {
    const bench = await start(t);
    const body = bytes(3000);
    const image = await pushImage(bench, 'a', ['v1']);
    const damaged = await pushBytes(bench, 'a', body);
    await writeFile(`${bench.root}/blobs/${damaged.replace(':', '/')}`, bytes(3000));
    let slept = 0;
    const sleep = async (ms: number): Promise<void> => {
      slept += ms;
    };
    const result = await scrub(bench.content, { bytesPerSecond: 1000, sleep });
    assert.deepEqual(result, { blobs: 4, bytes: 3400 + image.size, damaged: 1 });
    assert.equal(Math.round(slept), 3400 + image.size);
    assert.equal(await bench.content.blob('a', damaged), undefined);
    assert.deepEqual(await readdir(`${bench.root}/damaged`), [damaged.replace(':', '-')]);
    assert.match(bench.warnings.join(), new RegExp(`${damaged} was damaged`));
    assert.equal((await bench.content.stats()).damaged, 1);
    await pushBytes(bench, 'a', body);
    assert.equal((await bench.content.blob('a', damaged))?.size, 3000);
    assert.equal((await scrub(bench.content, { sleep })).damaged, 0);
    assert.ok(await bench.content.manifest('a', 'v1'));
  });

  test('a blob that was pushed again while it was read stays', async (t) => {
    const bench = await start(t);
    const body = bytes(3000);
    const digest = await pushBytes(bench, 'a', body);
    await writeFile(`${bench.root}/blobs/${digest.replace(':', '/')}`, bytes(3001));
    const sleep = async (): Promise<void> => void (await pushBytes(bench, 'a', body));
    assert.equal((await scrub(bench.content, { sleep })).damaged, 0);
    assert.equal((await bench.content.blob('a', digest))?.size, 3000);
  });
});
