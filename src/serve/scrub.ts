import { setTimeout } from 'node:timers/promises';
import { algorithmOf, createHasher, type Digest, finishDigest } from '../core/digest.ts';
import type { StoredBlob } from './content.ts';
import { type Repetition, repeat, type Timer } from './timer.ts';

/** What the scrub needs of a content. */
export interface Scrubbable {
  /** Of all bytes that are stored. */
  digests(): AsyncIterable<Digest>;
  open(digest: Digest): Promise<StoredBlob | undefined>;
  /** Moves the bytes out of sight, unless they were replaced since `blob` was opened. @returns whether it did */
  setAside(digest: Digest, blob: StoredBlob): Promise<boolean>;
  warn(message: string): void;
}

export type Scrubbed = Readonly<{ blobs: number; bytes: number; damaged: number }>;

export type ScrubOptions = Readonly<{
  /** Default 20 MB/s: a terabyte in 14 hours, and a slow disk is still there for others. */
  bytesPerSecond?: number;
  sleep?: (ms: number, signal: AbortSignal) => Promise<unknown>;
}>;

/**
 * Reads and hashes everything that is stored, slowly. Bytes that are others than their name says go out of sight: clients are told 404, and the next
 * push brings them back, where before it would have found them there.
 * @throws BundleError E_DISK
 */
export async function scrub(
  content: Readonly<{ scrubbable: Scrubbable }>,
  { bytesPerSecond = 20e6, sleep = (ms, signal) => setTimeout(ms, undefined, { signal, ref: false }) }: ScrubOptions = {},
  signal: AbortSignal = new AbortController().signal,
): Promise<Scrubbed> {
  const { scrubbable } = content;
  let [blobs, bytes, damaged] = [0, 0, 0];
  for await (const digest of scrubbable.digests()) {
    const blob = await scrubbable.open(digest);
    if (blob === undefined) continue; // deleted meanwhile
    const hasher = createHasher(algorithmOf(digest));
    for await (const chunk of blob.open()) {
      hasher.update(chunk);
      bytes += chunk.length;
      await sleep((chunk.length / bytesPerSecond) * 1000, signal);
    }
    blobs++;
    if (finishDigest(algorithmOf(digest), hasher) === digest || !(await scrubbable.setAside(digest, blob))) continue;
    damaged++;
    scrubbable.warn(`${digest} was damaged on the disk and is set aside: push again what needs it`);
  }
  return { blobs, bytes, damaged };
}

/** Scrubs every `everyMs`; a run that fails is told and followed by the next. */
export const scrubRegularly = (
  content: Readonly<{ scrubbable: Scrubbable }>,
  { everyMs, timer, ...options }: ScrubOptions & Readonly<{ everyMs: number; timer?: Timer }>,
): Repetition =>
  repeat(
    (signal) => scrub(content, options, signal),
    everyMs,
    (error) => content.scrubbable.warn(`scrub: ${(error as Error).message}`),
    timer,
  );
