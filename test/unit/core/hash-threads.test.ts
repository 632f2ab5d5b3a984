import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { createThreadHasher } from '../../../src/core/hash-threads.ts';
import { givePiece, isShared, PIECE_BYTES, takePiece } from '../../../src/core/piece.ts';
import { createPrng } from '../../support/random-layer.ts';

describe('hashing in other threads', () => {
  it('gives the digests of many bodies at once, each of its own bytes in their order', async () => {
    const bodies = Array.from({ length: 12 }, (_, seed) => createPrng(seed).bytes(3 * PIECE_BYTES + seed));
    const hex = await Promise.all(
      bodies.map(async (body, i) => {
        const hasher = createThreadHasher(i % 2 === 0 ? 'sha256' : 'sha512');
        for (let at = 0; at < body.length; at += PIECE_BYTES) {
          const piece = takePiece(PIECE_BYTES);
          const part = body.subarray(at, at + PIECE_BYTES);
          piece.set(part);
          await hasher.update(piece.subarray(0, part.length));
          givePiece(piece); // used again at once by the others
        }
        return hasher.digest();
      }),
    );
    const want = bodies.map((body, i) =>
      createHash(i % 2 === 0 ? 'sha256' : 'sha512')
        .update(body)
        .digest('hex'),
    );
    assert.deepEqual(hex, want);
  });

  it('hashes in order what is asked without waiting', async () => {
    const hasher = createThreadHasher('sha256');
    const parts = Array.from({ length: 20 }, (_, i) => Buffer.from(`part ${i}`));
    const updates = parts.map((part) => hasher.update(part));
    assert.equal(await hasher.digest(), createHash('sha256').update(Buffer.concat(parts)).digest('hex'));
    await Promise.all(updates);
  });

  it('hashes nothing to the digest of nothing, and one that is dropped does not disturb the next', async () => {
    const dropped = createThreadHasher('sha256');
    await dropped.update(Buffer.from('abc'));
    dropped.drop();
    assert.equal(await createThreadHasher('sha256').digest(), createHash('sha256').digest('hex'));
  });
});

describe('pieces', () => {
  it('large ones are in memory that other threads see; parts of one are not taken back', () => {
    const piece = takePiece(PIECE_BYTES * 2);
    assert.ok(isShared(piece));
    assert.equal(piece.length, PIECE_BYTES);
    givePiece(piece.subarray(1));
    givePiece(piece);
    assert.equal(takePiece(PIECE_BYTES).buffer, piece.buffer);
    assert.equal(takePiece(10).length, 10);
  });
});
