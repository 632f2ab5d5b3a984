/** Memory for bytes on their way: four times fewer calls than a socket has chunks, and small enough to stay in the cache of a core. */
export const PIECE_BYTES = 256 * 1024;

/** Ours: memory of that size that came from elsewhere may still be somebody's. */
const pieces = new WeakSet<ArrayBufferLike>();

/** Pieces that nobody uses now: transfers come and go, and fresh memory of this size is dear (the kernel zeroes each page of it). */
const spare: Buffer[] = [];
const SPARE = 64;

/** What is shorter has memory of its own. */
const SMALL_BYTES = 64 * 1024;

/** @param bytes what is to come, as far as is known: little content gets little memory */
export function takePiece(bytes: number): Buffer {
  if (bytes < SMALL_BYTES) return Buffer.allocUnsafe(Math.max(bytes, 1));
  return (spare.pop() ?? freshPiece()).subarray(0, bytes);
}

/** Shared, so that another thread can be shown it and nothing is copied. */
function freshPiece(): Buffer {
  const piece = Buffer.from(new SharedArrayBuffer(PIECE_BYTES));
  pieces.add(piece.buffer);
  return piece;
}

/** For the only one who still uses a piece, or what came in its beginning; one that is not given back is garbage like any other. */
export function givePiece(piece: Uint8Array): void {
  const isOurs = piece.byteOffset === 0 && pieces.has(piece.buffer);
  if (isOurs && spare.length < SPARE) spare.push(Buffer.from(piece.buffer as SharedArrayBuffer));
}
