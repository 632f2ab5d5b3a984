/** Memory for bytes on their way: four times fewer calls than a socket has chunks, and small enough to stay in the cache of a core. */
export const PIECE_BYTES = 256 * 1024;

/** Ours: memory of that size that came from elsewhere may still be somebody's. */
const pieces = new WeakSet<ArrayBufferLike>();

/** Pieces that nobody uses now: transfers come and go, and fresh memory of this size is dear (the kernel zeroes each page of it). */
const spare: Buffer[] = [];
const SPARE = 32;

/** @param bytes what is to come, as far as is known: little content gets little memory */
export const takePiece = (bytes: number): Buffer =>
  bytes < PIECE_BYTES ? Buffer.allocUnsafe(Math.max(bytes, 1)) : (spare.pop() ?? freshPiece());

function freshPiece(): Buffer {
  const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
  pieces.add(piece.buffer);
  return piece;
}

/** For who is done with a whole piece; one that is not given back is garbage like any other. A part of a piece is not taken. */
export function givePiece(piece: Uint8Array): void {
  const isWhole = piece.length === PIECE_BYTES && pieces.has(piece.buffer);
  if (isWhole && spare.length < SPARE) spare.push(Buffer.from(piece.buffer as ArrayBuffer));
}
