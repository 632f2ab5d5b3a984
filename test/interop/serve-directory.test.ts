/** The directory of our own registry, read by other programs as the OCI image layout that it is, without any registry running. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { openDiskContent } from '../../src/serve/disk-content.ts';
import { putImage } from '../support/journey.ts';
import { randomIndex } from '../support/random-image.ts';
import { must } from '../support/real/programs.ts';
import { tempDir } from '../support/temp-dir.ts';
import { tool } from '../support/tools.ts';

it('skopeo copies an image of many out of it by its full name, and oras reads the very bytes', async (t) => {
  const [root, copy] = [await tempDir(t), await tempDir(t)];
  const content = await openDiskContent(nodeFileSystem, root);
  const image = await randomIndex({ seed: 7, files: 1, bytes: 5000 });
  await putImage(content, 'docker.io/library/tool', '1.0', image);
  await putImage(content, 'other/tool', '1.0', await randomIndex({ seed: 8, files: 1, bytes: 5000 }));
  await content.close();
  const env = { HOME: copy };
  const name = 'docker.io/library/tool:1.0';
  await must(
    tool('skopeo-sid'),
    ['copy', '--all', '--preserve-digests', '--insecure-policy', `oci:${root}:${name}`, `dir:${copy}/out`],
    { env },
  );
  const raw = await must(tool('skopeo-sid'), ['inspect', '--raw', `dir:${copy}/out`], { env });
  assert.deepEqual(raw, image.root.bytes);
  const fetched = await must(tool('oras'), ['manifest', 'fetch', '--oci-layout', `${root}@${image.digest}`], { env });
  assert.deepEqual(fetched, image.root.bytes);
});
