/** Room that stays free on the disk: pushes are refused with 507 before it is used up, everything else goes on. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { digestOf } from '../../src/core/digest.ts';
import type { FileSystem } from '../../src/files/file-system.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { collectGarbage } from '../../src/serve/garbage.ts';
import { rejectsWith } from '../support/assert-code.ts';
import { chunksOf, DAY, pushBytes, temporaryBench } from '../support/disk-registry.ts';
import type { Ending } from '../support/temp-dir.ts';
import { assertRefused, bench, bytes, pushBlob, pushImage } from './serve-harness.ts';

const FLOOR = 1_000_000;

async function start(t: Ending) {
  const disk = { free: 10_000_000, looks: 0 };
  const fs: FileSystem = {
    ...nodeFileSystem,
    async freeBytes() {
      disk.looks++;
      return disk.free;
    },
  };
  return { ...(await temporaryBench(t, fs, { minFreeBytes: FLOOR })), disk };
}

describe('the floor of free space', () => {
  test('below it uploads and manifests are 507 with the figures; reads, deletes and collection go on', async (t) => {
    const { content, clock, disk } = await start(t);
    const { call } = await bench(t, { name: 'disk', open: async () => content });
    const image = await pushImage(call, 'a', {}, 'v1');
    const loose = await pushBlob(call, 'a', bytes(100));
    disk.free = FLOOR - 1;
    clock.now += 2000;
    const post = await call('POST', '/v2/a/blobs/uploads/');
    assertRefused(post, 507, 'DENIED');
    assert.deepEqual(JSON.parse(post.body.toString()).errors[0].detail, { free: FLOOR - 1, floor: FLOOR });
    const put = { body: image.bytes, headers: { 'content-type': image.mediaType } };
    assertRefused(await call('PUT', '/v2/a/manifests/v2', put), 507, 'DENIED');
    assert.equal((await call('GET', '/v2/a/manifests/v1')).status, 200);
    clock.now += 2 * DAY;
    assert.equal((await collectGarbage(content)).blobs, 1);
    assert.equal(await content.blob('a', loose), undefined);
    assert.equal((await call('DELETE', '/v2/a/manifests/v1')).status, 202);
    disk.free = 10_000_000;
    clock.now += 1000;
    assert.equal((await call('PUT', '/v2/a/manifests/v2', put)).status, 201);
  });

  test('an upload that comes without a length is cut off at the floor, and its bytes are freed', async (t) => {
    const { content, uploads, clock, disk, root } = await start(t);
    const upload = await uploads.start('a');
    disk.free = FLOOR + 5000;
    clock.now += 1000;
    await rejectsWith(uploads.receive(upload, chunksOf(bytes(10_000), 1000)), 'E_DISK_FULL');
    assert.deepEqual(await readdir(`${root}/uploads`), []);
    assert.equal(uploads.count(), 0);
    assert.equal((await content.stats()).openUploads, 0);
  });

  test('what running uploads have announced counts as taken, until they end or break off', async (t) => {
    const bench = await start(t);
    const { uploads, disk, clock } = bench;
    disk.free = FLOOR + 5000;
    clock.now += 1000;
    const [first, second, third] = [await uploads.start('a'), await uploads.start('a'), await uploads.start('a')];
    const gate = Promise.withResolvers<void>();
    async function* slow(): AsyncGenerator<Uint8Array> {
      await gate.promise;
      yield bytes(10);
      throw new Error('the client went away');
    }
    const broken = uploads.receive(first, slow(), undefined, 4000);
    await rejectsWith(uploads.receive(second, chunksOf(bytes(2000)), undefined, 2000), 'E_DISK_FULL');
    gate.resolve();
    await assert.rejects(broken, /went away/);
    const body = bytes(2000);
    await uploads.receive(third, chunksOf(body), undefined, 2000);
    await uploads.finish(third, digestOf(body));
  });

  test('the file system is asked once a second, or every 64 MiB', async (t) => {
    const bench = await start(t);
    const { uploads, disk, clock } = bench;
    disk.free = 1e12;
    await pushBytes(bench, 'a', bytes(100));
    const before = disk.looks;
    for (let i = 0; i < 20; i++) await pushBytes(bench, 'a', bytes(100));
    assert.equal(disk.looks, before);
    clock.now += 1000;
    await pushBytes(bench, 'a', bytes(100));
    assert.equal(disk.looks, before + 1);
    const piece = Buffer.alloc(1024 * 1024);
    async function* many(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 130; i++) yield piece;
    }
    const upload = await uploads.start('a');
    await uploads.receive(upload, many());
    assert.equal(disk.looks, before + 3);
    await uploads.cancel(upload);
  });
});
