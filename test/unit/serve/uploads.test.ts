import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../../src/core/digest.ts';
import type { SavedUpload, WritableContent } from '../../../src/serve/content.ts';
import { createMemoryContent } from '../../../src/serve/memory-content.ts';
import { Refusal } from '../../../src/serve/refusal.ts';
import { createUploads } from '../../../src/serve/uploads.ts';

async function* of(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

test('sessions that are opened at the same moment count, too', async () => {
  const uploads = createUploads(createMemoryContent(), { sessions: 2 });
  const opened = await Promise.allSettled(Array.from({ length: 5 }, () => uploads.start('a')));
  assert.equal(opened.filter(({ status }) => status === 'fulfilled').length, 2);
  for (const result of opened) if (result.status === 'rejected') assert.equal((result.reason as Refusal).status, 429);
  assert.equal(uploads.count(), 2);
});

test('a saved session is hashed from its first byte when it goes on, in the algorithm that its client named', async () => {
  const memory = createMemoryContent();
  for (const algorithm of ['sha256', 'sha512'] as const) {
    const staging = await memory.stage();
    await staging.write(Buffer.from('before, '));
    const saved: SavedUpload = { id: 'x', repository: 'a', algorithm, startedAt: 0, staging, received: 8, usedAt: 0 };
    const content: WritableContent = { ...memory, savedUploads: async () => [saved] };
    const uploads = createUploads(content, { now: () => 0 });
    const upload = await uploads.find('a', 'x');
    await uploads.receive(upload, of('af', 'ter'));
    assert.equal(upload.hashing?.algorithm, algorithm);
    const digest = digestOf(Buffer.from('before, after'), algorithm);
    await uploads.finish(upload, digest);
    assert.equal((await memory.blob('a', digest))?.size, 13);
  }
});

test('a disk that failed to tell its saved sessions is asked again', async () => {
  let asked = 0;
  const content: WritableContent = {
    ...createMemoryContent(),
    async savedUploads() {
      if (asked++ === 0) throw new Error('i/o');
      return [];
    },
  };
  const uploads = createUploads(content);
  await assert.rejects(uploads.start('a'), /i\/o/);
  await uploads.start('a');
  await assert.rejects(uploads.find('a', 'x'), (error) => error instanceof Refusal && error.status === 404);
  assert.equal(asked, 2);
});
