import { randomUUID } from 'node:crypto';
import { algorithmOf, createHasher, type Digest, type DigestAlgorithm, finishDigest } from '../core/digest.ts';
import { LIMITS } from '../core/limits.ts';
import type { Staging, WritableContent } from './content.ts';
import { Refusal } from './refusal.ts';

export type Upload = {
  readonly id: string;
  readonly repository: string;
  readonly staging: Staging;
  /** bytes held */
  received: number;
  /** The opening request says nothing of the algorithm: the first request with bytes guesses, the closing one may disagree. */
  algorithm: DigestAlgorithm | undefined;
  hasher: ReturnType<typeof createHasher> | undefined;
  usedAt: number;
  busy: boolean;
};

export type UploadLimits = Readonly<{ idleMs?: number; sessions?: number; now?: () => number }>;
export type Uploads = ReturnType<typeof createUploads>;

/** Upload sessions of one server. They live as long as the process; one that nobody touched for `idleMs` makes room. */
export function createUploads(content: WritableContent, limits: UploadLimits = {}) {
  const { idleMs = 3_600_000, sessions = 1000, now = Date.now } = limits;
  const open = new Map<string, Upload>();

  const drop = async (upload: Upload): Promise<void> => {
    open.delete(upload.id);
    await upload.staging.discard();
  };
  const sweep = async (): Promise<void> => {
    for (const upload of open.values()) if (!upload.busy && upload.usedAt + idleMs <= now()) await drop(upload);
  };
  /** @param algorithm what the client says its digest will be in @throws Refusal 429 */
  const start = async (repository: string, algorithm?: DigestAlgorithm): Promise<Upload> => {
    await sweep();
    if (open.size >= sessions) {
      throw new Refusal(429, 'TOOMANYREQUESTS', `${open.size} uploads are open`, { headers: { 'Retry-After': '10' } });
    }
    const staging = await content.stage();
    const upload = {
      id: randomUUID(),
      repository,
      staging,
      received: 0,
      algorithm,
      hasher: undefined,
      usedAt: now(),
      busy: false,
    };
    open.set(upload.id, upload);
    return upload;
  };
  /** @throws Refusal 404 BLOB_UPLOAD_UNKNOWN for one that is closed, cancelled, expired or of another repository */
  const find = async (repository: string, id: string): Promise<Upload> => {
    await sweep();
    const upload = open.get(id);
    if (upload?.repository !== repository) {
      throw new Refusal(404, 'BLOB_UPLOAD_UNKNOWN', 'no such upload session in this repository');
    }
    upload.usedAt = now();
    return upload;
  };
  /** Adds a body. When the client breaks off, what has come so far stays. @throws Refusal 413; disk errors end the session */
  const receive = async (upload: Upload, body: AsyncIterable<Uint8Array>, expected?: Digest): Promise<void> => {
    for await (const chunk of body) await addChunk(upload, chunk, expected).catch((error) => dropAndThrow(drop, upload, error));
    upload.usedAt = now();
  };
  /** Makes the bytes a blob. The session is over, whatever comes of it. @throws Refusal 400 DIGEST_INVALID when they are other bytes */
  const finish = async (upload: Upload, digest: Digest): Promise<void> => {
    open.delete(upload.id);
    await storeAs(upload, digest).catch((error) => dropAndThrow(drop, upload, error));
  };
  const close = async (): Promise<void> => {
    await Promise.all([...open.values()].map(drop));
  };
  return { start, find, receive, finish, cancel: drop, close };
}

async function dropAndThrow(drop: (upload: Upload) => Promise<void>, upload: Upload, error: unknown): Promise<never> {
  await drop(upload);
  throw error;
}

async function addChunk(upload: Upload, chunk: Uint8Array, expected: Digest | undefined): Promise<void> {
  if (upload.received + chunk.length > LIMITS.blobBytes) {
    throw new Refusal(413, 'SIZE_INVALID', `a blob of more than ${LIMITS.blobBytes} bytes`);
  }
  upload.algorithm ??= expected === undefined ? 'sha256' : algorithmOf(expected);
  upload.hasher ??= createHasher(upload.algorithm);
  upload.hasher.update(chunk);
  upload.received += chunk.length;
  await upload.staging.write(chunk);
}

async function storeAs(upload: Upload, digest: Digest): Promise<void> {
  const actual = await digestOfUpload(upload, algorithmOf(digest));
  if (actual === digest) return upload.staging.commit(upload.repository, digest);
  const message = `the ${upload.received} bytes received have another digest than the one named`;
  throw new Refusal(400, 'DIGEST_INVALID', message, { detail: { expected: digest, actual } });
}

async function digestOfUpload(upload: Upload, algorithm: DigestAlgorithm): Promise<Digest> {
  if (upload.hasher !== undefined && upload.algorithm === algorithm) return finishDigest(algorithm, upload.hasher);
  const hasher = createHasher(algorithm);
  for await (const chunk of upload.staging.read()) hasher.update(chunk);
  return finishDigest(algorithm, hasher);
}
