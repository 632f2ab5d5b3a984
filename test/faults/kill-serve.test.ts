/** Our own registry on disk, killed around every change that it makes: what it acknowledged is there, nothing half is visible, and it goes on. */
import assert from 'node:assert/strict';
import { cp, readdir, rm } from 'node:fs/promises';
import { it, type TestContext } from 'node:test';
import { digestOf } from '../../src/core/digest.ts';
import type { FileSystem } from '../../src/files/file-system.ts';
import {
  closeBench,
  DIGESTS,
  type DiskBench,
  openBench,
  PUSHES,
  REMOVALS,
  requireBetween,
  requireTidy,
  requireWhole,
  type Step,
  stateAfter,
  visible,
} from '../support/disk-registry.ts';
import { buryOwners, createFaultFileSystem, faultName, Killed, killsOf } from '../support/fault-file-system.ts';
import { disk } from '../support/journey.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Opens, does the steps, closes. @returns how many steps were acknowledged */
async function live(fs: FileSystem, root: string, steps: readonly Step[], done: { steps: number }): Promise<void> {
  const bench = await openBench(fs, root);
  for (const step of steps) {
    await step.run(bench);
    done.steps++;
  }
  await closeBench(bench);
}

async function killEverywhere(t: TestContext, before: readonly Step[], steps: readonly Step[]): Promise<void> {
  const base = await tempDir(t);
  const start = `${base}/start`;
  await live(disk, start, before, { steps: 0 });
  const counting = createFaultFileSystem(disk);
  await cp(start, `${base}/whole`, { recursive: true });
  await live(counting, `${base}/whole`, steps, { steps: 0 });
  const first = stateAfter(before);
  const last = stateAfter(steps, first);
  let kills = 0;
  for (const fault of killsOf(counting.operations)) {
    const name = faultName(fault, counting.operations);
    const root = `${base}/${++kills}`;
    await cp(start, root, { recursive: true });
    const fs = createFaultFileSystem(disk, fault);
    const done = { steps: 0 };
    await assert.rejects(live(fs, root, steps, done), Killed, name);
    assert.equal(fs.struck, 1, name);
    await buryOwners(root);
    const bench = await openBench(disk, root);
    await requireTidy(root, bench);
    await requireWhole(bench.content);
    const acknowledged = stateAfter(steps.slice(0, done.steps), first);
    const next = stateAfter(steps.slice(0, done.steps + 1), first);
    requireBetween(await visible(bench, DIGESTS), acknowledged, next, name);
    for (const step of steps.slice(done.steps)) await step.run(bench);
    assert.deepEqual([...(await visible(bench, DIGESTS))].sort(), [...last].sort(), `${name}: after the rerun`);
    await closeBench(bench);
    assert.deepEqual(
      (await readdir(root)).filter((entry) => entry.startsWith('.')),
      [],
      name,
    );
    await rm(root, { recursive: true });
  }
  t.diagnostic(`${kills} kills around ${counting.operations.length} changes`);
}

it('opening an empty directory, pushes, a mount, manifests with tags and subject, a moved tag, closing', (t) =>
  killEverywhere(t, [], PUSHES));

it('opening, deletes of tags, manifests and blobs, garbage collection, closing', (t) => killEverywhere(t, PUSHES, REMOVALS));

it('an upload session goes on behind what was acknowledged, wherever the process was killed', async (t) => {
  const base = await tempDir(t);
  const bytes = Buffer.alloc(900_000, 'a session that goes on; ');
  const parts = [bytes.subarray(0, 300_000), bytes.subarray(300_000, 600_000), bytes.subarray(600_000)] as const;
  type Known = { id?: string; received: number; done: boolean };
  const send = async (bench: DiskBench, known: Known): Promise<void> => {
    known.id = (await bench.uploads.start('up')).id;
    for (const part of parts) {
      const upload = await bench.uploads.find('up', known.id);
      await bench.uploads.receive(upload, inChunks(part));
      known.received = upload.received;
    }
    await bench.uploads.finish(await bench.uploads.find('up', known.id), digestOf(bytes));
    known.done = true;
    await closeBench(bench);
  };
  const counting = createFaultFileSystem(disk);
  await send(await openBench(counting, `${base}/whole`), { received: 0, done: false });
  let [kills, resumed] = [0, 0];
  for (const fault of killsOf(counting.operations)) {
    const name = faultName(fault, counting.operations);
    const root = `${base}/${++kills}`;
    const known: Known = { received: 0, done: false };
    const fs = createFaultFileSystem(disk, fault);
    await assert.rejects(async () => send(await openBench(fs, root), known), Killed, name);
    await buryOwners(root);
    const bench = await openBench(disk, root);
    await requireTidy(root, bench);
    const blob = await bench.content.blob('up', digestOf(bytes));
    if (known.done) assert.ok(blob, name);
    const upload = known.id === undefined ? undefined : await bench.uploads.find('up', known.id).catch(() => undefined);
    if (upload !== undefined) {
      assert.ok(upload.received >= known.received, `${name}: ${upload.received} of ${known.received} acknowledged bytes`);
      await bench.uploads.receive(upload, inChunks(bytes.subarray(upload.received)));
      await bench.uploads.finish(upload, digestOf(bytes));
      resumed++;
    } else {
      // Only the closing request may end a session, and then it may also have made the blob.
      assert.ok(known.id === undefined || known.received === bytes.length, `${name}: the session is gone`);
    }
    await closeBench(bench);
    await rm(root, { recursive: true });
  }
  assert.ok(resumed > 0);
  t.diagnostic(`${kills} kills around ${counting.operations.length} changes; in ${resumed} of them the session went on`);
});

async function* inChunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
}
