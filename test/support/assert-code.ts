import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { type BundleError, type ErrorCode, isBundleError } from '../../src/core/errors.ts';

function check(error: unknown, code: ErrorCode, message: RegExp | undefined): BundleError {
  if (!isBundleError(error)) assert.fail(`want a BundleError ${code}, got ${inspect(error)}`);
  assert.equal(error.code, code, `want code ${code}, got ${error.code}: ${error.message}`);
  if (message !== undefined) assert.match(error.message, message);
  return error;
}

/** Waits for a rejection with this code and gives the error back, for looking at its hint or detail. */
export async function rejectsWith(promise: Promise<unknown>, code: ErrorCode, message?: RegExp): Promise<BundleError> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    return check(error, code, message);
  }
  return assert.fail(`want ${code}, but it succeeded with ${inspect(value, { depth: 1 })}`);
}

/** The same for a function that throws at once. */
export function throwsWith(call: () => unknown, code: ErrorCode, message?: RegExp): BundleError {
  let value: unknown;
  try {
    value = call();
  } catch (error) {
    return check(error, code, message);
  }
  return assert.fail(`want ${code}, but it succeeded with ${inspect(value, { depth: 1 })}`);
}
