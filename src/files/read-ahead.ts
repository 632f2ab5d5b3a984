import { givePiece, takePiece } from '../core/piece.ts';
import type { ReadHandle } from './file-system.ts';

/**
 * Bytes `start` to `end` of an open file: one piece is read while the last one is used. A chunk may be overwritten once the next is asked for. A file that
 * became shorter ends early.
 */
export async function* readAhead(handle: ReadHandle, start: number, end: number): AsyncGenerator<Uint8Array> {
  let position = start;
  const readNext = (piece: Buffer): Promise<Uint8Array> => {
    const from = position;
    position = Math.min(from + piece.length, end);
    const reading = fill(handle, from, piece.subarray(0, position - from));
    reading.catch(() => undefined); // thrown when it is waited for
    return reading;
  };
  let piece = takePiece(end - start);
  let reading = readNext(piece);
  let other = takePiece(end - position);
  try {
    for (;;) {
      const before = position;
      const chunk = await reading;
      const last = before >= end || chunk.length < piece.length;
      if (!last) reading = readNext(other);
      if (chunk.length > 0) yield chunk;
      if (last) break;
      [piece, other] = [other, piece];
    }
    // Not after a failure: somebody may still be using them then.
    givePiece(piece);
    givePiece(other);
  } finally {
    await reading.catch(() => undefined);
  }
}

/** As much of `memory` as the file has bytes for. */
async function fill(handle: ReadHandle, from: number, memory: Uint8Array): Promise<Uint8Array> {
  let filled = 0;
  while (filled < memory.length) {
    let count = 0;
    for await (const part of handle.read(from + filled, from + memory.length, memory.subarray(filled))) {
      const isThere = part.buffer === memory.buffer && part.byteOffset === memory.byteOffset + filled;
      if (!isThere) memory.set(part, filled); // a file system that has memory of its own
      count = part.length;
      break;
    }
    if (count === 0) break;
    filled += count;
  }
  return memory.subarray(0, filled);
}
