import { algorithmOf, createHasher, type Digest, type DigestAlgorithm } from './digest.ts';
import { BundleError, type ErrorOrigin } from './errors.ts';
import { createThreadHasher } from './hash-threads.ts';

export type Expected = Readonly<{ digest: Digest; size: number }>;

/** Below this the trip to another thread costs more than hashing. */
const THREAD_BYTES = 512 * 1024;

/** A thread takes 20 ms to start: what one core hashes in that time several times over is hashed without. */
const WARM_BYTES = 64 * 1024 * 1024;
let hashedSoFar = 0;

type Hasher = Readonly<{
  /** undefined: done already. Else the bytes must stay as they are until the promise is kept. */
  update(bytes: Uint8Array): Promise<void> | undefined;
  digest(): Promise<string> | string;
  drop(): void;
}>;

function hasherFor(algorithm: DigestAlgorithm, size: number): Hasher {
  hashedSoFar += size;
  if (size >= THREAD_BYTES && hashedSoFar >= WARM_BYTES) return createThreadHasher(algorithm);
  const hash = createHasher(algorithm);
  return {
    update: (bytes) => {
      hash.update(bytes);
      return undefined;
    },
    digest: () => hash.digest('hex'),
    drop: () => undefined,
  };
}

/**
 * Counts and hashes bytes as they pass and says at the end whether they were the promised ones. Three failures are told apart: too long
 * (found at once, E_SIZE), too short (E_SIZE), and other bytes (E_DIGEST). Much is hashed in other threads.
 */
export function createVerifier(expected: Expected, what: string, origin: ErrorOrigin) {
  const algorithm = algorithmOf(expected.digest);
  const hasher = hasherFor(algorithm, expected.size);
  let received = 0;
  return {
    /**
     * In order. undefined: hashed. Else the bytes must stay as they are until the promise is kept.
     * @throws BundleError E_SIZE at once when there are more bytes than promised
     */
    update(chunk: Uint8Array): Promise<void> | undefined {
      received += chunk.length;
      if (received > expected.size) {
        throw new BundleError('E_SIZE', `${what}: more than the promised ${expected.size} bytes`, { origin });
      }
      return hasher.update(chunk);
    },
    get received(): number {
      return received;
    },
    /** @throws BundleError E_SIZE, E_DIGEST */
    async finish(): Promise<void> {
      if (received !== expected.size) {
        throw new BundleError('E_SIZE', `${what}: got ${received} bytes, want ${expected.size}`, { origin });
      }
      const actual = `${algorithm}:${await hasher.digest()}` as Digest;
      if (actual !== expected.digest) {
        throw new BundleError('E_DIGEST', `${what}: the bytes have digest ${actual}, want ${expected.digest}`, {
          origin,
          detail: { expected: expected.digest, actual },
        });
      }
    },
    /** When `finish` will not be called. */
    drop: hasher.drop,
  };
}

/**
 * Passes `body` through and withholds its last chunk until the whole has proven right: whoever reads on sees an error and never a complete wrong
 * blob, so bytes hashed and bytes sent are the same.
 */
export async function* verified(
  body: AsyncIterable<Uint8Array>,
  expected: Expected,
  what: string,
  origin: ErrorOrigin,
): AsyncGenerator<Uint8Array> {
  const verifier = createVerifier(expected, what, origin);
  let finished = false;
  try {
    for await (const chunk of body) {
      const hashing = verifier.update(chunk);
      hashing?.catch(() => undefined); // thrown below
      if (verifier.received === expected.size && !finished) {
        await verifier.finish();
        finished = true;
      }
      yield chunk;
      await hashing; // the source may use its memory again
    }
    if (!finished) await verifier.finish();
    finished = true;
  } finally {
    if (!finished) verifier.drop();
  }
}

/** Reads at most `max` bytes; one more is an error, never a silent cut. @throws BundleError E_LIMIT */
export async function readAll(body: AsyncIterable<Uint8Array>, max: number, what: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > max) throw new BundleError('E_LIMIT', `${what}: longer than the limit of ${max} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}
