import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { describe, type TestContext, test } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { digestOf } from '../../src/core/digest.ts';
import { type LegacyLayer, legacyLayer, legacyTag, mergeLegacy } from '../../src/cosign/legacy.ts';
import { isWrite, type Json, journey, statementOf, type TestRegistry, testKey, tree } from '../support/command-journey.ts';
import { randomIndex, type TestImage } from '../support/random-image.ts';

const PLATFORMS = ['linux/amd64', 'linux/arm64'];

async function withIndex(t: TestContext, platforms = '[linux/amd64]') {
  const j = await journey(t);
  const [origin] = j.origins;
  const image = await randomIndex({ seed: 1, layers: 1, platforms: PLATFORMS });
  await origin.put('team/app', '1.0', image);
  const ref = `${origin.host}/team/app:1.0`;
  const file = await j.manifest('lumen', `platforms: ${platforms}`, `images: ["${ref}"]`);
  return { j, origin, image, ref, file, repository: j.at(origin, 'team/app') };
}

async function readManifest(registry: TestRegistry, repository: string, reference: string): Promise<Json> {
  const found = await registry.content.manifest(repository, reference);
  return found === undefined ? undefined : JSON.parse(Buffer.from(found.bytes).toString());
}

async function readBlob(registry: TestRegistry, repository: string, digest: Digest): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await registry.content.blob(repository, digest))?.open() ?? []) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

/** Signed names in the `.sig` of a digest by this key, checked by a reading of its own. */
async function legacyNames(registry: TestRegistry, repository: string, digest: Digest, pub: string): Promise<string[]> {
  const manifest = await readManifest(registry, repository, legacyTag(digest, 'sig'));
  const names: string[] = [];
  for (const layer of manifest?.layers ?? []) {
    const payload = await readBlob(registry, repository, layer.digest);
    const signature = Buffer.from(layer.annotations['dev.cosignproject.cosign/signature'], 'base64');
    if (!verify('sha256', payload, createPublicKey(readFileSync(pub)), signature)) continue;
    const { critical } = JSON.parse(payload.toString());
    assert.equal(critical.image['docker-manifest-digest'], digest);
    names.push(critical.identity['docker-reference']);
  }
  return names.sort();
}

/** How many referrers of a digest are Sigstore bundles by this key. */
async function bundlesBy(registry: TestRegistry, repository: string, digest: Digest, pub: string): Promise<number> {
  let count = 0;
  for (const { digest: referrer } of await registry.content.referrers(repository, digest)) {
    const manifest = await readManifest(registry, repository, referrer);
    if (manifest.artifactType !== 'application/vnd.dev.sigstore.bundle.v0.3+json') continue;
    const { dsseEnvelope } = JSON.parse((await readBlob(registry, repository, manifest.layers[0].digest)).toString());
    const payload = Buffer.from(dsseEnvelope.payload, 'base64');
    const type = dsseEnvelope.payloadType;
    const pae = Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload]);
    const [{ sig }] = dsseEnvelope.signatures;
    if (!verify('sha256', pae, createPublicKey(readFileSync(pub)), Buffer.from(sig, 'base64'))) continue;
    assert.equal(`sha256:${JSON.parse(payload.toString()).subject[0].digest.sha256}`, digest);
    count++;
  }
  return count;
}

async function put(registry: TestRegistry, repository: string, bytes: Uint8Array): Promise<Digest> {
  const staging = await registry.content.stage();
  await staging.write(Buffer.from(bytes));
  const digest = digestOf(bytes);
  await staging.commit(repository, digest);
  return digest;
}

/** A `.sig` layer of somebody else's with a payload of its own. */
async function putSignature(registry: TestRegistry, repository: string, digest: Digest, by: string): Promise<LegacyLayer> {
  const payload = Buffer.from(JSON.stringify({ by, digest }));
  const layer = legacyLayer({
    mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
    size: payload.length,
    digest: await put(registry, repository, payload),
    annotations: { 'dev.cosignproject.cosign/signature': Buffer.from(by).toString('base64') },
    'x-unknown': by,
  });
  const tag = legacyTag(digest, 'sig');
  const there = await registry.content.manifest(repository, tag);
  const merged = mergeLegacy(there, [layer]);
  assert.ok(merged);
  await put(registry, repository, merged.config.bytes);
  await registry.content.putManifest(repository, merged.manifest, [tag]);
  return layer;
}

async function putReferrer(registry: TestRegistry, repository: string, subject: TestImage, text: string): Promise<Digest> {
  const blob = Buffer.from(text);
  const empty = Buffer.from('{}');
  const descriptor = async (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: await put(registry, repository, bytes),
    size: bytes.length,
  });
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      artifactType: 'text/spdx+json',
      config: await descriptor('application/vnd.oci.empty.v1+json', empty),
      layers: [await descriptor('text/spdx+json', blob)],
      subject: { mediaType: subject.root.mediaType, digest: subject.digest, size: subject.root.size },
      annotations: { text },
    }),
  );
  const digest = digestOf(bytes);
  await registry.content.putManifest(repository, { mediaType, digest, bytes }, []);
  return digest;
}

describe('our own signatures', () => {
  test('are at the target in both formats, on what the tag means, on the original and on each platform, under the upstream name', async (t) => {
    const { j, image, ref, file, repository } = await withIndex(t, '[linux/amd64, linux/arm64]');
    assert.equal((await j.pull(file)).code, 0);
    const loaded = await j.load();
    assert.equal(loaded.code, 0, loaded.stderr);
    const [content] = statementOf(j.bundle).contents;
    const signed = new Set<Digest>([content?.targetDigest as Digest, image.digest, ...image.children.map((c) => c.digest)]);
    for (const digest of signed) {
      assert.deepEqual(await legacyNames(j.target, repository, digest, j.key.pub), [ref]);
      assert.equal(await bundlesBy(j.target, repository, digest, j.key.pub), 1);
    }
  });

  test('a night without change makes no new byte and asks nothing; a second load writes nothing', async (t) => {
    const { j, origin, file } = await withIndex(t);
    await j.pull(file);
    const before = tree(j.bundle, true);
    origin.clear();
    const again = await j.pull(file);
    assert.equal(again.code, 0, again.stderr);
    assert.match(again.stdout, /nothing new/);
    assert.deepEqual(origin.requests, []);
    assert.deepEqual(tree(j.bundle, true), before);
    await j.load();
    j.target.clear();
    const second = await j.load();
    assert.equal(second.code, 0, second.stderr);
    assert.deepEqual(j.target.requests.filter(isWrite), []);
  });

  test('the same lock and key give the same bytes in another directory', async (t) => {
    const { j, file } = await withIndex(t);
    await j.pull(file);
    await j.pull(file, '-o', j.path('other'));
    assert.deepEqual(tree(j.path('other')), tree(j.bundle));
  });

  test('two tags of one image share a list of signatures that names both', async (t) => {
    const { j, origin, image } = await withIndex(t);
    await origin.put('team/app', '2.0', image);
    const refs = ['1.0', '2.0'].map((tag) => `${origin.host}/team/app:${tag}`);
    const file = await j.manifest('lumen', 'platforms: [linux/amd64]', `images: ${JSON.stringify(refs)}`);
    await j.pull(file);
    assert.equal((await j.load()).code, 0);
    const target = statementOf(j.bundle).contents[0]?.targetDigest as Digest;
    const repository = j.at(origin, 'team/app');
    assert.deepEqual(await legacyNames(j.target, repository, target, j.key.pub), refs);
    assert.equal(await bundlesBy(j.target, repository, target, j.key.pub), 1);
  });

  test('two keys sign beside each other', async (t) => {
    const { j, file, repository, ref, image } = await withIndex(t);
    const second = testKey(j.dir, 'second');
    assert.equal((await j.pull(file, '--key', j.key.key, '--key', second.key)).code, 0);
    assert.equal((await j.load()).code, 0);
    const digest = image.children[0]?.digest as Digest;
    for (const { pub } of [j.key, second]) {
      assert.deepEqual(await legacyNames(j.target, repository, digest, pub), [ref]);
      assert.equal(await bundlesBy(j.target, repository, digest, pub), 1);
    }
  });

  test('an unsigned bundle carries none of ours', async (t) => {
    const { j, file } = await withIndex(t);
    await j.pull(file, '--unsigned');
    assert.deepEqual(statementOf(j.bundle).contents[0]?.evidence ?? [], []);
  });

  test('an alias has them too', async (t) => {
    const { j, ref, image } = await withIndex(t);
    const file = await j.manifest('lumen', 'platforms: [linux/amd64]', 'images:', `  - {ref: "${ref}", aliases: ["app:v1"]}`);
    await j.pull(file);
    assert.equal((await j.load()).code, 0);
    assert.deepEqual(await legacyNames(j.target, 'app', image.children[0]?.digest as Digest, j.key.pub), [ref]);
  });
});

describe("upstream's signatures", () => {
  test('come along, ours joins them, and what the target had stays in its place', async (t) => {
    const { j, origin, image, ref, file, repository } = await withIndex(t);
    const theirs = await putSignature(origin, 'team/app', image.digest, 'upstream');
    const pulled = await j.pull(file);
    assert.equal(pulled.code, 0, pulled.stderr);
    const local = await putSignature(j.target, repository, image.digest, 'somebody at the target');
    assert.equal((await j.load()).code, 0);
    const { layers } = await readManifest(j.target, repository, legacyTag(image.digest, 'sig'));
    assert.deepEqual(layers[0], local.json);
    assert.deepEqual(layers[1], theirs.json);
    assert.deepEqual(await legacyNames(j.target, repository, image.digest, j.key.pub), [ref]);
    j.target.clear();
    assert.equal((await j.load()).code, 0);
    assert.deepEqual(j.target.requests.filter(isWrite), []);
    origin.clear();
    assert.match((await j.pull(file)).stdout, /nothing new/);
    assert.deepEqual(origin.requests, [], "upstream's own list travels, so that it is not asked for again");
  });

  test('referrers of the index and of a platform come along, byte for byte, also through a platform filter', async (t) => {
    const { j, origin, image, file, repository } = await withIndex(t);
    const child = image.children[0] as TestImage;
    const wanted = [
      [image.digest, await putReferrer(origin, 'team/app', image, 'about the index')],
      [child.digest, await putReferrer(origin, 'team/app', child, 'about amd64')],
    ] as const;
    await putReferrer(origin, 'team/app', image.children[1] as TestImage, 'about arm64, which stays behind');
    assert.equal((await j.pull(file)).code, 0);
    assert.equal((await j.load()).code, 0);
    for (const [subject, referrer] of wanted)
      assert.ok((await j.target.content.referrers(repository, subject)).some((d) => d.digest === referrer));
    assert.equal((await j.target.content.referrers(repository, image.children[1]?.digest as Digest)).length, 0);
  });

  test('a signature that comes later is found by --update alone, and makes a new generation', async (t) => {
    const { j, origin, image, file } = await withIndex(t);
    await j.pull(file);
    await putSignature(origin, 'team/app', image.digest, 'late');
    assert.match((await j.pull(file)).stdout, /nothing new/);
    const updated = await j.lock(file, '--update');
    assert.equal(updated.code, 0, updated.stderr);
    assert.match((await j.pull(file)).stdout, /generation/);
    assert.ok(statementOf(j.bundle).contents[0]?.evidence?.some((e) => e.tag === legacyTag(image.digest, 'sig')));
  });

  test('what was locked and is gone at the origin is an error that says so, and nothing is lost', async (t) => {
    const { j, origin, image, file } = await withIndex(t);
    const referrer = await putReferrer(origin, 'team/app', image, 'soon gone');
    await j.lock(file);
    await origin.content.deleteManifest?.('team/app', referrer);
    await rm(j.bundle, { recursive: true, force: true });
    const ran = await j.pull(file);
    assert.equal(ran.code, 4, ran.stdout);
    assert.match(ran.stderr, /is gone/);
    assert.match(ran.stderr, /lock --update/);
  });

  test('what is under the tag and is no list of signatures is carried as it is, and said', async (t) => {
    const { j, origin, image, file, repository } = await withIndex(t);
    const strange = await randomIndex({ seed: 8, layers: 1, platforms: PLATFORMS });
    await origin.put('team/app', legacyTag(image.digest, 'sig'), strange);
    const pulled = await j.pull(file);
    assert.equal(pulled.code, 0, pulled.stderr);
    assert.match(pulled.stderr, /no list of signatures/);
    assert.equal((await j.load()).code, 0);
    assert.equal(await j.target.digest(repository, legacyTag(image.digest, 'sig')), strange.digest);
    assert.equal(await bundlesBy(j.target, repository, image.digest, j.key.pub), 1);
  });
});

describe("upstream's legacy signatures alone", () => {
  test('get no bundle beside them, because cosign 3 would then pass them over; --always-bundle makes one', async (t) => {
    const { j, origin, image, ref, file, repository } = await withIndex(t);
    await putSignature(origin, 'team/app', image.digest, 'upstream');
    await j.pull(file);
    assert.equal((await j.load()).code, 0);
    assert.deepEqual(await legacyNames(j.target, repository, image.digest, j.key.pub), [ref]);
    assert.equal(await bundlesBy(j.target, repository, image.digest, j.key.pub), 0);
    assert.equal(await bundlesBy(j.target, repository, image.children[0]?.digest as Digest, j.key.pub), 1);
    await j.pull(file, '--always-bundle');
    assert.equal((await j.load()).code, 0);
    assert.equal(await bundlesBy(j.target, repository, image.digest, j.key.pub), 1);
  });
});

describe('a key that a program holds', () => {
  test('signs with a new nonce each time, so what it signed is kept: a night without change asks for nothing and changes no byte', async (t) => {
    const { j, origin, file, repository, ref, image } = await withIndex(t);
    const log = j.path('questions');
    const script = j.path('signer.mjs');
    const source = [
      "import { appendFileSync, readFileSync } from 'node:fs';",
      "import { createPrivateKey, createPublicKey } from 'node:crypto';",
      `import { p256 } from '${import.meta.resolve('@noble/curves/nist.js')}';`,
      'const key = createPrivateKey(readFileSync(process.argv[2]));',
      "const question = process.argv.slice(3).join(' ');",
      'appendFileSync(process.argv[1].replace("signer.mjs", "questions"), question + "\\n");',
      "if (question === 'public-key') process.stdout.write(createPublicKey(key).export({ type: 'spki', format: 'pem' }));",
      "const options = { prehash: false, lowS: false, format: 'der', extraEntropy: true };",
      "const digest = () => Buffer.from(readFileSync(0, 'utf8').trim(), 'hex');",
      "const secret = () => Buffer.from(key.export({ format: 'jwk' }).d, 'base64url');",
      "if (question === 'sign sha256') process.stdout.write(Buffer.from(p256.sign(digest(), secret(), options)).toString('base64'));",
    ];
    await writeFile(script, source.join('\n'));
    const key = `exec:${JSON.stringify([process.execPath, script, j.key.key])}`;
    const questions = (): number =>
      readFileSync(log, 'utf8')
        .split('\n')
        .filter((line) => line.startsWith('sign')).length;
    const first = await j.pull(file, '--key', key);
    assert.equal(first.code, 0, first.stderr);
    const [asked, before] = [questions(), tree(j.bundle, true)];
    assert.ok(asked > 4);
    origin.clear();
    const again = await j.pull(file, '--key', key);
    assert.equal(again.code, 0, again.stderr);
    assert.match(again.stdout, /nothing new/);
    assert.equal(questions(), asked);
    assert.deepEqual(tree(j.bundle, true), before);
    assert.equal((await j.load()).code, 0);
    assert.deepEqual(await legacyNames(j.target, repository, image.children[0]?.digest as Digest, j.key.pub), [ref]);
  });
});

test('upstream that begins to sign in the legacy form after us is warned of: our earlier bundle stays where it is', async (t) => {
  const { j, origin, image, file } = await withIndex(t);
  await j.pull(file);
  await putSignature(origin, 'team/app', image.digest, 'late');
  assert.equal((await j.lock(file, '--update')).code, 0);
  const ran = await j.pull(file);
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(ran.stderr, /upstream signs it in the legacy form now/);
});
