import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { nodeFileSystem } from '../../../src/files/node-file-system.ts';
import { readFileRange } from '../../../src/serve/blob-stream.ts';
import { syntheticBlob } from '../../support/random-layer.ts';
import { tempDir } from '../../support/temp-dir.ts';

const MIB = 1024 * 1024;

async function content(directory: string, seed: number, size: number): Promise<{ path: string; bytes: Buffer }> {
  const bytes = Buffer.concat([...syntheticBlob(seed, size).read(0, size)]);
  const path = join(directory, `blob-${seed}`);
  await writeFile(path, bytes);
  return { path, bytes };
}

const chunksOf = (path: string): AsyncIterator<Uint8Array> => readFileRange(nodeFileSystem, path)[Symbol.asyncIterator]();

describe('bytes on their way to a client', () => {
  it('of many answers at once never mix, large and small, one after the other', async (t) => {
    const folder = await tempDir(t);
    const blobs = await Promise.all([10, 300, 2 * MIB + 7, 200_000].map((size, i) => content(folder, i, size)));
    const one = async ({ path, bytes }: { path: string; bytes: Buffer }): Promise<void> => {
      let at = 0;
      for await (const chunk of readFileRange(nodeFileSystem, path)) {
        await new Promise(setImmediate); // as long as a socket takes: others read meanwhile
        assert.ok(bytes.subarray(at, at + chunk.length).equals(chunk), `at ${at} of ${path}`);
        at += chunk.length;
      }
      assert.equal(at, bytes.length);
    };
    for (let round = 0; round < 2; round++)
      await Promise.all(Array.from({ length: 24 }, (_, i) => one(blobs[i % blobs.length] as (typeof blobs)[number])));
  });

  it('share memory: two hundred large answers at once hold far less than 200 MiB', async (t) => {
    const { path } = await content(await tempDir(t), 1, 2 * MIB);
    const running = Array.from({ length: 200 }, () => chunksOf(path));
    const first = await Promise.all(running.map((chunks) => chunks.next()));
    const memory = new Set(first.map(({ value }) => (value as Uint8Array).buffer));
    const bytes = [...memory].reduce((sum, buffer) => sum + buffer.byteLength, 0);
    assert.equal(memory.size, 200);
    assert.ok(bytes < 40 * MIB, `${bytes} bytes`);
    await Promise.all(running.map((chunks) => chunks.return?.()));
  });

  it('that were broken off keep their memory to themselves: it may still be on its way', async (t) => {
    const { path } = await content(await tempDir(t), 1, 3 * MIB);
    const broken = chunksOf(path);
    const { value } = await broken.next();
    await broken.return?.();
    const later = chunksOf(path);
    const next = await later.next();
    assert.notEqual((next.value as Uint8Array).buffer, (value as Uint8Array).buffer);
    await later.return?.();
  });
});
