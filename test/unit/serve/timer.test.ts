import assert from 'node:assert/strict';
import { test } from 'node:test';
import { repeat } from '../../../src/serve/timer.ts';

function manual() {
  const waits: (() => void)[] = [];
  const cancelled: number[] = [];
  return {
    waits,
    cancelled,
    timer: (run: () => void) => {
      const at = waits.push(run) - 1;
      return () => void cancelled.push(at);
    },
  };
}

test('the next run waits for the end of the last one, and a failure for nobody', async () => {
  const { timer, waits } = manual();
  const runs: PromiseWithResolvers<void>[] = [];
  const failures: unknown[] = [];
  const task = (): Promise<void> => {
    const run = Promise.withResolvers<void>();
    runs.push(run);
    return run.promise;
  };
  repeat(task, 1000, (error) => failures.push(error), timer);
  waits[0]?.();
  await new Promise(setImmediate);
  assert.equal(waits.length, 1);
  runs[0]?.reject('broken');
  await new Promise(setImmediate);
  assert.deepEqual(failures, ['broken']);
  assert.equal(waits.length, 2);
});

test('stopping calls off the next run, tells the one under way and waits for it', async () => {
  const { timer, waits, cancelled } = manual();
  const seen: string[] = [];
  const task = (signal: AbortSignal): Promise<void> =>
    new Promise((_, reject) =>
      signal.addEventListener('abort', () => {
        seen.push('told');
        reject(signal.reason);
      }),
    );
  const repetition = repeat(task, 1000, () => seen.push('failed'), timer);
  waits[0]?.();
  await repetition.stop();
  assert.deepEqual(seen, ['told']);
  assert.equal(waits.length, 1, 'no further run');
  const idle = repeat(task, 1000, () => seen.push('failed'), timer);
  await idle.stop();
  assert.deepEqual(cancelled.at(-1), 1);
});
