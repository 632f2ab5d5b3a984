/** Where every fuzz test gets its time, its seed and its way of reporting. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { type BundleError, type ErrorCode, isBundleError } from '../../src/core/errors.ts';

/** Per subject, of which there are forty. `BUNDLE_FUZZ_SECONDS=600 node --test test/fuzz/headers.test.ts` is for by hand. */
const SECONDS = Number(process.env.BUNDLE_FUZZ_SECONDS ?? 0.7);
/** Fresh each time; what a failure printed as `seed` is given here to see it again. */
const SEED = Number(process.env.BUNDLE_FUZZ_SEED ?? randomInt(2 ** 31));
/** From here on a subject that took nothing, or refused nothing, is one whose inputs don't reach it. */
const ENOUGH = 300;
/** A hang, or a regexp whose steps grow with the square: both take minutes at the sizes used here. */
export const HANG_MS = 10_000;

/** What became of one input. */
export type Fate = 'taken' | 'refused';

/**
 * A test that makes inputs until its time is over. A failure is shrunk and printed by fast-check, with the seed to run it again.
 * @param check throws when the subject misbehaves; says whether the input was taken, so that a subject that takes nothing is noticed
 * @param batch inputs between two looks at the clock
 */
export function fuzz<T>(name: string, inputs: fc.Arbitrary<T>, check: (input: T) => Promise<Fate>, batch = 50): void {
  test(name, async (t) => {
    const count = { taken: 0, refused: 0 };
    const property = fc.asyncProperty(inputs, async (input) => {
      count[await check(input)]++;
    });
    const end = performance.now() + SECONDS * 1000;
    for (let seed = SEED; seed === SEED || performance.now() < end; seed = (seed + 1) | 0)
      await fc.assert(property, { seed, numRuns: batch });
    const { taken, refused } = count;
    t.diagnostic(`${taken + refused} inputs: ${taken} taken, ${refused} refused; seed ${SEED}`);
    if (taken + refused >= ENOUGH) assert.ok(taken > 0, 'no input got past the first check: the inputs test nothing');
  });
}

/** Long enough for five faults with their places, short enough for a terminal. */
const MESSAGE_CHARS = 20_000;

/**
 * Runs what may refuse its input with a promised code.
 * @returns the value in a list of one, or nothing when it was refused
 * @throws whatever was thrown that is no BundleError with one of `codes`
 */
export async function attempt<T>(run: () => T | Promise<T>, ...codes: ErrorCode[]): Promise<[T] | undefined> {
  try {
    return [await run()];
  } catch (error) {
    requirePromised(error, codes);
    return undefined;
  }
}

export function requirePromised(error: unknown, codes: readonly ErrorCode[]): asserts error is BundleError {
  if (!isBundleError(error)) assert.fail(`not a BundleError: ${inspect(error)}`);
  assert.ok(codes.includes(error.code), `${error.code} is not promised here (${codes.join(', ')}): ${error.message}`);
  assert.ok(error.message.length < MESSAGE_CHARS, `a message of ${error.message.length} characters`);
  assert.doesNotMatch(error.message, /[\u0000-\u0008\u000b-\u001f]/, 'a message that can steer a terminal');
}
