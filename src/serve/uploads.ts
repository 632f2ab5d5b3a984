import { randomUUID } from 'node:crypto';
import { algorithmOf, createHasher, type Digest, type DigestAlgorithm, finishDigest } from '../core/digest.ts';
import { LIMITS } from '../core/limits.ts';
import type { Staging, UploadRecord, WritableContent } from './content.ts';
import { Refusal } from './refusal.ts';

export type Upload = UploadRecord & {
  readonly staging: Staging;
  /** bytes held */
  received: number;
  /** The opening request says nothing of the algorithm: the first request with bytes guesses, the closing one may disagree. */
  hashing: Readonly<{ algorithm: DigestAlgorithm; hasher: ReturnType<typeof createHasher> }> | undefined;
  usedAt: number;
  busy: boolean;
};

export type UploadLimits = Readonly<{
  /** A session that nobody touched for so long makes room; default one hour. */
  idleMs?: number;
  /** However busy it is; default one day. */
  maxAgeMs?: number;
  /** At once; default 1000. */
  sessions?: number;
  now?: () => number;
}>;
export type Uploads = ReturnType<typeof createUploads>;

const HOUR_MS = 3_600_000;

/** Upload sessions of one server. Those whose bytes outlive the process (`content.savedUploads`) go on where they were. */
export function createUploads(content: WritableContent, limits: UploadLimits = {}) {
  const { idleMs = HOUR_MS, maxAgeMs = 24 * HOUR_MS, sessions = 1000, now = Date.now } = limits;
  const open = new Map<string, Upload>();
  let opening = 0;
  let restored: Promise<void> | undefined;

  const restore = async (): Promise<void> => {
    for (const saved of await content.savedUploads()) open.set(saved.id, { ...saved, hashing: undefined, busy: false });
  };
  /** A disk that failed to tell is asked again by the next request. */
  const ready = (): Promise<void> => {
    restored ??= restore().catch((error) => {
      restored = undefined;
      throw error;
    });
    return restored;
  };
  const drop = async (upload: Upload): Promise<void> => {
    open.delete(upload.id);
    await upload.staging.discard();
  };
  /** The end of whatever went wrong with the bytes themselves: nobody could go on from there. */
  const dropAndThrow = async (upload: Upload, error: unknown): Promise<never> => {
    await drop(upload);
    throw error;
  };
  const isOver = (upload: Upload): boolean =>
    !upload.busy && Math.min(upload.usedAt + idleMs, upload.startedAt + maxAgeMs) <= now();
  const sweep = async (): Promise<void> => {
    for (const upload of open.values()) if (isOver(upload)) await drop(upload);
  };
  /** @param algorithm what the client says its digest will be in @throws Refusal 429 @throws BundleError E_DISK, E_DISK_FULL */
  const start = async (repository: string, algorithm?: DigestAlgorithm): Promise<Upload> => {
    await ready();
    await sweep();
    if (open.size + opening >= sessions) {
      throw new Refusal(429, 'TOOMANYREQUESTS', `${open.size} uploads are open`, { headers: { 'Retry-After': '10' } });
    }
    const record = { id: randomUUID(), repository, startedAt: now(), ...(algorithm === undefined ? {} : { algorithm }) };
    opening++;
    try {
      const staging = await content.stage(record);
      const upload = { ...record, staging, received: 0, hashing: undefined, usedAt: now(), busy: false };
      open.set(upload.id, upload);
      return upload;
    } finally {
      opening--;
    }
  };
  /** What it has received is safe from here on. @throws Refusal 404 BLOB_UPLOAD_UNKNOWN: closed, cancelled, expired, of another repository */
  const find = async (repository: string, id: string): Promise<Upload> => {
    await ready();
    await sweep();
    const upload = open.get(id);
    if (upload?.repository !== repository) {
      throw new Refusal(404, 'BLOB_UPLOAD_UNKNOWN', 'no such upload session in this repository');
    }
    upload.usedAt = now();
    if (!upload.busy) await upload.staging.flush().catch((error) => dropAndThrow(upload, error));
    return upload;
  };
  /**
   * Adds a body. When the client breaks off, what has come so far stays.
   * @param expected the digest that the whole will have, where the client says so already
   * @param length of the body in bytes, where it is known: refused at once when there is no room
   * @throws Refusal 413; disk errors end the session
   */
  const receive = async (upload: Upload, body: AsyncIterable<Uint8Array>, expected?: Digest, length?: number): Promise<void> => {
    const guarded = <T>(step: Promise<T>): Promise<T> => step.catch((error) => dropAndThrow(upload, error));
    if (length !== undefined) await guarded(upload.staging.announce(length));
    try {
      for await (const chunk of body) await guarded(addChunk(upload, chunk, expected));
      await guarded(upload.staging.flush());
    } finally {
      upload.usedAt = now();
      await upload.staging.announce(0);
    }
  };
  /** Makes the bytes a blob. The session is over, whatever comes of it. @throws Refusal 400 DIGEST_INVALID when they are other bytes */
  const finish = async (upload: Upload, digest: Digest): Promise<void> => {
    open.delete(upload.id);
    await storeAs(upload, digest).catch((error) => dropAndThrow(upload, error));
  };
  /** The sessions stay for the next process, where the content can keep them. */
  const close = async (): Promise<void> => {
    await Promise.all([...open.values()].map((upload) => upload.staging.suspend()));
    open.clear();
  };
  return { start, find, receive, finish, cancel: drop, close, count: () => open.size };
}

async function addChunk(upload: Upload, chunk: Uint8Array, expected: Digest | undefined): Promise<void> {
  if (upload.received + chunk.length > LIMITS.blobBytes) {
    throw new Refusal(413, 'SIZE_INVALID', `a blob of more than ${LIMITS.blobBytes} bytes`);
  }
  upload.hashing ??= await startHashing(upload, upload.algorithm ?? (expected === undefined ? 'sha256' : algorithmOf(expected)));
  upload.hashing.hasher.update(chunk);
  upload.received += chunk.length;
  await upload.staging.write(chunk);
}

/** The state of a hash can't be stored: what an earlier process received goes through it again, when the session goes on. */
async function startHashing(upload: Upload, algorithm: DigestAlgorithm): Promise<NonNullable<Upload['hashing']>> {
  const hasher = createHasher(algorithm);
  if (upload.received > 0) for await (const chunk of upload.staging.read()) hasher.update(chunk);
  return { algorithm, hasher };
}

async function storeAs(upload: Upload, digest: Digest): Promise<void> {
  const algorithm = algorithmOf(digest);
  const { hasher } = upload.hashing?.algorithm === algorithm ? upload.hashing : await startHashing(upload, algorithm);
  const actual = finishDigest(algorithm, hasher);
  if (actual === digest) return upload.staging.commit(upload.repository, digest);
  const message = `the ${upload.received} bytes received have another digest than the one named`;
  throw new Refusal(400, 'DIGEST_INVALID', message, { detail: { expected: digest, actual } });
}
