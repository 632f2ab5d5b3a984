import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { type Digest, digestOf } from '../../src/core/digest.ts';
import { fallbackTag } from '../../src/core/fallback-tag.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import { type CosignTag, legacyLayer, legacyTag, mergeLegacy } from '../../src/cosign/legacy.ts';
import { type Json, journey, type TestRegistry } from '../support/command-journey.ts';
import { type FaultRegistry, type FaultRegistryOptions, startFaultRegistry } from '../support/fault-registry.ts';
import { randomArtifact, randomImage, randomIndex, type TestImage } from '../support/random-image.ts';

const REPOSITORY = 'team/app';

/** What an origin has about an image, put beside it. */
type About = (origin: TestRegistry, image: TestImage) => Promise<void>;

/** One image with what is said about it, pulled, and a registry of another make to load it into. */
async function pulledFor(t: TestContext, switches: FaultRegistryOptions['switches'] = {}, about: readonly About[] = []) {
  const j = await journey(t);
  const registry = await startFaultRegistry(t, { switches });
  j.allowPlainHttp(registry.host);
  const [origin] = j.origins;
  const image = await randomImage({ seed: 1, layers: 1, bytes: 600 });
  await origin.put(REPOSITORY, '1.0', image);
  for (const put of about) await put(origin, image);
  const pulled = await j.pull(await j.manifest('lumen', `images: ["${origin.host}/${REPOSITORY}:1.0"]`));
  assert.equal(pulled.code, 0, pulled.stderr);
  const repository = j.at(origin, REPOSITORY);
  const load = (...argv: string[]) => j.load('--registry', registry.host, '--skip-mirrors', ...argv);
  return { j, registry, image, repository, load };
}

/** Referrers as the tool makes them are pushed by it: an artifact with a subject. */
const artifact = (subject: TestImage, seed: number, bytes = 500): TestImage =>
  randomArtifact({ seed, bytes, subject: subject.descriptor, artifactType: 'application/spdx+json' });

const writesAt = (registry: FaultRegistry): string[] => registry.log().filter((line) => /^(PUT|POST|PATCH|DELETE) /.test(line));

const fallbackTagsAt = (registry: FaultRegistry, repository: string): string[] =>
  Object.keys(registry.tagsOf(repository)).filter((tag) => /^sha\d+-[0-9a-f]{64}$/.test(tag));

const jsonAt = (registry: FaultRegistry, repository: string, reference: string): Json =>
  JSON.parse(String(registry.manifestAt(repository, reference)?.bytes));

/** Digests of the referrers of a subject that the registry holds, by a reading of its own. */
function heldReferrers(registry: FaultRegistry, repository: string, subject: Digest): string[] {
  const held = [...(registry.storage.find(repository)?.manifests.values() ?? [])];
  return held.filter(({ bytes }) => JSON.parse(String(bytes)).subject?.digest === subject).map(({ digest }) => digest);
}

async function nothingWrittenBy(registry: FaultRegistry, load: () => Promise<Json>): Promise<void> {
  registry.clear();
  const again = await load();
  assert.equal(again.code, 0, again.stderr);
  assert.deepEqual(writesAt(registry), []);
}

/** One of cosign's lists with so many signatures, as the registry has it. */
function listOf(count: number, by: string, bytes = 20) {
  const payload = Buffer.from(by.padEnd(bytes, '.'));
  const layers = Array.from({ length: count }, (_, i) =>
    legacyLayer({
      mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
      digest: digestOf(payload),
      size: payload.length,
      annotations: { 'dev.cosignproject.cosign/signature': `${by}${i}` },
    }),
  );
  const merged = mergeLegacy(undefined, layers);
  assert.ok(merged);
  return { blobs: [payload, Buffer.from(merged.config.bytes)], manifest: merged.manifest };
}

async function putList(registry: TestRegistry, tag: string, { blobs, manifest }: ReturnType<typeof listOf>): Promise<void> {
  for (const bytes of blobs) {
    const staging = await registry.content.stage();
    await staging.write(bytes);
    await staging.commit(REPOSITORY, digestOf(bytes));
  }
  await registry.content.putManifest(REPOSITORY, manifest, [tag]);
}

const listUnder =
  (kind: CosignTag, by: string, bytes?: number): About =>
  (origin, image) =>
    putList(origin, legacyTag(image.digest, kind), listOf(1, by, bytes));

function putManifestAt(registry: FaultRegistry, repository: string, tag: string, bytes: Buffer, mediaType: string): Digest {
  const digest = digestOf(bytes);
  const into = registry.storage.repository(repository);
  into.manifests.set(digest, { digest, mediaType, bytes });
  into.tags.set(tag, digest);
  return digest;
}

describe('referrers at a registry that does not list them', () => {
  for (const subjectHeader of ['never', 'right'] as const) {
    test(`get the fallback tag although it answers the API${subjectHeader === 'right' ? ', and says OCI-Subject' : ''}; a second load finds them`, async (t) => {
      const { registry, image, repository, load } = await pulledFor(t, { referrers: 'empty', subjectHeader }, [
        async (origin, subject) => origin.put(REPOSITORY, [], artifact(subject, 5)),
      ]);
      const loaded = await load();
      assert.equal(loaded.code, 0, loaded.stderr);
      const { manifests } = jsonAt(registry, repository, fallbackTag(image.digest));
      const held = heldReferrers(registry, repository, image.digest);
      assert.equal(held.length, 2);
      assert.deepEqual(manifests.map((d: Json) => d.digest).sort(), held.sort());
      await nothingWrittenBy(registry, load);
    });
  }

  test('that it lists: there is no fallback tag, and each referrer costs a PUT and its read-back', async (t) => {
    const { registry, image, repository, load } = await pulledFor(t);
    assert.equal((await load()).code, 0);
    const [referrer] = heldReferrers(registry, repository, image.digest);
    assert.deepEqual(fallbackTagsAt(registry, repository), []);
    const asked = registry.requests.filter((r) => r.url.includes(String(referrer))).map((r) => r.method);
    assert.deepEqual(asked, ['PUT', 'GET']);
    await nothingWrittenBy(registry, load);
  });
});

describe('evidence of which the registry has said that it has a blob', () => {
  test('gets it all the same when its manifest is refused for want of it: a referrer', async (t) => {
    const put: About = (origin, subject) => origin.put(REPOSITORY, [], artifact(subject, 6, 100_000));
    const { registry, image, repository, load } = await pulledFor(t, {}, [put]);
    const { digest, size } = artifact(image, 6, 100_000).blobs.find((b) => b.size === 100_000) ?? assert.fail('no large blob');
    const does = { kind: 'answer', status: 200, headers: { 'content-length': String(size) } } as const;
    const lie = registry.inject({ on: 'blob', method: 'HEAD', path: new RegExp(digest), does });
    const loaded = await load();
    assert.equal(lie.hits, 1);
    assert.equal(loaded.code, 0, loaded.stderr);
    assert.ok(registry.hasBlob(repository, digest));
  });

  test('and so does a list under a tag of cosign', async (t) => {
    const { registry, image, repository, load } = await pulledFor(t, {}, [listUnder('att', 'upstream', 100_000)]);
    const blob = listOf(1, 'upstream', 100_000).blobs[0] as Buffer;
    const does = { kind: 'answer', status: 200, headers: { 'content-length': String(blob.length) } } as const;
    const lie = registry.inject({ on: 'blob', method: 'HEAD', path: new RegExp(digestOf(blob)), does });
    const loaded = await load();
    assert.equal(lie.hits, 1);
    assert.equal(loaded.code, 0, loaded.stderr);
    assert.ok(registry.hasBlob(repository, digestOf(blob)));
    assert.ok(registry.tagsOf(repository)[legacyTag(image.digest, 'att')]);
  });

  test('is read back: a registry that gives other bytes for a referrer gets no tag moved', async (t) => {
    const put: About = (origin, subject) => origin.put(REPOSITORY, [], artifact(subject, 7));
    const { registry, image, repository, load } = await pulledFor(t, {}, [put]);
    const { digest } = artifact(image, 7);
    registry.inject({ on: 'manifest', method: 'GET', path: new RegExp(digest), does: { kind: 'flip', at: 20 } });
    const loaded = await load();
    assert.equal(loaded.code, 5, loaded.stdout);
    assert.ok(loaded.stderr.includes(digest), loaded.stderr);
    assert.deepEqual(registry.tagsOf(repository), {});
  });
});

describe('a registry that has the referrers API', () => {
  test('and answers 404 for what it has not, gets no fallback tag: what signs an SBOM comes after the SBOM', async (t) => {
    const nested =
      (seed: number): About =>
      async (origin, image) => {
        const sbom = artifact(image, seed);
        await origin.put(REPOSITORY, [], sbom);
        await origin.put(REPOSITORY, [], artifact(sbom, seed + 10));
      };
    const taggedSbom: About = async (origin, image) => {
      const { manifest, ...list } = listOf(1, 'sbom');
      await putList(origin, legacyTag(image.digest, 'sbom'), { manifest, ...list });
      const descriptor = { mediaType: manifest.mediaType, digest: manifest.digest, size: manifest.bytes.length };
      await origin.put(REPOSITORY, [], randomArtifact({ seed: 30, subject: descriptor }));
    };
    const { registry, repository, load } = await pulledFor(t, { referrers: '404-unknown' }, [nested(1), nested(2), taggedSbom]);
    const loaded = await load();
    assert.equal(loaded.code, 0, loaded.stderr);
    assert.deepEqual(fallbackTagsAt(registry, repository), []);
    await nothingWrittenBy(registry, load);
  });

  test('and refuses it for sha512, gets fallback tags for sha512 alone', async (t) => {
    const j = await journey(t);
    const registry = await startFaultRegistry(t);
    j.allowPlainHttp(registry.host);
    const [origin] = j.origins;
    const lines: string[] = [];
    for (const [i, algorithm] of (['sha512', 'sha256', 'sha256'] as const).entries()) {
      const image = await randomImage({ seed: i + 1, layers: 1, bytes: 600, algorithm });
      await origin.put(`team/app${i}`, algorithm === 'sha512' ? [] : '1.0', image);
      await origin.put(`team/app${i}`, [], artifact(image, 40 + i));
      lines.push(`  - "${origin.host}/team/app${i}${algorithm === 'sha512' ? `@${image.digest}` : ':1.0'}"`);
    }
    const pulled = await j.pull(await j.manifest('lumen', 'images:', ...lines));
    assert.equal(pulled.code, 0, pulled.stderr);
    registry.inject({ on: 'referrers', path: /sha512/, times: Infinity, does: { kind: 'answer', status: 400 } });
    const load = () => j.load('--registry', registry.host, '--skip-mirrors', '--concurrency', '1');
    const loaded = await load();
    assert.equal(loaded.code, 0, loaded.stderr);
    const counts = lines.map((_, i) => fallbackTagsAt(registry, j.at(origin, `team/app${i}`)).length);
    assert.deepEqual(counts, [1, 0, 0]);
    await nothingWrittenBy(registry, load);
  });
});

describe("a tag of cosign's at the target", () => {
  test('that becomes something else at the last moment stays, with a warning, and does not count as written', async (t) => {
    const { registry, image, repository, load } = await pulledFor(t);
    const tag = legacyTag(image.digest, 'sig');
    const strange = await randomIndex({ seed: 8, layers: 1 });
    let looks = 0;
    registry.onRequest((record) => {
      if (record.method === 'HEAD' && record.url.endsWith(tag) && ++looks === 2) registry.add(repository, tag, strange);
    });
    const loaded = await load('--json');
    assert.equal(loaded.code, 0, loaded.stderr);
    assert.equal(registry.tagsOf(repository)[tag], strange.digest);
    assert.match(loaded.stderr, /\.sig stays as it is/);
    const [target] = loaded.json().targets ?? [loaded.json()];
    assert.deepEqual(target.evidence, { places: 2, written: 1 });
  });

  test('.sbom of the site stays, with a warning, and a second load writes nothing; --force-tags replaces it', async (t) => {
    const { registry, image, repository, load } = await pulledFor(t, {}, [listUnder('sbom', 'upstream')]);
    const tag = legacyTag(image.digest, 'sbom');
    const { manifest } = listOf(1, 'site');
    const own = putManifestAt(registry, repository, tag, Buffer.from(manifest.bytes), manifest.mediaType);
    const loaded = await load();
    assert.equal(loaded.code, 0, loaded.stderr);
    assert.match(loaded.stderr, /\.sbom stays as it is.*--force-tags/);
    assert.equal(registry.tagsOf(repository)[tag], own);
    await nothingWrittenBy(registry, load);
    assert.equal((await load('--force-tags')).code, 0);
    assert.equal(registry.tagsOf(repository)[tag], listOf(1, 'upstream').manifest.digest);
    await nothingWrittenBy(registry, () => load('--force-tags'));
  });

  for (const [count, what] of [
    [1000, 'is full'],
    [1001, 'is more than full'],
  ] as const) {
    test(`that ${what} stays, with a warning, and the image's own tag moves`, async (t) => {
      const { registry, image, repository, load } = await pulledFor(t);
      const tag = legacyTag(image.digest, 'sig');
      const list = JSON.parse(String(listOf(1000, 'site').manifest.bytes));
      list.layers.push(...list.layers.slice(0, count - 1000));
      const own = putManifestAt(registry, repository, tag, Buffer.from(JSON.stringify(list)), MEDIA_TYPE.ociManifest);
      const loaded = await load();
      assert.equal(loaded.code, 0, loaded.stderr);
      assert.match(loaded.stderr, /\.sig stays as it is: it is full.*100\d signatures/);
      assert.equal(registry.tagsOf(repository)[tag], own);
      assert.equal(registry.tagsOf(repository)['1.0'], image.digest);
      await nothingWrittenBy(registry, load);
    });
  }
});

describe('a fallback tag', () => {
  /** A registry has somebody else's entry under the fallback tag of a subject, in an index that does not name its own type. */
  function putOthers(registry: FaultRegistry, repository: string, subject: Digest) {
    const theirs = randomArtifact({ seed: 70 });
    registry.add(repository, undefined, theirs);
    const { mediaType, digest, size } = theirs.descriptor;
    const entry = { mediaType, digest, size };
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
    return { entry, own: putManifestAt(registry, repository, fallbackTag(subject), bytes, MEDIA_TYPE.ociIndex) };
  }

  const servedAs = (registry: FaultRegistry, subject: Digest, type: string) =>
    registry.inject({
      on: 'manifest',
      path: new RegExp(`${fallbackTag(subject)}$`),
      times: Infinity,
      does: { kind: 'headers', set: { 'content-type': type } },
    });

  for (const [type, what] of [
    ['application/octet-stream', 'served without a type'],
    ['text/html', 'behind a page of a proxy'],
    [MEDIA_TYPE.ociManifest, 'served as an image'],
  ] as const) {
    test(`${what} is not replaced: others' entries would be lost`, async (t) => {
      const { registry, image, repository, load } = await pulledFor(t, { referrers: '404-json' });
      const tag = fallbackTag(image.digest);
      const { entry, own } = putOthers(registry, repository, image.digest);
      const lie = servedAs(registry, image.digest, type);
      const loaded = await load();
      assert.equal(loaded.code, 5, loaded.stderr);
      assert.match(loaded.stderr, /E_OCI_MANIFEST/);
      assert.match(loaded.stderr, /it may list referrers of others, so it stays as it is/);
      assert.equal(registry.tagsOf(repository)[tag], own);
      lie.stop();
      assert.equal((await load()).code, 0);
      const { manifests } = jsonAt(registry, repository, tag);
      assert.equal(manifests.length, 2);
      assert.deepEqual(manifests[0], entry);
      await nothingWrittenBy(registry, load);
    });
  }

  for (const which of ['first', 'last'] as const) {
    test(`of the ${which} subject that can't be read stays too: that there is no API was learned from another`, async (t) => {
      const j = await journey(t);
      const registry = await startFaultRegistry(t, { switches: { referrers: '404-json' } });
      j.allowPlainHttp(registry.host);
      const [origin] = j.origins;
      const images = [await randomImage({ seed: 1, layers: 1 }), await randomImage({ seed: 2, layers: 1 })] as const;
      for (const [i, image] of images.entries()) await origin.put(REPOSITORY, `${i}`, image);
      const refs = images.map((_, i) => `"${origin.host}/${REPOSITORY}:${i}"`);
      assert.equal((await j.pull(await j.manifest('lumen', `images: [${refs.join(', ')}]`))).code, 0);
      const { digest } = images[which === 'first' ? 0 : 1];
      const repository = j.at(origin, REPOSITORY);
      const { own } = putOthers(registry, repository, digest);
      servedAs(registry, digest, 'application/octet-stream');
      const loaded = await j.load('--registry', registry.host, '--skip-mirrors', '--concurrency', '1');
      assert.equal(loaded.code, 5, loaded.stderr);
      assert.equal(registry.tagsOf(repository)[fallbackTag(digest)], own);
    });
  }

  test('with the image itself under it, as "cosign copy" leaves it, becomes a list', async (t) => {
    const { registry, image, repository, load } = await pulledFor(t, { referrers: '404-json' });
    const other = await randomImage({ seed: 9, layers: 1 });
    registry.add(repository, fallbackTag(image.digest), other);
    const loaded = await load();
    assert.equal(loaded.code, 0, loaded.stderr);
    assert.equal(jsonAt(registry, repository, fallbackTag(image.digest)).manifests.length, 1);
    await nothingWrittenBy(registry, load);
  });

  test("that can't be read is no matter where the registry keeps the list itself", async (t) => {
    const { registry, image, repository, load } = await pulledFor(t);
    putOthers(registry, repository, image.digest);
    servedAs(registry, image.digest, 'text/html');
    const loaded = await load();
    assert.equal(loaded.code, 0, loaded.stderr);
    assert.equal(registry.tagsOf(repository)['1.0'], image.digest);
  });
});
