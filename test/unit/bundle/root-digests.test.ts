import assert from 'node:assert/strict';
import { test } from 'node:test';
import { verifyBundle } from '../../../src/bundle/verify.ts';
import { nodeFileSystem } from '../../../src/files/node-file-system.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { type Blobs, putImageManifest, writeHostile } from '../../support/hostile-bundle.ts';
import { tempDir } from '../../support/temp-dir.ts';
import { freshKey } from '../sign/test-keys.ts';

test('a root of index.json whose digest is no text is named and refused', async (t) => {
  const directory = await tempDir(t);
  const key = freshKey();
  const blobs: Blobs = new Map();
  const trust = { keys: [key.publicKey], threshold: 1, sources: [] };
  // String() of the last one throws.
  for (const digest of [5, null, ['x'], { toString: 1, valueOf: 1 }]) {
    await writeHostile(directory, key, {
      blobs,
      roots: [putImageManifest(blobs)],
      index: (index) => index.manifests.push({ mediaType: 'x', digest, size: 1 }),
    });
    const error = await rejectsWith(verifyBundle(nodeFileSystem, directory, { trust, now: 0 }), 'E_UNLISTED', /root/);
    assert.ok(error.message.length < 300);
  }
});
