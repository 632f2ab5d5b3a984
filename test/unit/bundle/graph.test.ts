import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { walkGraph } from '../../../src/bundle/graph.ts';
import type { Descriptor } from '../../../src/core/descriptor.ts';
import { digestOf } from '../../../src/core/digest.ts';
import { MEDIA_TYPE } from '../../../src/core/media-types.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { indexOf, nestedIndex, randomArtifact, randomImage, randomIndex, type TestImage } from '../../support/random-image.ts';

function readerOf(image: TestImage) {
  const read: string[] = [];
  const bytes = new Map(image.manifests.map((m) => [m.digest, m.bytes]));
  return {
    read,
    options: {
      read: async (d: Descriptor) => {
        read.push(d.digest);
        return bytes.get(d.digest) ?? assert.fail(`${d.digest} was asked for`);
      },
    },
  };
}
const root = (image: TestImage): Descriptor => ({ mediaType: image.root.mediaType, digest: image.digest, size: image.root.size });

describe('walk over everything that a root needs', () => {
  test('children come before their parents, each manifest and blob once', async () => {
    const image = await nestedIndex({ seed: 1 });
    const { read, options } = readerOf(image);
    const graph = await walkGraph(root(image), options);
    const order = graph.manifests.map((m) => m.descriptor.digest);
    assert.equal(order.at(-1), image.digest);
    for (const { descriptor, manifest } of graph.manifests)
      if (manifest.kind === 'index')
        for (const child of manifest.manifests) assert.ok(order.indexOf(child.digest) < order.indexOf(descriptor.digest));
    assert.equal(new Set(read).size, read.length);
    assert.deepEqual(graph.blobs.map((b) => b.digest).sort(), image.blobs.map((b) => b.digest).sort());
  });

  test('a diamond is no explosion', async () => {
    let image = await randomImage({ seed: 2 });
    for (let i = 0; i < 6; i++) image = indexOf([image, image, image]);
    const { read, options } = readerOf(image);
    assert.equal((await walkGraph(root(image), options)).manifests.length, 7);
    assert.equal(read.length, 7);
  });

  test('what is not carried is neither read nor listed', async () => {
    const image = await randomIndex({ seed: 3 });
    const [, arm64] = image.children;
    const { read, options } = readerOf(image);
    const graph = await walkGraph(root(image), { ...options, carried: (d) => d.digest === arm64?.digest });
    assert.deepEqual(read.sort(), [image.digest, arm64?.digest].sort());
    assert.deepEqual(graph.blobs.map((b) => b.digest).sort(), arm64?.blobs.map((b) => b.digest).sort());
  });

  test('an index may point at what is no manifest: it is carried as bytes', async () => {
    const artifact = randomArtifact({ seed: 4 });
    const blob = { mediaType: 'application/octet-stream', digest: digestOf(Buffer.from('b')), size: 1 };
    const bytes = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: [artifact.descriptor, blob] }),
    );
    const descriptor = { mediaType: MEDIA_TYPE.ociIndex, digest: digestOf(bytes), size: bytes.length };
    const graph = await walkGraph(descriptor, {
      read: async (d) => (d.digest === descriptor.digest ? bytes : artifact.root.bytes),
    });
    assert.ok(graph.blobs.some((b) => b.digest === blob.digest));
  });

  test('foreign layers with URLs are left out; those without are carried', async () => {
    const foreign = await randomImage({ seed: 5, layers: 1, foreignUrls: ['https://example.invalid/l'] });
    const graph = await walkGraph(root(foreign), readerOf(foreign).options);
    assert.equal(graph.blobs.length, 1, 'the config alone');
    const nowhere = await randomImage({ seed: 6, layers: 1, foreignUrls: [] });
    assert.equal((await walkGraph(root(nowhere), readerOf(nowhere).options)).blobs.length, 2);
  });

  test('one digest under two sizes is refused: readers could disagree on it', async () => {
    const child = await randomImage({ seed: 7 });
    const twice = indexOf([child, { ...child, descriptor: { ...child.descriptor, size: child.descriptor.size + 1 } }]);
    await rejectsWith(walkGraph(root(twice), readerOf(twice).options), 'E_OCI_MANIFEST');
  });

  test('nesting beyond every real image is refused', async () => {
    let image = await randomImage({ seed: 8 });
    for (let i = 0; i < 12; i++) image = indexOf([image]);
    await rejectsWith(walkGraph(root(image), readerOf(image).options), 'E_LIMIT', /nested deeper/);
  });

  test('an error of the reader is the error of the walk', async () => {
    await assert.rejects(walkGraph(root(await randomImage()), { read: () => Promise.reject(new Error('gone')) }), /gone/);
  });
});
