import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { type Journey, journey, lockOf, statementOf, type TestRegistry, testRegistry } from '../support/command-journey.ts';
import {
  attestationFor,
  descriptorOf,
  indexOf,
  nestedIndex,
  randomArtifact,
  randomImage,
  randomIndex,
  type TestImage,
} from '../support/random-image.ts';

type Case = Readonly<{ j: Journey; image: TestImage; ref: string; repository: string }>;

/** Puts an image, carries it with these lines in the manifest, and loads it. `@` in the lines stands for the reference. */
async function carry(t: TestContext, image: TestImage, lines: readonly string[] = ['images: ["@"]']): Promise<Case> {
  const j = await journey(t);
  const [origin] = j.origins;
  await origin.put('team/app', '1.0', image);
  const ref = `${origin.host}/team/app:1.0`;
  const file = await j.manifest('kinds', ...lines.map((line) => line.replace('@', ref)));
  const pulled = await j.pull(file);
  assert.equal(pulled.code, 0, pulled.stderr);
  const loaded = await j.load();
  assert.equal(loaded.code, 0, loaded.stderr);
  return { j, image, ref, repository: j.at(origin, 'team/app') };
}

/** Everything under a root is there, byte for byte. */
async function assertComplete(registry: TestRegistry, repository: string, image: TestImage): Promise<void> {
  for (const manifest of image.manifests) {
    const found = await registry.content.manifest(repository, manifest.digest);
    assert.ok(found, `${manifest.digest} is not at the target`);
    assert.deepEqual([found.mediaType, Buffer.from(found.bytes)], [manifest.mediaType, manifest.bytes]);
  }
  for (const blob of image.blobs) assert.equal((await registry.content.blob(repository, blob.digest))?.size, blob.size);
}

const contentOf = (j: Journey) => statementOf(j.bundle).contents[0];

describe('whatever kind of image it is, the tag means the signed digest at the target and everything under it is there', () => {
  const kinds: readonly (readonly [string, () => Promise<TestImage> | TestImage])[] = [
    ['an OCI image', () => randomImage({ seed: 1 })],
    ['an OCI index', () => randomIndex({ seed: 2 })],
    ['a Docker schema 2 image', () => randomImage({ seed: 3, docker: true })],
    ['a Docker manifest list', () => randomIndex({ seed: 4, docker: true })],
    ['zstd layers', () => randomImage({ seed: 5, compression: 'zstd' })],
    ['uncompressed layers', () => randomImage({ seed: 6, compression: 'none' })],
    ['an artifact', () => randomArtifact({ seed: 7 })],
    ['a nested index', () => nestedIndex({ seed: 8 })],
    ['an index with attestations', () => randomIndex({ seed: 9, attestations: true })],
    ['an index of artifacts without platforms', () => indexOf([randomArtifact({ seed: 1 }), randomArtifact({ seed: 2 })])],
    ['an index with annotations', () => randomIndex({ seed: 10, annotations: { 'org.example.note': 'kept' } })],
    ['an image with a subject that is not there', () => randomImage({ seed: 11, subject: descriptorOf(randomArtifact().root) })],
    ['an image without layers', () => randomImage({ seed: 12, layers: 0 })],
    [
      'one child twice in an index',
      async () => {
        const child = await randomImage({ seed: 13 });
        return indexOf([child, child]);
      },
    ],
  ];
  for (const [name, make] of kinds) {
    test(name, async (t) => {
      const { j, image, repository } = await carry(t, await make());
      assert.equal(contentOf(j)?.targetDigest, image.digest);
      assert.equal(contentOf(j)?.form, 'whole');
      assert.equal(await j.target.digest(repository, '1.0'), image.digest);
      await assertComplete(j.target, repository, image);
      for (const manifest of image.manifests) {
        const stored = readFileSync(join(j.bundle, 'blobs', manifest.digest.replace(':', '/')));
        assert.ok(stored.equals(manifest.bytes), 'the bytes of manifests are never written anew');
      }
    });
  }

  test('sha512, by digest', async (t) => {
    const j = await journey(t);
    const image = await randomIndex({ seed: 20, algorithm: 'sha512' });
    await j.origins[0].put('team/app', '1.0', image);
    const file = await j.manifest('kinds', `images: ["${j.origins[0].host}/team/app@${image.digest}"]`);
    assert.equal((await j.pull(file)).code, 0);
    assert.equal((await j.run(['verify', j.bundle, '--trust', j.key.pub])).code, 0);
    const loaded = await j.load();
    assert.equal(loaded.code, 0, loaded.stderr);
    await assertComplete(j.target, j.at(j.origins[0], 'team/app'), image);
  });

  test('a foreign layer is named but neither asked for nor pushed', async (t) => {
    const urls = ['http://127.0.0.1:9/never-asked'];
    const plain = await randomImage({ seed: 21, layers: 1 });
    const image = await randomImage({ seed: 22, layers: 1, docker: true, foreignUrls: urls, shared: plain.layers });
    const { j, repository } = await carry(t, image);
    const foreign = image.layers.find((layer) => layer.foreign)?.descriptor.digest as Digest;
    assert.ok(![...j.origins[0].requests, ...j.target.requests].some((r) => r.includes(foreign)));
    assert.ok(!statementOf(j.bundle).blobs.some((b) => b.digest === foreign));
    assert.equal(await j.target.content.blob(repository, foreign), undefined);
    assert.equal(await j.target.digest(repository, '1.0'), image.digest);
  });
});

describe('platforms', () => {
  const three = () => randomIndex({ seed: 30, platforms: ['linux/amd64', 'linux/arm64', 'linux/s390x'], attestations: true });

  test('one of several: the tag means its manifest; the others are not carried, its attestation is', async (t) => {
    const image = await three();
    const { j, repository } = await carry(t, image, ['platforms: [linux/arm64]', 'images: ["@"]']);
    const [amd64, arm64, s390x, , attestation] = image.children as [TestImage, TestImage, TestImage, TestImage, TestImage];
    assert.deepEqual([contentOf(j)?.form, contentOf(j)?.targetDigest], ['single', arm64.digest]);
    assert.deepEqual(contentOf(j)?.platforms, ['linux/arm64']);
    assert.equal(await j.target.digest(repository, '1.0'), arm64.digest);
    await assertComplete(j.target, repository, arm64);
    const listed = new Set<string>(statementOf(j.bundle).blobs.map((b) => b.digest));
    assert.ok(listed.has(attestation.digest) && listed.has(image.digest));
    for (const other of [amd64, s390x]) assert.ok(!listed.has(other.digest) && !listed.has(other.blobs[0]?.digest as string));
    for (const other of [amd64, s390x])
      assert.ok(!j.origins[0].requests.some((r) => r.includes(other.digest)), 'not even fetched');
  });

  test('some of several: a derived index of the same digest at two targets and in two bundles', async (t) => {
    const image = await three();
    const { j, repository, ref } = await carry(t, image, ['images: [{ref: "@", platforms: [linux/amd64, linux/arm64]}]']);
    const content = contentOf(j);
    assert.equal(content?.form, 'derived');
    const second = await testRegistry(t);
    const more = { env: { BUNDLE_PLAIN_HTTP: second.host } };
    const argv = ['load', j.bundle, '--registry', second.host, '--trust', j.key.pub, '--state', j.path('state')];
    assert.equal((await j.run(argv, more)).code, 0);
    for (const registry of [j.target, second])
      assert.equal(await registry.digest(repository, '1.0'), content?.targetDigest as string);
    const derived = await j.target.content.manifest(repository, '1.0');
    const index = JSON.parse(Buffer.from(derived?.bytes ?? []).toString());
    const [amd64, arm64, , first, other] = image.children.map((child) => child.descriptor);
    assert.deepEqual(index.manifests, [amd64, arm64, first, other], 'entries as they stand in the original');
    const file = await j.manifest('again', `images: [{ref: "${ref}", platforms: [linux/arm64, linux/amd64]}]`);
    await j.pull(file, '-o', j.path('again'));
    assert.equal(
      statementOf(j.path('again')).contents[0]?.targetDigest,
      content?.targetDigest,
      'in whatever order they are asked for',
    );
  });

  test('all that there are, asked for by name, means the original index', async (t) => {
    const image = await three();
    const { j } = await carry(t, image, ['platforms: [linux/s390x, linux/arm64, linux/amd64]', 'images: ["@"]']);
    assert.deepEqual([contentOf(j)?.form, contentOf(j)?.targetDigest], ['whole', image.digest]);
  });

  test('index: exact carries all children whatever the platforms, so the tag means the original', async (t) => {
    const image = await three();
    const { j, repository } = await carry(t, image, ['platforms: [linux/arm64]', 'images: [{ref: "@", index: exact}]']);
    assert.deepEqual([contentOf(j)?.form, contentOf(j)?.targetDigest], ['whole', image.digest]);
    await assertComplete(j.target, repository, image);
  });

  test('a reference pinned by the digest of an index takes all children, attestations included', async (t) => {
    const j = await journey(t);
    const image = await three();
    await j.origins[0].put('team/app', '1.0', image);
    const ref = `${j.origins[0].host}/team/app@${image.digest}`;
    const file = await j.manifest('kinds', 'platforms: [linux/arm64]', `images: ["${ref}"]`);
    assert.equal((await j.pull(file)).code, 0);
    assert.equal((await j.load()).code, 0);
    await assertComplete(j.target, j.at(j.origins[0], 'team/app'), image);
    const tags = (await j.target.content.tags(j.at(j.origins[0], 'team/app'))) ?? [];
    assert.deepEqual(
      tags.filter((tag) => !tag.endsWith('.sig')),
      [],
      'no tag was asked for',
    );
  });

  test('one platform out of a nested index', async (t) => {
    const image = await nestedIndex({ seed: 40 });
    const { j, repository } = await carry(t, image, ['platforms: [linux/arm64]', 'images: ["@"]']);
    const arm64 = image.children[0]?.children[1] as TestImage;
    assert.equal(contentOf(j)?.targetDigest, arm64.digest);
    assert.equal(await j.target.digest(repository, '1.0'), arm64.digest);
    assert.equal((await j.run(['verify', j.bundle, '--trust', j.key.pub])).code, 0);
  });

  test('an artifact has no platform and suits every choice', async (t) => {
    const image = randomArtifact({ seed: 41 });
    const { j } = await carry(t, image, ['platforms: [linux/arm64]', 'images: ["@"]']);
    assert.deepEqual([contentOf(j)?.targetDigest, contentOf(j)?.platforms], [image.digest, []]);
    assert.deepEqual(lockOf(j.path('manifests/kinds.yaml')).items[0]?.platforms, []);
  });

  test('an attestation that describes a platform left out stays behind', async (t) => {
    const children = await Promise.all(
      ['linux/amd64', 'linux/arm64'].map((platform, i) => randomImage({ seed: 50 + i, platform })),
    );
    const attested = indexOf([...children, attestationFor(children[0] as TestImage)]);
    const { j } = await carry(t, attested, ['platforms: [linux/arm64]', 'images: ["@"]']);
    const listed = new Set<string>(statementOf(j.bundle).blobs.map((b) => b.digest));
    assert.ok(!listed.has(attested.children[2]?.digest as string));
  });
});

describe('the original index, where only some platforms are carried', () => {
  const setUp = async (t: TestContext, acceptSparse: boolean) => {
    const j = await journey(t, { target: { acceptSparse } });
    const image = await randomIndex({ seed: 60, platforms: ['linux/amd64', 'linux/arm64'] });
    await j.origins[0].put('team/app', '1.0', image);
    const file = await j.manifest('sparse', 'platforms: [linux/arm64]', `images: ["${j.origins[0].host}/team/app:1.0"]`);
    await j.pull(file);
    return { j, image, repository: j.at(j.origins[0], 'team/app') };
  };

  test('is pushed by digest where the target takes it', async (t) => {
    const { j, image, repository } = await setUp(t, true);
    const loaded = await j.load('--json');
    assert.equal(loaded.json().targets[0].items[0].originalIndex, 'pushed');
    assert.equal(await j.target.digest(repository, image.digest), image.digest);
    assert.equal(await j.target.digest(repository, '1.0'), image.children[1]?.digest, 'the tag still means the platform');
  });

  test('is reported as refused where the target does not take it, and that is no failure', async (t) => {
    const { j, image, repository } = await setUp(t, false);
    const loaded = await j.load('--json');
    assert.equal(loaded.code, 0);
    assert.equal(loaded.json().targets[0].items[0].originalIndex, 'refused');
    assert.match(loaded.stderr, /takes no index with missing platforms/);
    assert.equal(await j.target.digest(repository, image.digest), undefined);
    assert.equal(await j.target.digest(repository, '1.0'), image.children[1]?.digest);
  });
});
