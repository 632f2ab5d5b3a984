import { BundleError, isBundleError } from '../core/errors.ts';

const RETRYABLE: readonly string[] = [
  'E_NETWORK',
  'E_TIMEOUT',
  'E_TLS',
  'E_REGISTRY',
  'E_NOT_FOUND',
  'E_AUTH',
  'E_RATE_LIMIT',
  'E_DISK',
  'E_DISK_FULL',
  'E_REDIRECT',
];

/** Exit code 9 wins over 4 and 7: what was pushed is right, and running again goes on from there. Other errors pass unchanged. */
export function incomplete(error: unknown, what: string): unknown {
  if (!isBundleError(error) || !RETRYABLE.includes(error.code)) return error;
  return new BundleError('E_INCOMPLETE', `${what}: ${error.message}`, {
    cause: error,
    origin: 'target',
    hint: `${error.hint === undefined ? '' : `${error.hint}; then `}run the same command again: it finishes what is missing`,
    detail: { ...error.detail, code: error.code },
  });
}

/** The failure of one target after others (`written`, their names) were written. */
export const afterOthers = (error: unknown, written: readonly string[]): unknown =>
  written.length === 0 ? error : incomplete(error, `only ${written.join(', ')} was loaded`);
