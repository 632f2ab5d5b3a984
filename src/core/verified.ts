import { algorithmOf, createHasher, type Digest, finishDigest } from './digest.ts';
import { BundleError, type ErrorOrigin } from './errors.ts';

export type Expected = Readonly<{ digest: Digest; size: number }>;

/**
 * Counts and hashes bytes as they pass and says at the end whether they were the promised ones. Three failures are told apart: too long
 * (found at once, E_SIZE), too short (E_SIZE), and other bytes (E_DIGEST).
 */
export function createVerifier(expected: Expected, what: string, origin: ErrorOrigin) {
  const algorithm = algorithmOf(expected.digest);
  const hasher = createHasher(algorithm);
  let received = 0;
  return {
    /** @throws BundleError E_SIZE as soon as there are more bytes than promised */
    update(chunk: Uint8Array): void {
      received += chunk.length;
      requireNotMore(expected, received, what, origin);
      hasher.update(chunk);
    },
    get received(): number {
      return received;
    },
    /** @throws BundleError E_SIZE, E_DIGEST */
    finish(): void {
      requireRight(expected, { size: received, digest: finishDigest(algorithm, hasher) }, what, origin);
    },
  };
}

/** @throws BundleError E_SIZE as soon as there are more bytes than promised */
export function requireNotMore({ size }: Pick<Expected, 'size'>, received: number, what: string, origin: ErrorOrigin): void {
  if (received > size) throw new BundleError('E_SIZE', `${what}: more than the promised ${size} bytes`, { origin });
}

/** @param actual of the bytes that there were. @throws BundleError E_SIZE, E_DIGEST */
export function requireRight(expected: Expected, actual: Expected, what: string, origin: ErrorOrigin): void {
  if (actual.size !== expected.size)
    throw new BundleError('E_SIZE', `${what}: got ${actual.size} bytes, want ${expected.size}`, { origin });
  if (actual.digest !== expected.digest) {
    throw new BundleError('E_DIGEST', `${what}: the bytes have digest ${actual.digest}, want ${expected.digest}`, {
      origin,
      detail: { expected: expected.digest, actual: actual.digest },
    });
  }
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
  for await (const chunk of body) {
    verifier.update(chunk);
    if (verifier.received === expected.size && !finished) {
      verifier.finish();
      finished = true;
    }
    yield chunk;
  }
  if (!finished) verifier.finish();
}

/** Reads at most `max` bytes; one more is an error, never a silent cut. @throws BundleError E_LIMIT */
export async function readAll(body: AsyncIterable<Uint8Array>, max: number, what: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > max) throw new BundleError('E_LIMIT', `${what}: longer than the limit of ${max} bytes`);
    chunks.push(Buffer.from(chunk)); // the source may use its memory again
  }
  return Buffer.concat(chunks, length);
}
