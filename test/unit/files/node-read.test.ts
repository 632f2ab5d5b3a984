import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openRead, readFile } from '../../../src/files/node-read.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { tempDir } from '../../support/temp-dir.ts';

const openFiles = async (): Promise<number> => (await readdir('/proc/self/fd')).length;

describe('reading files', () => {
  it('a closed file is not read from any more, although its number may belong to another one by then', async (t) => {
    const folder = await tempDir(t);
    const [first, second] = [join(folder, 'first'), join(folder, 'second')];
    await writeFile(first, 'first');
    await writeFile(second, 'second');
    const handle = await openRead(first);
    const late = handle.read()[Symbol.asyncIterator]();
    await handle.close();
    const other = await openRead(second); // gets the number that has become free
    await assert.rejects(async () => late.next(), { code: 'EBADF' });
    await handle.close(); // twice is fine, and closes nobody else's
    assert.deepEqual(Buffer.concat(await Array.fromAsync(other.read())).toString(), 'second');
    await other.close();
  });

  it('closing waits for what is being read', async (t) => {
    const path = join(await tempDir(t), 'file');
    await writeFile(path, 'content');
    const handle = await openRead(path);
    const reading = handle.read()[Symbol.asyncIterator]().next();
    await handle.close();
    const { value } = await reading;
    assert.equal(Buffer.from(value ?? []).toString(), 'content');
  });

  it('reads in pieces into memory that is brought along', async (t) => {
    const path = join(await tempDir(t), 'file');
    await writeFile(path, 'content');
    const handle = await openRead(path);
    const memory = Buffer.alloc(3);
    const seen: string[] = [];
    for await (const chunk of handle.read(1, 7, memory)) {
      assert.equal(chunk.buffer, memory.buffer);
      seen.push(Buffer.from(chunk).toString());
    }
    assert.deepEqual(seen, ['ont', 'ent']);
    await handle.close();
  });

  it('a file larger than the memory for one read is read whole and right', async (t) => {
    const path = join(await tempDir(t), 'file');
    const content = randomBytes(2.5 * 1024 * 1024);
    await writeFile(path, content);
    assert.equal(Buffer.compare(await readFile(path, 64 * 1024 * 1024), content), 0);
  });

  it('leaves nothing open, whatever is refused', { skip: process.platform !== 'linux' && 'counts in /proc' }, async (t) => {
    const folder = await tempDir(t);
    const path = join(folder, 'file');
    await writeFile(path, 'content');
    const before = await openFiles();
    await rejectsWith(openRead(folder), 'E_NOT_REGULAR');
    await rejectsWith(readFile(path, 3), 'E_LIMIT');
    await readFile(path, 100);
    const handle = await openRead(path);
    await handle.close();
    assert.equal(await openFiles(), before);
  });
});
