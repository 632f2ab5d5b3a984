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
