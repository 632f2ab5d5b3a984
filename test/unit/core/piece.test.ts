import assert from 'node:assert/strict';
import { test } from 'node:test';
import { givePiece, PIECE_BYTES, takePiece } from '../../../src/core/piece.ts';

test('a piece that is given back is used again; parts of one, and memory of the same size that came from elsewhere, are not', () => {
  const piece = takePiece(PIECE_BYTES * 2);
  assert.equal(piece.length, PIECE_BYTES);
  const stranger = Buffer.allocUnsafeSlow(PIECE_BYTES);
  givePiece(stranger);
  givePiece(piece.subarray(1));
  givePiece(piece);
  assert.equal(takePiece(PIECE_BYTES).buffer, piece.buffer);
  assert.notEqual(takePiece(PIECE_BYTES).buffer, stranger.buffer);
});

test('little content gets little memory', () => {
  assert.equal(takePiece(10).length, 10);
  assert.equal(takePiece(0).length, 1);
});

test('from 64 KiB on a piece is memory that another thread can be shown, below that it is not', () => {
  for (const [bytes, shared] of [
    [64 * 1024 - 1, false],
    [64 * 1024, true],
    [PIECE_BYTES, true],
  ] as const) {
    const piece = takePiece(bytes);
    assert.equal(piece.length, bytes);
    assert.equal((piece.buffer as ArrayBufferLike) instanceof SharedArrayBuffer, shared, `${bytes}`);
  }
});

test('a piece of which only the beginning was used is whole again when it is given back', () => {
  const piece = takePiece(100_000);
  givePiece(piece.subarray(0, 7));
  const again = takePiece(PIECE_BYTES);
  assert.equal(again.buffer, piece.buffer);
  assert.equal(again.length, PIECE_BYTES);
});

test('what two hold at once is never the same memory', () => {
  const pieces = Array.from({ length: 100 }, () => takePiece(PIECE_BYTES));
  assert.equal(new Set(pieces.map(({ buffer }) => buffer)).size, 100);
  for (const piece of pieces) givePiece(piece);
  const again = Array.from({ length: 100 }, () => takePiece(PIECE_BYTES));
  assert.equal(new Set(again.map(({ buffer }) => buffer)).size, 100);
  // Not all of them: memory for the busiest moment is not kept for ever.
  const kept = new Set(pieces.map(({ buffer }) => buffer));
  assert.equal(again.filter(({ buffer }) => kept.has(buffer)).length, 64);
});
