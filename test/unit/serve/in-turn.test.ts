import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurns } from '../../../src/serve/in-turn.ts';

test('changes of one key run one after the other, in the order of the calls, a failed one included', async () => {
  const inTurn = createTurns();
  const seen: string[] = [];
  const step =
    (name: string, fails = false) =>
    async (): Promise<string> => {
      seen.push(`${name} begins`);
      await new Promise(setImmediate);
      seen.push(`${name} ends`);
      if (fails) throw new Error(name);
      return name;
    };
  const results = await Promise.allSettled([inTurn('k', step('a')), inTurn('k', step('b', true)), inTurn('k', step('c'))]);
  assert.deepEqual(seen, ['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
  assert.deepEqual(
    results.map((result) => result.status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
});

test('another key does not wait', async () => {
  const inTurn = createTurns();
  const held = Promise.withResolvers<void>();
  const first = inTurn('a', () => held.promise);
  assert.equal(await inTurn('b', async () => 'done'), 'done');
  held.resolve();
  await first;
});
