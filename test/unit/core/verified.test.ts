import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { digestOf } from '../../../src/core/digest.ts';
import { readAll, verified } from '../../../src/core/verified.ts';

async function* chunks(bytes: Uint8Array, size = 3): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size);
}

const bytes = Buffer.from('hello, bundle');
const expected = { digest: digestOf(bytes), size: bytes.length };
const run = (body: Uint8Array, want = expected) => readAll(verified(chunks(body), want, 'blob x', 'source'), 1000, 'x');

describe('a verified stream', () => {
  test('passes the promised bytes through unchanged', async () => assert.deepEqual(await run(bytes), bytes));

  test('passes nothing through as nothing', async () => {
    const empty = Buffer.alloc(0);
    assert.deepEqual(await run(empty, { digest: digestOf(empty), size: 0 }), empty);
  });

  const flipped = Buffer.from(bytes);
  flipped[5]! ^= 1;
  const table: readonly [string, Buffer, string][] = [
    ['one bit flipped', flipped, 'E_DIGEST'],
    ['zeros of the same length', Buffer.alloc(bytes.length), 'E_DIGEST'],
    ['one byte short', bytes.subarray(1), 'E_SIZE'],
    ['nothing', Buffer.alloc(0), 'E_SIZE'],
    ['one byte more', Buffer.concat([bytes, Buffer.from('x')]), 'E_SIZE'],
  ];
  for (const [name, body, code] of table)
    test(`${name} is ${code} that names the blob and the side`, async () => {
      await assert.rejects(run(body), { code, origin: 'source', message: /^blob x: / });
    });

  test('an endless stream is stopped at the first byte too many', async () => {
    let sent = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        sent += 10;
        yield Buffer.alloc(10);
      }
    }
    await assert.rejects(readAll(verified(endless(), expected, 'blob x', 'target'), 1000, 'x'), { code: 'E_SIZE' });
    assert.equal(sent, 20);
  });

  test('sha512 is checked as sha512', async () => {
    const want = { digest: digestOf(bytes, 'sha512'), size: bytes.length };
    assert.deepEqual(await run(bytes, want), bytes);
    await assert.rejects(run(flipped, want), { code: 'E_DIGEST' });
  });

  test('however the bytes are cut, they verify; any single change does not', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1, maxLength: 200 }),
        fc.integer({ min: 1, max: 70 }),
        fc.nat(),
        async (data, size, at) => {
          const want = { digest: digestOf(data), size: data.length };
          const original = Buffer.from(data);
          assert.deepEqual(await readAll(verified(chunks(data, size), want, 'b', 'bundle'), 1000, 'x'), original);
          const changed = Buffer.from(data);
          changed[at % data.length]! ^= 0x80;
          await assert.rejects(readAll(verified(chunks(changed, size), want, 'b', 'bundle'), 1000, 'x'), { code: 'E_DIGEST' });
        },
      ),
    );
  });
});

describe('readAll', () => {
  test('takes exactly the limit', async () =>
    assert.equal((await readAll(chunks(bytes), bytes.length, 'x')).length, bytes.length));
  test('keeps what it was given when the source uses its memory again', async () => {
    async function* again(): AsyncGenerator<Uint8Array> {
      const memory = Buffer.alloc(3);
      for (let at = 0; at < bytes.length; at += 3) yield memory.subarray(0, bytes.copy(memory, 0, at, at + 3));
    }
    assert.deepEqual(await readAll(again(), bytes.length, 'x'), bytes);
  });
  test('refuses one more as E_LIMIT instead of cutting', async () => {
    await assert.rejects(readAll(chunks(bytes), bytes.length - 1, 'the answer'), { code: 'E_LIMIT', message: /^the answer: / });
  });
});
