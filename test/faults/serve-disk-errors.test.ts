/** Our own registry on a disk that is full or broken at any change: 507 or 500, nothing wrong to be seen, and it goes on. */
import assert from 'node:assert/strict';
import { cp, readdir, rm } from 'node:fs/promises';
import { it, type TestContext } from 'node:test';
import { isBundleError } from '../../src/core/errors.ts';
import { refusalOf } from '../../src/serve/refusal.ts';
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
import { buryOwners, createFaultFileSystem, type DiskFault, faultName, type Operation } from '../support/fault-file-system.ts';
import { disk } from '../support/journey.ts';
import { tempDir } from '../support/temp-dir.ts';

function* faultsOf(operations: readonly Operation[]): Generator<Extract<DiskFault, { fail: string }>> {
  // In turn, for time: every kind of change comes often enough to meet both.
  for (const [i] of operations.entries()) yield { fail: i % 2 === 0 ? 'ENOSPC' : 'EIO', at: i + 1 };
}

const run = async (steps: readonly Step[], bench: DiskBench): Promise<void> => {
  for (const step of steps) await step.run(bench);
};

async function failEverywhere(t: TestContext, before: readonly Step[], steps: readonly Step[]): Promise<void> {
  const base = await tempDir(t);
  const start = `${base}/start`;
  const prepared = await openBench(disk, start);
  await run(before, prepared);
  await closeBench(prepared);
  await cp(start, `${base}/whole`, { recursive: true });
  const counting = createFaultFileSystem(disk);
  const counted = await openBench(counting, `${base}/whole`);
  await run(steps, counted);
  await closeBench(counted);
  const first = stateAfter(before);
  const last = stateAfter(steps, first);
  const answers = new Map<string, number>();
  const count = (what: string): unknown => answers.set(what, (answers.get(what) ?? 0) + 1);
  let faults = 0;
  for (const fault of faultsOf(counting.operations)) {
    const name = faultName(fault, counting.operations);
    const root = `${base}/${++faults}`;
    await cp(start, root, { recursive: true });
    const fs = createFaultFileSystem(disk, fault);
    let bench: DiskBench;
    try {
      bench = await openBench(fs, root);
    } catch (error) {
      assert.ok(isBundleError(error), `${name}: ${String(error)}`);
      count(`not opened ${error.code}`);
      await buryOwners(root);
      bench = await openBench(disk, root);
    }
    for (const [i, step] of steps.entries()) {
      const [here, next] = [stateAfter(steps.slice(0, i), first), stateAfter(steps.slice(0, i + 1), first)];
      try {
        await step.run(bench);
      } catch (error) {
        const { status } = refusalOf(error);
        assert.ok(isBundleError(error), `${name}, ${step.name}: ${String(error)}`);
        assert.equal(status, fault.fail === 'ENOSPC' ? 507 : 500, `${name}, ${step.name}`);
        count(String(status));
        requireBetween(await visible(bench, DIGESTS), here, next, `${name}, ${step.name}`);
        await requireWhole(bench.content);
        assert.equal(bench.uploads.count(), 0, `${name}: an upload that failed is still open`);
        assert.deepEqual(await readdir(`${root}/uploads`), [], `${name}: bytes of an upload that failed`);
        await step.run(bench);
      }
    }
    assert.deepEqual([...(await visible(bench, DIGESTS))].sort(), [...last].sort(), `${name}: after all`);
    await closeBench(bench).catch((error) => {
      assert.ok(isBundleError(error), `${name}: ${String(error)}`);
      count('not closed');
    });
    await buryOwners(root);
    const again = await openBench(disk, root);
    await requireTidy(root, again);
    assert.deepEqual([...(await visible(again, DIGESTS))].sort(), [...last].sort(), `${name}: after a restart`);
    await closeBench(again);
    await rm(root, { recursive: true });
  }
  const tally = [...answers].map(([what, n]) => `${what}: ${n}`).join(', ');
  t.diagnostic(`${faults} faults at ${counting.operations.length} changes: ${tally}; the others were of no consequence`);
}

it('pushes, a mount, manifests with tags and subject, a moved tag', (t) => failEverywhere(t, [], PUSHES));

it('deletes of tags, manifests and blobs, garbage collection', (t) => failEverywhere(t, PUSHES, REMOVALS));
