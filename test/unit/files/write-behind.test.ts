import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { WriteHandle } from '../../../src/files/file-system.ts';
import { createWriteBehind } from '../../../src/files/write-behind.ts';
import { createPrng } from '../../support/random-layer.ts';

/** A file in memory; `fail` names the write (from 1) that throws. */
function memoryHandle(fail = 0) {
  const written: Buffer[] = [];
  let calls = 0;
  const handle: WriteHandle = {
    async write(chunk) {
      if (++calls === fail) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
      // Later, as a disk does it: whoever changes the bytes meanwhile is found out.
      await new Promise((resolve) => setImmediate(resolve));
      written.push(Buffer.from(chunk));
    },
    sync: async () => undefined,
    close: async () => undefined,
  };
  return { handle, bytes: () => Buffer.concat(written), calls: () => calls };
}

const MiB = 1024 * 1024;

describe('writing behind', () => {
  it('writes what it is given, whatever the sizes of the chunks, and shows each piece before', async () => {
    const prng = createPrng(7);
    const all = prng.bytes(3 * MiB + 17);
    const file = memoryHandle();
    const seen: Buffer[] = [];
    const writer = createWriteBehind(file.handle, all.length, (piece) => void seen.push(Buffer.from(piece)));
    for (let at = 0; at < all.length; ) {
      const chunk = Buffer.from(all.subarray(at, at + 1 + prng.int(MiB)));
      at += chunk.length;
      await writer.push(chunk);
      chunk.fill(0); // it may be used again at once
    }
    await writer.end();
    assert.ok(file.bytes().equals(all));
    assert.ok(Buffer.concat(seen).equals(all));
    assert.ok(file.calls() < 20, `${file.calls()} writes`);
  });

  it('takes more than was expected', async () => {
    const file = memoryHandle();
    const writer = createWriteBehind(file.handle, 3, () => undefined);
    await writer.push(Buffer.from('abcdefgh'));
    await writer.push(Buffer.from('ij'));
    await writer.end();
    assert.equal(file.bytes().toString(), 'abcdefghij');
  });

  it('writes nothing of nothing', async () => {
    const file = memoryHandle();
    const writer = createWriteBehind(file.handle, 0, () => assert.fail('nothing to see'));
    await writer.push(new Uint8Array());
    await writer.end();
    assert.equal(file.calls(), 0);
  });

  it('does not write what was refused when it was seen', async () => {
    const file = memoryHandle();
    const writer = createWriteBehind(file.handle, 9, () => {
      throw new Error('one byte too many');
    });
    await assert.rejects(writer.push(Buffer.alloc(10)), /one byte too many/);
    await writer.salvage();
    assert.equal(file.calls(), 0);
  });

  it('keeps what came in when the source breaks off', async () => {
    const file = memoryHandle();
    const all = createPrng(8).bytes(MiB + 1000);
    const writer = createWriteBehind(file.handle, 2 * MiB, () => undefined);
    await writer.push(all);
    await writer.salvage();
    assert.ok(file.bytes().equals(all));
  });

  it('a failed write is thrown by a later call, and is not thrown again when the rest is salvaged', async () => {
    const file = memoryHandle(2);
    const writer = createWriteBehind(file.handle, 4 * MiB, () => undefined);
    await assert.rejects(
      async () => {
        for (let i = 0; i < 40; i++) await writer.push(Buffer.alloc(64 * 1024));
        await writer.end();
      },
      { code: 'ENOSPC' },
    );
    await writer.salvage();
    assert.equal(file.calls(), 2, 'nothing is written behind a gap');
  });
});
