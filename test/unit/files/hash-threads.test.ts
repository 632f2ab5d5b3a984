import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type FileHandle, open, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { PIECE_BYTES, takePiece } from '../../../src/core/piece.ts';
import { digestInThread, writeInThread } from '../../../src/files/hash-threads.ts';
import { openRead } from '../../../src/files/node-read.ts';
import { type Ending, tempDir } from '../../support/temp-dir.ts';

const MIB = 1024 * 1024;
const NOT_OPEN = 1_000_000;
const LINUX_ONLY = { skip: process.platform !== 'linux' && '/dev/full' };
const ignore = (): void => undefined;
const hexOf = (bytes: Uint8Array, algorithm = 'sha256'): string => createHash(algorithm).update(bytes).digest('hex');
const sum = (counts: readonly number[]): number => counts.reduce((a, b) => a + b, 0);

async function opened(t: Ending, path: string, flags: string): Promise<FileHandle> {
  const handle = await open(path, flags);
  t.after(() => handle.close().catch(ignore));
  return handle;
}

async function fileOf(t: Ending, bytes: Uint8Array): Promise<{ path: string; fd: number }> {
  const path = join(await tempDir(t), 'file');
  await writeFile(path, bytes);
  return { path, fd: (await opened(t, path, 'r')).fd };
}

/** As it comes from the network: shared memory where that is worth it. */
function pieceOf(bytes: Uint8Array): Uint8Array {
  const piece = takePiece(bytes.length).subarray(0, bytes.length);
  piece.set(bytes);
  return piece;
}

function piecesOf(bytes: Uint8Array, length = PIECE_BYTES): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += length) pieces.push(pieceOf(bytes.subarray(at, at + length)));
  return pieces;
}

describe('the digest of a file, made in a thread', () => {
  for (const size of [0, 1, MIB, 9.5 * MIB]) {
    for (const algorithm of ['sha256', 'sha512'] as const) {
      it(`${algorithm} of ${size} bytes is that of node:crypto, and what is told adds up to the size`, async (t) => {
        const bytes = randomBytes(size);
        const { fd } = await fileOf(t, bytes);
        const told: number[] = [];
        assert.equal(await digestInThread(fd, size, algorithm, (count) => told.push(count)), hexOf(bytes, algorithm));
        assert.equal(sum(told), size);
      });
    }
  }

  it('a large file is told in parts, so that a bar can move', async (t) => {
    const size = 17 * MIB;
    const { fd } = await fileOf(t, Buffer.alloc(size));
    const told: number[] = [];
    await digestInThread(fd, size, 'sha256', (count) => told.push(count));
    assert.ok(told.length >= 3, `${told}`);
    assert.equal(sum(told), size);
  });

  it('of a part of a file only that part is hashed', async (t) => {
    const bytes = randomBytes(3 * MIB);
    const { fd } = await fileOf(t, bytes);
    assert.equal(await digestInThread(fd, 2 * MIB - 1, 'sha256', ignore), hexOf(bytes.subarray(0, 2 * MIB - 1)));
  });

  it('a file that became shorter has the digest of what there is, and that many bytes', async (t) => {
    const bytes = randomBytes(3 * MIB);
    const { path } = await fileOf(t, bytes);
    const handle = await openRead(path);
    await truncate(path, MIB + 7);
    const told: number[] = [];
    assert.equal(await handle.digest?.('sha256', (count) => told.push(count)), hexOf(bytes.subarray(0, MIB + 7)));
    assert.equal(sum(told), MIB + 7);
    await handle.close();
  });

  it('many files at once each have their own', async (t) => {
    const files = await Promise.all(
      Array.from({ length: 24 }, async (_, i) => {
        const bytes = randomBytes(i * 77_777);
        return { bytes, ...(await fileOf(t, bytes)) };
      }),
    );
    const told = files.map(() => 0);
    const digests = await Promise.all(
      files.map(({ fd, bytes }, i) =>
        digestInThread(fd, bytes.length, 'sha256', (count) => {
          told[i] = (told[i] as number) + count;
        }),
      ),
    );
    assert.deepEqual(
      digests,
      files.map(({ bytes }) => hexOf(bytes)),
    );
    assert.deepEqual(
      told,
      files.map(({ bytes }) => bytes.length),
    );
  });

  it('what is not open is refused with EBADF, and the thread goes on with the next file', async (t) => {
    const bytes = randomBytes(MIB);
    const { fd } = await fileOf(t, bytes);
    const outcomes = await Promise.allSettled([
      digestInThread(NOT_OPEN, MIB, 'sha256', ignore),
      digestInThread(fd, MIB, 'sha256', ignore),
      digestInThread(NOT_OPEN, MIB, 'sha512', ignore),
      digestInThread(fd, MIB, 'sha512', ignore),
    ]);
    const said = outcomes.map((o) => (o.status === 'fulfilled' ? o.value : [o.reason instanceof Error, o.reason.code]));
    assert.deepEqual(said, [[true, 'EBADF'], hexOf(bytes), [true, 'EBADF'], hexOf(bytes, 'sha512')]);
  });

  it('closing a file waits until its digest is made: its number soon belongs to another one', async (t) => {
    const bytes = randomBytes(8 * MIB);
    const { path } = await fileOf(t, bytes);
    const other = (await fileOf(t, randomBytes(8 * MIB))).path;
    for (let round = 0; round < 10; round++) {
      const handle = await openRead(path);
      const digest = handle.digest?.('sha256', ignore);
      await handle.close();
      const next = await openRead(other); // gets the number that has become free
      assert.equal(await digest, hexOf(bytes));
      await next.close();
    }
  });
});

describe('hashing and writing in a thread', () => {
  it('shared pieces, small ones and a part of one make the right file and digest; each is given back once and in order', async (t) => {
    const path = join(await tempDir(t), 'file');
    const { fd } = await opened(t, path, 'wx');
    const bytes = randomBytes(3 * MIB + 12_345);
    const offset = pieceOf(bytes.subarray(2 * MIB, 2 * MIB + PIECE_BYTES)).subarray(100);
    const pieces = [
      ...piecesOf(bytes), // the last one is not full
      Buffer.from('a few bytes'), // lies in the memory of many
      new Uint8Array(),
      offset,
      bytes.subarray(5, 300_000), // large, and not shared
      ...piecesOf(bytes.subarray(0, 100_000), 999),
    ];
    assert.ok(pieces[0]?.buffer instanceof SharedArrayBuffer);
    const back: Uint8Array[] = [];
    const writer = writeInThread(fd, 'sha512', (piece) => back.push(piece));
    for (const piece of pieces) await writer.add(piece);
    const want = Buffer.concat(pieces);
    assert.equal(await writer.end(), hexOf(want, 'sha512'));
    assert.equal(back.length, pieces.length);
    assert.ok(back.every((piece, i) => piece === pieces[i]));
    await writer.settled();
    assert.equal(Buffer.compare(await readFile(path), want), 0);
  });

  it('nothing at all makes an empty file with the digest of nothing', async (t) => {
    const path = join(await tempDir(t), 'file');
    const { fd } = await opened(t, path, 'wx');
    assert.equal(await writeInThread(fd, 'sha256', ignore).end(), hexOf(new Uint8Array()));
    assert.equal((await readFile(path)).length, 0);
  });

  it('a small piece may change as soon as it was taken: the thread has its own', async (t) => {
    const path = join(await tempDir(t), 'file');
    const { fd } = await opened(t, path, 'wx');
    const writer = writeInThread(fd, 'sha256', ignore);
    const piece = Buffer.from('before');
    await writer.add(piece);
    piece.write('after!');
    assert.equal(await writer.end(), hexOf(Buffer.from('before')));
    assert.equal((await readFile(path)).toString(), 'before');
  });

  it('many files at once each have their own', async (t) => {
    const folder = await tempDir(t);
    await Promise.all(
      Array.from({ length: 12 }, async (_, i) => {
        const path = join(folder, `${i}`);
        const { fd } = await opened(t, path, 'wx');
        const bytes = randomBytes(i * 333_333);
        const writer = writeInThread(fd, 'sha256', ignore);
        for (const piece of piecesOf(bytes)) await writer.add(piece);
        assert.equal(await writer.end(), hexOf(bytes));
        assert.equal(Buffer.compare(await readFile(path), bytes), 0);
      }),
    );
  });

  it('a piece more than there is room for waits until one is written', LINUX_ONLY, async (t) => {
    // A pipe that nobody reads: the thread stands still in the middle of the first piece.
    const path = join(await tempDir(t), 'pipe');
    await promisify(execFile)('mkfifo', [path]);
    const pipe = await opened(t, path, 'r+');
    const bytes = randomBytes(6 * PIECE_BYTES);
    let read = 0;
    const drain = async (): Promise<void> => {
      while (read < bytes.length) read += (await pipe.read(Buffer.alloc(64 * 1024))).bytesRead;
    };
    let [added, back] = [0, 0];
    const writer = writeInThread(pipe.fd, 'sha256', () => back++);
    const adding = (async () => {
      for (const piece of piecesOf(bytes)) {
        await writer.add(piece);
        added++;
      }
    })();
    await setTimeout(50);
    const before = [added, back];
    await drain();
    await adding;
    assert.equal(await writer.end(), hexOf(bytes));
    assert.deepEqual(before, [2, 0]);
    assert.equal(back, 6);
  });

  it('a full disk is said by "add" or "end", nothing is given back, and "settled" never throws', LINUX_ONLY, async (t) => {
    const { fd } = await opened(t, '/dev/full', 'w');
    const back: Uint8Array[] = [];
    const writer = writeInThread(fd, 'sha256', (piece) => back.push(piece));
    const many = async (): Promise<void> => {
      for (const piece of piecesOf(randomBytes(5 * PIECE_BYTES))) await writer.add(piece);
    };
    await assert.rejects(many(), { code: 'ENOSPC', syscall: 'write' });
    await assert.rejects(writer.add(Buffer.from('more')), { code: 'ENOSPC' });
    await assert.rejects(writer.end(), { code: 'ENOSPC' });
    await writer.settled();
    await writer.settled();
    assert.equal(back.length, 0);
    const last = writeInThread(fd, 'sha256', ignore);
    await last.add(Buffer.from('the only one'));
    await assert.rejects(last.end(), { code: 'ENOSPC' });
  });

  it('once it is settled nothing is written any more, also when nobody asked for the digest', async (t) => {
    const folder = await tempDir(t);
    for (let round = 0; round < 40; round++) {
      const path = join(folder, `${round}`);
      const handle = await open(path, 'wx');
      let back = 0;
      const writer = writeInThread(handle.fd, 'sha256', () => back++);
      for (const piece of piecesOf(Buffer.alloc(2 * PIECE_BYTES, 1))) await writer.add(piece);
      await writer.settled();
      assert.equal(back, 2);
      await handle.close();
      const other = await open(`${path}-other`, 'wx'); // gets the number that has become free
      await other.write('only this');
      await other.close();
      assert.equal((await readFile(`${path}-other`)).toString(), 'only this');
      assert.equal((await readFile(path)).length, 2 * PIECE_BYTES);
    }
  });

  it('one that failed disturbs no other one in the same thread', LINUX_ONLY, async (t) => {
    const folder = await tempDir(t);
    const full = await opened(t, '/dev/full', 'w');
    // More than there are threads, so that each has both kinds.
    const good = async (name: string): Promise<void> => {
      const path = join(folder, name);
      const { fd } = await opened(t, path, 'wx');
      const bytes = randomBytes(9 * PIECE_BYTES + 5);
      const writer = writeInThread(fd, 'sha256', ignore);
      for (const piece of piecesOf(bytes)) await writer.add(piece);
      assert.equal(await writer.end(), hexOf(bytes));
      assert.equal(Buffer.compare(await readFile(path), bytes), 0);
    };
    const bad = async (): Promise<void> => {
      const writer = writeInThread(full.fd, 'sha256', ignore);
      const adding = async (): Promise<void> => {
        for (const piece of piecesOf(randomBytes(9 * PIECE_BYTES))) await writer.add(piece);
      };
      await assert.rejects(adding(), { code: 'ENOSPC' });
      await writer.settled();
    };
    await Promise.all([good('a'), bad(), good('b'), bad(), good('c'), bad(), good('d')]);
  });

  it('is not held up by long reading: a connection that waits for it would be given up', async (t) => {
    const folder = await tempDir(t);
    const long = join(folder, 'long');
    await writeFile(long, '');
    await truncate(long, 256 * MIB); // takes no room
    const { fd } = await opened(t, long, 'r');
    const { fd: out } = await opened(t, join(folder, 'out'), 'wx');
    const ended: string[] = [];
    const first = writeInThread(out, 'sha256', ignore); // is there before the reading, as in a pull
    await first.add(Buffer.from('first'));
    const reading = Array.from({ length: 4 }, () =>
      digestInThread(fd, 256 * MIB, 'sha256', ignore).then(() => ended.push('read')),
    );
    const second = writeInThread((await opened(t, join(folder, 'second'), 'wx')).fd, 'sha256', ignore);
    const writing = [first, second].map(async (writer) => {
      for (let i = 0; i < 4; i++) await writer.add(pieceOf(Buffer.alloc(PIECE_BYTES)));
      await writer.end();
      ended.push('written');
    });
    await Promise.all([...reading, ...writing]);
    assert.deepEqual(ended, ['written', 'written', 'read', 'read', 'read', 'read']);
  });
});

it('a process that did such work ends by itself: threads with nothing to do hold nothing', async (t) => {
  const path = join(await tempDir(t), 'file');
  const threads = JSON.stringify(join(import.meta.dirname, '../../../src/files/hash-threads.ts'));
  const script = `
    import { openSync } from 'node:fs';
    import { digestInThread, writeInThread } from ${threads};
    const writer = writeInThread(openSync(${JSON.stringify(path)}, 'w'), 'sha256', () => undefined);
    await writer.add(Buffer.from('hello'));
    const written = await writer.end();
    const read = await digestInThread(openSync(${JSON.stringify(path)}, 'r'), 5, 'sha256', () => undefined);
    await digestInThread(${NOT_OPEN}, 5, 'sha256', () => undefined).catch((error) => console.log(error.code));
    console.log(written, read);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { PATH: process.env.PATH },
    timeout: 20_000,
    killSignal: 'SIGKILL',
  });
  let said = '';
  child.stdout.on('data', (chunk) => {
    said += chunk;
  });
  const [code, signal] = await once(child, 'close');
  const want = hexOf(Buffer.from('hello'));
  assert.deepEqual([code, signal, said], [0, null, `EBADF\n${want} ${want}\n`]);
});
