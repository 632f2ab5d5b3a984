import { type BundleError, isBundleError } from '../core/errors.ts';

/** distribution-spec "Error Codes"; UNKNOWN is for our own failures. */
export type RefusalCode =
  | 'BLOB_UNKNOWN'
  | 'BLOB_UPLOAD_INVALID'
  | 'BLOB_UPLOAD_UNKNOWN'
  | 'DIGEST_INVALID'
  | 'MANIFEST_BLOB_UNKNOWN'
  | 'MANIFEST_INVALID'
  | 'MANIFEST_UNKNOWN'
  | 'NAME_INVALID'
  | 'NAME_UNKNOWN'
  | 'SIZE_INVALID'
  | 'UNAUTHORIZED'
  | 'DENIED'
  | 'UNSUPPORTED'
  | 'TOOMANYREQUESTS'
  | 'UNKNOWN';

export type Headers = Readonly<Record<string, string | readonly string[]>>;
export type RefusalOptions = Readonly<{ detail?: unknown; headers?: Headers; cause?: unknown }>;

/** An answer to the client that is not what it asked for. What the client did is said; paths and causes of ours stay here. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly status: number;
  readonly code: RefusalCode;
  readonly detail: unknown;
  readonly headers: Headers;

  constructor(status: number, code: RefusalCode, message: string, options: RefusalOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.status = status;
    this.code = code;
    this.detail = options.detail;
    this.headers = options.headers ?? {};
  }

  /** distribution-spec "Error Codes": the body of every 4xx. */
  get body(): Buffer {
    const detail = this.detail === undefined ? {} : { detail: this.detail };
    return Buffer.from(JSON.stringify({ errors: [{ code: this.code, message: this.message, ...detail }] }));
  }
}

const ofBundleError = (error: BundleError): Refusal => {
  const { message, code } = error;
  if (code === 'E_DIGEST_INVALID') return new Refusal(400, 'DIGEST_INVALID', message, { cause: error });
  if (code === 'E_DISK_FULL') {
    // The figures of the floor, and nothing of ours: a system error names paths.
    const { free, floor } = error.detail;
    const detail = floor === undefined ? {} : { detail: { free, floor } };
    return new Refusal(507, 'DENIED', 'no space left in the registry', { cause: error, ...detail });
  }
  return new Refusal(500, 'UNKNOWN', 'the registry failed to answer', { cause: error });
};

/** What the client is told about a failure. Only refusals say more than that it failed. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (isBundleError(error)) return ofBundleError(error);
  return new Refusal(500, 'UNKNOWN', 'the registry failed to answer', { cause: error });
}
