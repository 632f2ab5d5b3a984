import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PIECE_BYTES, takePiece } from '../../../src/core/piece.ts';
import type { WriteHandle } from '../../../src/files/file-system.ts';
import { createWriteBehind } from '../../../src/files/write-behind.ts';
import { createPrng } from '../../support/random-layer.ts';

/** A file in memory; `fail` names the write (from 1) that throws. */
function memoryHandle(fail = 0) {
  const written: Buffer[] = [];
  let calls = 0;
  const handle: WriteHandle = {
    async write(chunk) {
      const call = ++calls;
      // Later, as a disk does it: whoever changes the bytes meanwhile is found out.
      await new Promise((resolve) => setImmediate(resolve));
      if (call === fail) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
      written.push(Buffer.from(chunk));
    },
    sync: async () => undefined,
    close: async () => undefined,
  };
  return { handle, bytes: () => Buffer.concat(written), calls: () => calls };
}

const pieceOf = (bytes: Uint8Array): Buffer => {
  const piece = takePiece(bytes.length).subarray(0, bytes.length);
  piece.set(bytes);
  return piece;
};

describe('writing behind', () => {
  it('writes what it is given, in order, and shows each piece before', async () => {
    const all = createPrng(7).bytes(10 * PIECE_BYTES + 17);
    const file = memoryHandle();
    const seen: Buffer[] = [];
    const writer = createWriteBehind(file.handle, (piece) => {
      seen.push(Buffer.from(piece));
      return undefined;
    });
    // Pieces that were given back are taken again: one that is given back too early would be overwritten here.
    for (let at = 0; at < all.length; at += PIECE_BYTES) await writer.push(pieceOf(all.subarray(at, at + PIECE_BYTES)));
    await writer.end();
    assert.ok(file.bytes().equals(all));
    assert.ok(Buffer.concat(seen).equals(all));
  });

  it('does not write what was refused when it was seen', async () => {
    const file = memoryHandle();
    const writer = createWriteBehind(file.handle, () => {
      throw new Error('one byte too many');
    });
    await assert.rejects(writer.push(Buffer.alloc(10)), /one byte too many/);
    await writer.settle();
    assert.equal(file.calls(), 0);
  });

  it('a failed write is thrown by the next call, nothing is written behind the gap, and settling says nothing of it', async () => {
    const file = memoryHandle(2);
    const writer = createWriteBehind(file.handle, () => undefined);
    await assert.rejects(
      async () => {
        for (let i = 0; i < 40; i++) await writer.push(Buffer.alloc(100));
        await writer.end();
      },
      { code: 'ENOSPC' },
    );
    await writer.settle();
    assert.equal(file.calls(), 2);
  });
});
