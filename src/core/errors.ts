/** Every failure a user can meet has a code here; each code has exactly one exit code (docs/design.md, "Exit codes"). */

const EXIT_OF = {
  E_UNEXPECTED: 1,
  /** k3s did not come up with the new mirror file; the old one is back in place. */
  E_RESTART: 1,
  E_USAGE: 2,
  // 3: manifest, lock or mirror file invalid or in conflict
  E_MANIFEST: 3,
  E_LOCK: 3,
  E_LOCK_STALE: 3,
  E_REFERENCE: 3,
  E_PLATFORM_MISSING: 3,
  E_TAG_DIGEST: 3,
  E_ALIAS_CONFLICT: 3,
  E_SCHEMA1: 3,
  E_MIRRORS: 3,
  E_MIRRORS_CONFLICT: 3,
  E_CREDENTIALS_FILE: 3,
  // 4: network or registry
  E_NETWORK: 4,
  E_TIMEOUT: 4,
  E_REGISTRY: 4,
  E_NOT_FOUND: 4,
  E_AUTH: 4,
  E_RATE_LIMIT: 4,
  E_REDIRECT: 4,
  E_TLS: 4,
  E_TOO_MANY_PAGES: 4,
  E_MIRROR_CHECK: 4,
  // 5: integrity
  E_DIGEST: 5,
  E_DIGEST_INVALID: 5,
  E_SIZE: 5,
  E_MISSING: 5,
  E_UNLISTED: 5,
  E_LAYOUT: 5,
  E_OCI_MANIFEST: 5,
  E_LIMIT: 5,
  E_NOT_REGULAR: 5,
  E_STATEMENT: 5,
  E_TARGET_DIGEST: 5,
  // 6: signature, trust, rollback, expiry, wrong name
  E_SIGNATURE: 6,
  E_UNSIGNED: 6,
  E_UNTRUSTED: 6,
  E_THRESHOLD: 6,
  E_TRUST_FILE: 6,
  E_KEY_FILE: 6,
  E_KEY_PASSWORD: 6,
  E_ROLLBACK: 6,
  E_EXPIRED: 6,
  E_WRONG_NAME: 6,
  E_TAG_OWNED: 6,
  // 7: disk
  E_DISK: 7,
  E_DISK_FULL: 7,
  // 8: locked by another process
  E_LOCKED: 8,
  // 9: something was written and running again will finish it
  E_INCOMPLETE: 9,
  // 10 and 11 are answers rather than failures
  E_NOTHING_TO_DO: 10,
  E_CHANGES: 11,
  E_INTERRUPTED: 130,
} as const;

export type ErrorCode = keyof typeof EXIT_OF;

/** Which side of the gap (or which machine) the failure belongs to. */
export type ErrorOrigin = 'source' | 'target' | 'bundle' | 'host';

export type ErrorOptions = Readonly<{
  /** What to do next, one sentence. */
  hint?: string | undefined;
  origin?: ErrorOrigin | undefined;
  cause?: unknown;
  detail?: Readonly<Record<string, unknown>> | undefined;
}>;

/** The one error class: `message` says what failed, on what, got against want; `hint` says what to do next. */
export class BundleError extends Error {
  override readonly name = 'BundleError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly origin: ErrorOrigin | undefined;
  readonly detail: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.origin = options.origin;
    this.detail = options.detail ?? {};
  }
}

/** The promised exit code of a code. */
export const exitCodeOf = (code: ErrorCode): number => EXIT_OF[code];

export const isBundleError = (error: unknown): error is BundleError => error instanceof BundleError;

/** True when `error` is a Node system error (`ENOENT`, …), optionally with one of `codes`. */
export function isSystemError(error: unknown, ...codes: string[]): error is NodeJS.ErrnoException {
  if (!(error instanceof Error) || typeof (error as NodeJS.ErrnoException).code !== 'string') return false;
  return codes.length === 0 || codes.includes((error as NodeJS.ErrnoException).code as string);
}

const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const DISK = new Set([
  'EIO',
  'EROFS',
  'EACCES',
  'EPERM',
  'ENOTDIR',
  'EISDIR',
  'EMFILE',
  'ENFILE',
  'EBUSY',
  'ENAMETOOLONG',
  'ENOENT',
  'ELOOP',
  'EXDEV',
  'EEXIST',
  'ENOTEMPTY',
  'EINVAL',
  'ENODEV',
]);

/** Wraps a file system error so that its exit code is the promised one; other errors pass unchanged. Never hides a BundleError. */
export function diskError(error: unknown, what: string): unknown {
  if (isBundleError(error) || !isSystemError(error)) return error;
  const code = error.code as string;
  if (FULL.has(code)) {
    return new BundleError('E_DISK_FULL', `${what}: no space left (${code})`, {
      cause: error,
      origin: 'host',
      hint: 'free some space and run the same command again; what is already there is used again',
    });
  }
  if (DISK.has(code)) return new BundleError('E_DISK', `${what}: ${error.message}`, { cause: error, origin: 'host' });
  return error;
}
