import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { inParallel } from '../../../src/core/in-parallel.ts';

test('all are used once, with their index, and never more at once than said', async () => {
  const seen: string[] = [];
  let now = 0;
  let most = 0;
  await inParallel(['a', 'b', 'c', 'd', 'e'], 2, async (item, index) => {
    most = Math.max(most, ++now);
    await setImmediate();
    seen[index] = item;
    now--;
  });
  assert.deepEqual(seen, ['a', 'b', 'c', 'd', 'e']);
  assert.equal(most, 2);
});

test('after a failure no more are begun, those under way end first, and the earliest failure is the one thrown', async () => {
  const begun: number[] = [];
  const ended: number[] = [];
  const run = inParallel([0, 1, 2, 3, 4, 5], 3, async (item) => {
    begun.push(item);
    for (let i = 0; i < 5 - item; i++) await setImmediate(); // the later ones fail first
    ended.push(item);
    throw new Error(`failure ${item}`);
  });
  await assert.rejects(run, /failure 0/);
  assert.deepEqual(begun, [0, 1, 2]);
  assert.deepEqual(ended.toSorted(), [0, 1, 2]);
});

test('nothing to do is done', async () => {
  await inParallel([], 4, () => assert.fail('there is none'));
});
