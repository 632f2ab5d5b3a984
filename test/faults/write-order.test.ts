/**
 * What a power cut leaves depends on what was flushed before what. The page cache hides that from a test that only kills, so the order itself is
 * looked at: every name that a commit point makes true is on the disk before it.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { it } from 'node:test';
import { BundleError } from '../../src/core/errors.ts';
import { rejectsWith } from '../support/assert-code.ts';
import { createFaultFileSystem, type Operation } from '../support/fault-file-system.ts';
import { disk, faultyTransport, loadInto, startJourney, startStore } from '../support/journey.ts';

const places = (operations: readonly Operation[], what: (o: Operation) => boolean): number[] =>
  operations.flatMap((o, i) => (what(o) ? [i] : []));
const first = (operations: readonly Operation[], what: (o: Operation) => boolean): number => {
  const found = operations.findIndex(what);
  assert.ok(found >= 0, `never happened: ${what}`);
  return found;
};

it('pull flushes every blob, then their directories, then the files of the generation, and only then names it; the name last', async (t) => {
  const journey = await startJourney(t);
  const directory = journey.path();
  const fs = createFaultFileSystem(disk);
  const { sequence } = await journey.pull(directory, 0, fs);
  const log = fs.operations;
  const { predicate } = (await journey.verify(directory)).generation.statement;
  const commit = first(log, (o) => o.change === 'rename' && o.path.endsWith(`-> ${directory}/generations/${sequence}`));
  for (const { digest } of predicate.blobs) {
    const path = `${directory}/blobs/sha256/${digest.slice(7)}`;
    const named = first(log, (o) => o.change === 'rename' && o.path.endsWith(`-> ${path}`));
    const flushed = first(log, (o) => o.change === 'syncFile' && o.path === path);
    assert.ok(named < flushed && flushed < commit, digest);
    const listed = places(log, (o) => o.change === 'syncDir' && o.path === `${directory}/blobs/sha256`);
    assert.ok(
      listed.some((i) => i > named && i < commit),
      `${digest}: its directory`,
    );
  }
  const written = places(log, (o) => o.change === 'close' && o.path.includes(`/generations/.tmp-${sequence}/`));
  assert.equal(written.length, 5);
  for (const close of written) {
    const { path } = log[close] as Operation;
    assert.ok(
      places(log, (o) => o.change === 'sync' && o.path === path).some((i) => i < close),
      path,
    );
  }
  const folder = first(log, (o) => o.change === 'syncDir' && o.path === `${directory}/generations/.tmp-${sequence}`);
  assert.ok(Math.max(...written) < folder && folder < commit);
  assert.ok(places(log, (o) => o.change === 'syncDir' && o.path === `${directory}/generations`).some((i) => i > commit));
});

it('an old generation is gone for good before the first of its blobs is', async (t) => {
  const journey = await startJourney(t);
  const directory = journey.path();
  const { sequence } = await journey.pull(directory, 0);
  const fs = createFaultFileSystem(disk);
  await journey.pull(directory, 1, fs, { keep: 1 });
  const aside = first(
    fs.operations,
    (o) => o.change === 'rename' && o.path.startsWith(`${directory}/generations/${sequence} -> `),
  );
  const removed = places(fs.operations, (o) => o.change === 'unlink' && o.path.includes('/blobs/sha256/'));
  assert.ok(removed.length > 0);
  const flushed = places(fs.operations, (o) => o.change === 'syncDir' && o.path === `${directory}/generations`);
  assert.ok(flushed.some((i) => i > aside && i < Math.min(...removed)));
});

it('a blob that was lost and came again is flushed although the generation is an old one', async (t) => {
  const journey = await startJourney(t);
  const directory = journey.path();
  await journey.pull(directory, 0);
  const blob = (await journey.verify(directory)).generation.statement.predicate.blobs[0] as { digest: string };
  const path = `${directory}/blobs/sha256/${blob.digest.slice(7)}`;
  await disk.unlink(path);
  const fs = createFaultFileSystem(disk);
  assert.equal((await journey.pull(directory, 0, fs)).outcome, 'unchanged');
  assert.ok(first(fs.operations, (o) => o.change === 'syncFile' && o.path === path) > 0);
  await journey.verify(directory);
});

it('a manifest of a committed generation that was damaged in place is written again by the next pull', async (t) => {
  const journey = await startJourney(t);
  const directory = journey.path();
  await journey.pull(directory, 0);
  const { targetDigest } = (await journey.verify(directory)).generation.statement.predicate.contents[0] as {
    targetDigest: string;
  };
  const path = `${directory}/blobs/sha256/${targetDigest.slice(7)}`;
  const bytes = await readFile(path);
  bytes[20] = (bytes[20] as number) ^ 1;
  await writeFile(path, bytes);
  await journey.pull(directory, 0);
  await journey.verify(directory);
});

it('load has "loading" on the disk, flushed, before the first tag is sent', async (t) => {
  const journey = await startJourney(t);
  const store = await startStore(t);
  const directory = journey.path();
  await journey.pull(directory, 0);
  const fs = createFaultFileSystem(disk);
  const inner = faultyTransport();
  const at: number[] = [];
  let images = 0;
  const transport: typeof inner = {
    ...inner,
    send(request) {
      const name = decodeURIComponent(request.url.pathname);
      if (request.method === 'PUT' && /\/manifests\/[^/:]+$/.test(name)) {
        at.push(fs.operations.length);
        if (!name.endsWith('.sig')) images++;
      }
      return inner.send(request);
    },
  };
  await loadInto(store, await journey.verify(directory), journey.path('state'), { fs, transport });
  assert.equal(images, 3);
  assert.ok(at.length > images, "signatures' tags count too");
  const before = fs.operations.slice(0, at[0]);
  const file = first(before, (o) => o.change === 'rename' && o.path.endsWith('/lumen.json'));
  const temporary = (before[file] as Operation).path.split(' -> ')[0];
  assert.ok(
    places(before, (o) => o.change === 'sync' && o.path === temporary).some((i) => i < file),
    'its bytes',
  );
  assert.ok(
    places(before, (o) => o.change === 'syncDir').some((i) => i > file),
    'its name',
  );
});

/** Ends when the process would be idle: timers and answers that were under way have had their time. */
const later = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 120));

it('once a pull has ended, also by a fault of its own, nothing is written any more: the lock is let go', async (t) => {
  const journey = await startJourney(t);
  const directory = journey.path();
  const { blobs } = journey.images.app[0];
  const app = blobs.map((b) => b.digest.slice(7));
  let slow = 0;
  const fs = createFaultFileSystem({
    ...disk,
    async create(path, mode) {
      if (app.some((digest) => path.endsWith(digest))) throw new TypeError('a fault of bundle itself');
      return disk.create(path, mode);
    },
    // What the other image needs takes its time.
    async syncFile(path) {
      slow++;
      await new Promise((resolve) => setTimeout(resolve, 40));
      await disk.syncFile(path);
    },
  });
  await assert.rejects(journey.pull(directory, 0, fs, {}, 8), TypeError);
  assert.ok(slow > 0);
  const count = fs.operations.length;
  await later();
  assert.deepEqual(fs.operations.slice(count), []);
});

it('once a load has ended, no tag of it moves any more: a newer one may already be at work', async (t) => {
  const journey = await startJourney(t);
  const store = await startStore(t);
  const directory = journey.path();
  await journey.pull(directory, 0);
  const inner = faultyTransport();
  let refused = 0;
  t.after(() => inner.close());
  const transport: typeof inner = {
    ...inner,
    // What is under way is not cut off: the order is to be right by itself.
    close: async () => undefined,
    async send(request) {
      const name = decodeURIComponent(request.url.pathname);
      const isTag = request.method === 'PUT' && /\/manifests\/[^/:]+$/.test(name) && !name.endsWith('.sig');
      if (isTag && request.url.pathname.includes('team/tool')) {
        refused++;
        throw new BundleError('E_REGISTRY', 'this tag is not for you', { origin: 'target' });
      }
      if (isTag) await new Promise((resolve) => setTimeout(resolve, 60));
      return inner.send(request);
    },
  };
  const bundle = await journey.verify(directory);
  await rejectsWith(loadInto(store, bundle, journey.path('state'), { transport, concurrency: 8 }), 'E_INCOMPLETE');
  assert.equal(refused, 1);
  const count = store.requests.length;
  await later();
  assert.deepEqual(store.requests.slice(count), []);
});
