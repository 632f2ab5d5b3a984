/** Some hundred changes of few things at once, with collections in between: in the end everything fits together. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { digestOf } from '../../src/core/digest.ts';
import { isBundleError } from '../../src/core/errors.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { collectGarbage } from '../../src/serve/garbage.ts';
import { missingFrom } from '../../src/serve/manifest-check.ts';
import { parsedManifest } from '../../src/serve/referrer.ts';
import { Refusal } from '../../src/serve/refusal.ts';
import { closeBench, DAY, HOUR, imageOf, indexOf, openBench, pushBytes, requireTidy, visible } from '../support/disk-registry.ts';
import { withoutSync } from '../support/fault-file-system.ts';
import { createPrng } from '../support/random-image.ts';
import { tempDir } from '../support/temp-dir.ts';

const ROUNDS = 12;
const AT_ONCE = 60;

test('pushes, mounts, deletes and collections of the same few digests', async (t) => {
  const seed = Number(process.env.STORM_SEED ?? randomInt(2 ** 31));
  t.diagnostic(`STORM_SEED=${seed}`);
  const prng = createPrng(seed);
  const pick = <T>(items: readonly T[]): T => items[prng.int(items.length)] as T;
  const root = await tempDir(t);
  const bench = await openBench(withoutSync(nodeFileSystem), root);
  const { content, clock } = bench;
  const blobs = Array.from({ length: 5 }, (_, i) => Buffer.alloc(3000, `blob ${i}`));
  const images = [0, 1, 2, 3].map((i) => imageOf(blobs[i] as Buffer, blobs[i + 1] as Buffer));
  const manifests = [...images, indexOf(...images.slice(0, 2)), imageOf(blobs[4] as Buffer, blobs[4] as Buffer, images[0])];
  const digests = [...blobs.map((blob) => digestOf(blob)), ...manifests.map(({ digest }) => digest)];
  const repositories = ['a', 'a/b', 'c'];
  const done = new Map<string, number>();

  /** As the handler does it: what it names must be there, and then it may not go. @returns false when something was missing */
  const put = async (repository: string, manifest: (typeof manifests)[number], tags: string[]): Promise<boolean> => {
    const parsed = parsedManifest(manifest);
    assert.ok(parsed);
    if ((await missingFrom(content, repository, parsed)).length > 0) return false;
    await content.putManifest(repository, manifest, tags);
    return true;
  };
  const operations: Record<string, (repository: string) => Promise<unknown>> = {
    'push blob': (repository) => pushBytes(bench, repository, pick(blobs)),
    'push image': async (repository) => {
      const i = prng.int(images.length);
      const tags = prng.int(2) === 0 ? [] : [pick(['x', 'y', 'z'])];
      for (const blob of [blobs[i], blobs[i + 1]]) await pushBytes(bench, repository, blob as Buffer);
      // Nobody deletes blobs by hand under the pusher here but this storm: what is promised only collection must leave.
      return put(repository, images[i] as (typeof images)[number], tags);
    },
    'put manifest': (repository) => put(repository, pick(manifests), prng.int(2) === 0 ? [] : [pick(['x', 'y', 'z'])]),
    mount: (repository) => content.mount(repository, digestOf(pick(blobs)), prng.int(2) === 0 ? undefined : pick(repositories)),
    'delete manifest': (repository) => content.deleteManifest(repository, pick(manifests).digest),
    'delete tag': (repository) => content.deleteTag(repository, pick(['x', 'y', 'z'])),
    'cancelled upload': async (repository) => bench.uploads.cancel(await bench.uploads.start(repository)),
    collect: () => collectGarbage(content, { graceMs: DAY, untaggedMs: HOUR }),
    read: () => visible(bench, digests).catch((error) => assert.ok(error.code === 'ENOENT' || error.code === 'ERR_ASSERTION')),
  };
  const names = Object.keys(operations);
  for (let round = 0; round < ROUNDS; round++) {
    clock.now += prng.int(3) * DAY;
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        const name = pick(names);
        done.set(name, (done.get(name) ?? 0) + 1);
        await operations[name]?.(pick(repositories)).catch((error) => {
          assert.ok(error instanceof Refusal || isBundleError(error), `${name}: ${String(error)}`);
          assert.fail(`${name}: ${(error as Error).message}`);
        });
      }),
    );
    await requireComplete();
  }
  t.diagnostic([...done].map(([name, n]) => `${name} ${n}`).join(', '));

  const before = await visible(bench, digests);
  await closeBench(bench);
  const again = await openBench(nodeFileSystem, root);
  await requireTidy(root, again);
  assert.deepEqual([...(await visible(again, digests))].sort(), [...before].sort(), 'memory and disk said the same');
  for (const repository of await again.content.repositories())
    for (const { digest } of manifests) await again.content.deleteManifest(repository, digest);
  again.clock.now += 2 * DAY;
  await collectGarbage(again.content);
  const { blobs: left, manifests: kept } = await again.content.stats();
  assert.deepEqual({ left, kept }, { left: 0, kept: 0 });
  await closeBench(again);

  /** Images are whole whoever deleted what: only an index may have lost its images, to a delete of those. */
  async function requireComplete(): Promise<void> {
    for (const repository of await content.repositories()) {
      for (const image of images) {
        if ((await content.manifest(repository, image.digest)) === undefined) continue;
        for (const digest of parsedManifest(image)?.kind === 'manifest' ? layersOf(image) : [])
          assert.ok(await content.blob(repository, digest), `${repository} lost ${digest} of ${image.digest}`);
      }
    }
  }
  function layersOf(image: (typeof images)[number]) {
    const parsed = parsedManifest(image);
    return parsed?.kind === 'manifest' ? [parsed.config, ...parsed.layers].map(({ digest }) => digest) : [];
  }
});
