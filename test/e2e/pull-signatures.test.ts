import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { Descriptor } from '../../src/core/descriptor.ts';
import { type Digest, digestOf, hexOf } from '../../src/core/digest.ts';
import { BundleError } from '../../src/core/errors.ts';
import { type CosignTag, type LegacyLayer, legacyLayer, legacyTag, mergeLegacy } from '../../src/cosign/legacy.ts';
import { signImage } from '../../src/cosign/sign-image.ts';
import { rejectsWith } from '../support/assert-code.ts';
import {
  flipByte,
  generationsOf,
  type Json,
  journey,
  lockOf,
  readJson,
  statementOf,
  type TestRegistry,
  testKey,
  tree,
} from '../support/command-journey.ts';
import { startFaultRegistry } from '../support/fault-registry.ts';
import { disk, startJourney } from '../support/journey.ts';
import { randomArtifact, randomImage, type TestImage } from '../support/random-image.ts';
import { freshKey } from '../unit/sign/test-keys.ts';

const REPOSITORY = 'team/app';
const SMALL = { files: 1, bytes: 600, layers: 1 };
const FIRST = Date.parse('2026-11-01T00:00:00Z');
const DAY = 24 * 3_600_000;

/** One image under the tags `1` and `2`; manifests that name some of them in an order, and locks of a certain day. */
async function withTwoTags(t: TestContext) {
  const j = await journey(t);
  const [origin] = j.origins;
  const image = await randomImage({ seed: 1, ...SMALL });
  await origin.put(REPOSITORY, ['1', '2'], image);
  const naming = (...tags: number[]): Promise<string> =>
    j.manifest(
      'lumen',
      'platforms: [linux/amd64]',
      'images:',
      ...tags.map((tag) => `  - {ref: "${origin.host}/${REPOSITORY}:${tag}", aliases: ["other/app:${tag}"]}`),
    );
  const lockOn = async (day: number, ...tags: number[]): Promise<void> => {
    const ran = await j.run(['lock', '-f', await naming(...tags)], { now: FIRST + day * DAY });
    assert.equal(ran.code, 0, ran.stderr);
  };
  return { j, origin, image, naming, lockOn };
}

async function put(registry: TestRegistry, bytes: Uint8Array): Promise<Digest> {
  const staging = await registry.content.stage();
  await staging.write(Buffer.from(bytes));
  const digest = digestOf(bytes);
  await staging.commit(REPOSITORY, digest);
  return digest;
}

/** A list under one of cosign's tags, with a layer by each of these. */
async function putList(registry: TestRegistry, subject: Digest, kind: CosignTag, ...by: string[]): Promise<Digest> {
  const layers: LegacyLayer[] = [];
  for (const name of by) {
    const payload = Buffer.from(JSON.stringify({ by: name, kind }));
    layers.push(
      legacyLayer({
        mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
        digest: await put(registry, payload),
        size: payload.length,
        annotations: { 'dev.cosignproject.cosign/signature': Buffer.from(name).toString('base64') },
      }),
    );
  }
  const merged = mergeLegacy(undefined, layers);
  assert.ok(merged);
  await put(registry, merged.config.bytes);
  await registry.content.putManifest(REPOSITORY, merged.manifest, [legacyTag(subject, kind)]);
  return merged.manifest.digest;
}

/** What a tag of cosign's means in the bundle: every root with that name. */
const rootsNamed = (bundle: string, tag: string): Descriptor[] =>
  (readJson(`${bundle}/index.json`).manifests as Descriptor[]).filter((root) =>
    root.annotations?.['org.opencontainers.image.ref.name']?.endsWith(`:${tag}`),
  );
const blobPath = (bundle: string, digest: Digest): string => `${bundle}/blobs/sha256/${hexOf(digest)}`;
const payloadsIn = (bundle: string, list: Digest): string[] =>
  readJson(blobPath(bundle, list)).layers.map(
    (layer: Descriptor) => JSON.parse(readFileSync(blobPath(bundle, layer.digest), 'utf8')).by,
  );

describe('the same content gives the same bytes', () => {
  test('in whatever order the keys are named', async (t) => {
    const { j, naming } = await withTwoTags(t);
    const second = testKey(j.dir, 'second');
    const file = await naming(1);
    await j.pull(file, '--key', j.key.key, '--key', second.key);
    const before = tree(j.bundle);
    const again = await j.pull(file, '--key', second.key, '--key', j.key.key);
    assert.match(again.stdout, /nothing new/);
    assert.deepEqual(tree(j.bundle), before);
  });

  for (const keys of [[], ['--unsigned']])
    test(`in whatever order references of one repository come that saw different signatures${keys.length ? ', unsigned' : ''}`, async (t) => {
      const { j, origin, image, naming, lockOn } = await withTwoTags(t);
      await putList(origin, image.digest, 'sig', 'early');
      await putList(origin, image.digest, 'att', 'early');
      await lockOn(0, 1);
      await putList(origin, image.digest, 'sig', 'late');
      await putList(origin, image.digest, 'att', 'late');
      await lockOn(1, 1, 2);
      // The first reference was not asked again.
      const listed = lockOf(await naming(1, 2)).items.map((i) => i.evidence?.map((e) => e.digest));
      assert.notDeepEqual(listed[0], listed[1]);
      // The origin keeps the new list only under its tag; the old one is found by its digest.
      const first = await j.pull(await naming(1, 2), ...keys);
      assert.equal(first.code, 0, first.stderr);
      const before = tree(j.bundle);
      origin.clear();
      const again = await j.pull(await naming(2, 1), ...keys);
      assert.match(again.stdout, /nothing new/);
      assert.deepEqual([tree(j.bundle), origin.requests], [before, []]);
    });
});

describe('references of one repository that were locked at different times', () => {
  for (const kind of ['sig', 'att'] as const)
    test(`have one .${kind} with what both saw`, async (t) => {
      const { j, origin, image, naming, lockOn } = await withTwoTags(t);
      await putList(origin, image.digest, kind, 'early');
      await lockOn(0, 1);
      await putList(origin, image.digest, kind, 'late');
      await lockOn(1, 1, 2);
      const ran = await j.pull(await naming(1, 2), '--unsigned');
      assert.equal(ran.code, 0, ran.stderr);
      const roots = rootsNamed(j.bundle, legacyTag(image.digest, kind));
      assert.equal(roots.length, 1);
      assert.deepEqual(payloadsIn(j.bundle, roots[0]?.digest as Digest).sort(), ['early', 'late']);
    });

  test('a list that grew stays as upstream made it, and the older one travels for the next pull', async (t) => {
    const { j, origin, image, naming, lockOn } = await withTwoTags(t);
    const early = await putList(origin, image.digest, 'att', 'early');
    await lockOn(0, 1);
    const grown = await putList(origin, image.digest, 'att', 'early', 'late');
    await lockOn(1, 1, 2);
    await j.pull(await naming(1, 2));
    assert.deepEqual(
      rootsNamed(j.bundle, legacyTag(image.digest, 'att')).map((r) => r.digest),
      [grown],
    );
    const listed = statementOf(j.bundle).contents[0]?.evidence?.find((e) => e.digest === early);
    assert.equal(listed?.superseded, true);
    origin.clear();
    assert.match((await j.pull(await naming(1, 2))).stdout, /nothing new/);
    assert.deepEqual(origin.requests, []);
  });

  test('have the .sbom that was listed later, whatever the order of the references', async (t) => {
    const { j, origin, image, naming, lockOn } = await withTwoTags(t);
    await putList(origin, image.digest, 'sbom', 'early');
    await lockOn(0, 2);
    const late = await putList(origin, image.digest, 'sbom', 'late');
    await lockOn(1, 1, 2);
    await j.pull(await naming(1, 2));
    assert.deepEqual(
      rootsNamed(j.bundle, legacyTag(image.digest, 'sbom')).map((r) => r.digest),
      [late],
    );
    assert.match((await j.pull(await naming(2, 1))).stdout, /nothing new/);
    assert.equal((await j.load()).code, 0);
    assert.equal(await j.target.digest(j.at(origin, REPOSITORY), legacyTag(image.digest, 'sbom')), late);
  });
});

describe('damage in the bundle', () => {
  /** An image that upstream signed with a bundle, verified and pulled. */
  async function withVerified(t: TestContext) {
    const { j, origin, image } = await withTwoTags(t);
    const upstream = freshKey();
    writeFileSync(j.path('upstream.pub'), upstream.publicKey.pem);
    const signed = await signImage(upstream, image.descriptor, ['x/y:1'], '2026-11-21T08:00:00Z');
    for (const { bytes } of signed.blobs) await put(origin, bytes);
    await origin.content.putManifest(REPOSITORY, signed.referrer, []);
    const line = `  - {ref: "${origin.host}/${REPOSITORY}:1", verify: {key: ${j.path('upstream.pub')}}}`;
    const file = await j.manifest('lumen', 'platforms: [linux/amd64]', 'images:', line);
    const pulled = await j.pull(file);
    assert.equal(pulled.code, 0, pulled.stderr);
    const verify = () => j.run(['verify', j.bundle, '--trust', j.key.pub]);
    return { j, file, verify, theirs: signed.referrer.digest };
  }

  const bundleOf = (directory: string, referrer: Digest): Digest => readJson(blobPath(directory, referrer)).layers[0].digest;

  test("in upstream's signature, which pull reads to verify it, is mended by that pull", async (t) => {
    const { j, file, verify, theirs } = await withVerified(t);
    flipByte(blobPath(j.bundle, bundleOf(j.bundle, theirs)));
    const again = await j.pull(file);
    assert.match(again.stdout, /nothing new/);
    const verified = await verify();
    assert.equal(verified.code, 0, verified.stderr);
  });

  test('in our own signatures, which pull reads to use them again, is mended by that pull', async (t) => {
    const { j, file, verify, theirs } = await withVerified(t);
    const ours = (statementOf(j.bundle).contents[0]?.evidence ?? []).filter((e) => e.digest !== theirs);
    const [list, referrer] = [ours.find((e) => e.tag !== undefined), ours.find((e) => e.tag === undefined)];
    const blobs = [list?.digest, bundleOf(j.bundle, referrer?.digest as Digest), referrer?.digest] as Digest[];
    for (const digest of blobs) {
      flipByte(blobPath(j.bundle, digest));
      const again = await j.pull(file);
      assert.match(again.stdout, /nothing new/, again.stderr);
      const verified = await verify();
      assert.equal(verified.code, 0, verified.stderr);
    }
  });
});

describe('an origin that has nothing any more', () => {
  test('makes no image unsigned: asking for the signatures of what is locked is an error when the image itself is gone', async (t) => {
    const j = await journey(t);
    const registry = await startFaultRegistry(t);
    j.allowPlainHttp(registry.host);
    const image = await randomImage({ seed: 1, ...SMALL });
    registry.add(REPOSITORY, '1', image);
    registry.add(REPOSITORY, legacyTag(image.digest, 'sig'), await randomImage({ seed: 2, ...SMALL }));
    const file = await j.manifest('lumen', 'platforms: [linux/amd64]', 'images:', `  - ${registry.host}/${REPOSITORY}:1`);
    assert.equal((await j.pull(file)).code, 0);
    const lockPath = file.replace(/\.yaml$/, '.lock.json');
    const lock: Json = lockOf(file);
    assert.equal(lock.items[0].evidence.length, 1);
    // As a version before 0.2 wrote it.
    delete lock.items[0].evidence;
    delete lock.items[0].evidenceAt;
    writeFileSync(lockPath, JSON.stringify(lock));
    for (const on of ['manifest', 'referrers'] as const)
      registry.inject({ on, times: Number.POSITIVE_INFINITY, does: { kind: 'answer', status: 404 } });
    const ran = await j.pull(file);
    assert.equal(ran.code, 4, ran.stdout);
    assert.match(ran.stderr, /lock --update/);
    assert.equal(readJson(lockPath).items[0].evidence, undefined);
    assert.equal(generationsOf(j.bundle).length, 1);
  });
});

describe('a generation that no reader would take', () => {
  test('is refused before anything is fetched, and the bundle stays as it was', async (t) => {
    const j = await startJourney(t);
    const directory = j.path();
    await j.pull(directory, 0);
    const before = tree(directory);
    await rejectsWith(j.pull(directory, 1, disk, { tool: 'x'.repeat(101) }), 'E_STATEMENT', /which is not committed/);
    assert.deepEqual(tree(directory), before);
    assert.equal((await j.pull(directory, 1)).outcome, 'committed');
  });
});

describe('a signer that fails while layers are on their way', () => {
  test('stops them: nothing is written any more, the bundle is free, and the next run finishes it', async (t) => {
    const j = await startJourney(t);
    const directory = j.path();
    const { publicKey } = freshKey();
    const sign = (): Promise<never> => Promise.reject(new BundleError('E_SIGNATURE', 'no token in the slot'));
    await rejectsWith(j.pull(directory, 0, disk, { keys: [{ publicKey, signer: { sign } }] }), 'E_SIGNATURE', /no token/);
    const left = tree(directory);
    await setTimeout(200);
    assert.deepEqual(tree(directory), left);
    assert.deepEqual(generationsOf(directory), []);
    assert.equal((await j.pull(directory, 0)).outcome, 'committed');
    await j.verify(directory);
  });
});

describe('what pull says', () => {
  const strange = async (t: TestContext) => {
    const { j, origin, image, naming } = await withTwoTags(t);
    const odd = randomArtifact({ seed: 5 });
    await origin.put(REPOSITORY, legacyTag(image.digest, 'sig'), odd as TestImage);
    return { j, file: await naming(1) };
  };

  test('nothing of upstream where nobody asked and there is nothing', async (t) => {
    const { j, naming } = await withTwoTags(t);
    const signed = await j.pull(await naming(1));
    assert.match(signed.stdout, /\n {2}signatures: ours on 1 manifest\n$/);
    const unsigned = await j.pull(await naming(1), '--unsigned', '-o', j.path('other'));
    assert.doesNotMatch(unsigned.stdout, /signatures:/);
  });

  test('that signatures which nobody asked about were found', async (t) => {
    const { j, origin, image, naming } = await withTwoTags(t);
    await putList(origin, image.digest, 'sig', 'upstream');
    const ran = await j.pull(await naming(1), '--unsigned');
    assert.match(ran.stdout, /\n {2}signatures: upstream's 1 not asked\n$/);
  });

  test('what becomes of ours beside a list that is none, only where there is ours', async (t) => {
    const { j, file } = await strange(t);
    assert.match((await j.pull(file)).stderr, /no list of signatures: ours is there as a Sigstore bundle only/);
    const unsigned = await j.pull(file, '--unsigned', '-o', j.path('other'));
    assert.equal(unsigned.code, 0);
    assert.doesNotMatch(unsigned.stderr, /warning/);
  });
});
