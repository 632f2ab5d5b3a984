import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { digestOf } from '../../src/core/digest.ts';
import { legacyTag, mergeLegacy } from '../../src/cosign/legacy.ts';
import { signImage } from '../../src/cosign/sign-image.ts';
import { generationsOf, journey, statementOf, type TestRegistry, tree } from '../support/command-journey.ts';
import { randomImage, type TestImage } from '../support/random-image.ts';
import { freshKey } from '../unit/sign/test-keys.ts';

type UpstreamKey = ReturnType<typeof freshKey>;

async function put(registry: TestRegistry, repository: string, bytes: Uint8Array): Promise<void> {
  const staging = await registry.content.stage();
  await staging.write(Buffer.from(bytes));
  await staging.commit(repository, digestOf(bytes));
}

async function signUpstream(
  registry: TestRegistry,
  image: TestImage,
  key: UpstreamKey,
  format: 'legacy' | 'bundle',
  about = image.descriptor,
): Promise<void> {
  const signed = await signImage(key, about, [`${registry.host}/team/app:1.0`], '2026-11-21T08:00:00Z');
  for (const { bytes } of signed.blobs) await put(registry, 'team/app', bytes);
  if (format === 'bundle') return registry.content.putManifest('team/app', signed.referrer, []).then(() => undefined);
  const tag = legacyTag(image.digest, 'sig');
  const merged = mergeLegacy(await registry.content.manifest('team/app', tag), signed.layers);
  assert.ok(merged);
  await put(registry, 'team/app', merged.config.bytes);
  await registry.content.putManifest('team/app', merged.manifest, [tag]);
}

async function withSigned(t: TestContext, format: 'legacy' | 'bundle' | 'none' = 'legacy') {
  const j = await journey(t);
  const [origin] = j.origins;
  const image = await randomImage({ seed: 1, layers: 1 });
  await origin.put('team/app', '1.0', image);
  const [upstream, stranger] = [freshKey(), freshKey()];
  if (format !== 'none') await signUpstream(origin, image, upstream, format);
  await mkdir(j.path('manifests/keys'), { recursive: true });
  await writeFile(j.path('manifests/keys/upstream.pub'), upstream.publicKey.pem);
  await writeFile(j.path('manifests/keys/stranger.pub'), stranger.publicKey.pem);
  const manifest = (verify: string): Promise<string> =>
    j.manifest('lumen', 'platforms: [linux/amd64]', `images: [{ref: "${origin.host}/team/app:1.0", verify: ${verify}}]`);
  const trustDirectory = async (policies: string): Promise<string> => {
    const directory = j.path('trust');
    await mkdir(join(directory, 'upstream'), { recursive: true });
    await writeFile(join(directory, 'release.pub'), readFileSync(j.key.pub));
    await writeFile(join(directory, 'upstream/upstream.pub'), upstream.publicKey.pem);
    await writeFile(join(directory, 'upstream/stranger.pub'), stranger.publicKey.pem);
    await writeFile(join(directory, 'trust.yaml'), policies);
    return directory;
  };
  return { j, origin, image, upstream, stranger, manifest, trustDirectory };
}

describe('pull with a policy', () => {
  for (const format of ['legacy', 'bundle'] as const)
    test(`passes an image that the key signed (${format}), and the statement says by whom`, async (t) => {
      const { j, upstream, manifest } = await withSigned(t, format);
      const ran = await j.pull(await manifest('{key: keys/upstream.pub}'));
      assert.equal(ran.code, 0, ran.stderr);
      const [content] = statementOf(j.bundle).contents;
      assert.equal(content?.verdict?.result, 'verified');
      assert.deepEqual(content?.verdict?.result === 'verified' && content.verdict.by, { key: upstream.publicKey.keyid });
      assert.equal(content?.verdict?.result === 'verified' && content.verdict.format, format);
    });

  test('fails for an image of another signer: the code is 6, it names image, found and asked, and nothing is in the bundle', async (t) => {
    const { j, origin, manifest } = await withSigned(t);
    const ran = await j.pull(await manifest('{key: keys/stranger.pub}'));
    assert.equal(ran.code, 6, ran.stderr);
    assert.match(ran.stderr, /E_UNTRUSTED/);
    const ref = `${origin.host}/team/app:1.0`;
    assert.ok(ran.stderr.includes(ref));
    assert.ok(!ran.stderr.includes(`${ref}: ${ref}`), ran.stderr);
    assert.match(ran.stderr, /stranger\.pub/);
    const blobs = join(j.bundle, 'blobs/sha256');
    assert.deepEqual(existsSync(blobs) ? readdirSync(blobs) : [], []);
    assert.equal(existsSync(join(j.bundle, 'bundle.json')), false);
  });

  test('fails for an unsigned image, and passes it where that is allowed, which is recorded', async (t) => {
    const { j, manifest } = await withSigned(t, 'none');
    const refused = await j.pull(await manifest('{key: keys/upstream.pub}'));
    assert.equal(refused.code, 6);
    assert.match(refused.stderr, /E_UNSIGNED/);
    assert.equal((await j.pull(await manifest('{unsigned: allowed}'))).code, 0);
    assert.deepEqual(statementOf(j.bundle).contents[0]?.verdict, { result: 'unsigned-allowed' });
  });

  test('a manifest-wide policy holds for what says nothing of its own, and without any the statement says so', async (t) => {
    const { j, origin, manifest } = await withSigned(t);
    const file = await j.manifest('lumen', 'verify: {key: keys/stranger.pub}', `images: ["${origin.host}/team/app:1.0"]`);
    assert.equal((await j.pull(file)).code, 6);
    await j.manifest('lumen', `images: ["${origin.host}/team/app:1.0"]`);
    assert.equal((await j.pull(file)).code, 0);
    assert.deepEqual(statementOf(j.bundle).contents[0]?.verdict, { result: 'not-asked' });
    assert.equal((await j.pull(await manifest('{key: keys/upstream.pub}'))).code, 0, 'another policy is another statement');
    assert.equal(statementOf(j.bundle).contents[0]?.verdict?.result, 'verified');
  });

  test('a failed verification leaves the generation before as it was', async (t) => {
    const { j, origin, manifest } = await withSigned(t);
    const file = await manifest('{key: keys/upstream.pub}');
    await j.pull(file);
    const [before, generations] = [tree(j.bundle), generationsOf(j.bundle)];
    await origin.put('team/app', '1.0', await randomImage({ seed: 2, layers: 1 }));
    assert.equal((await j.lock(file, '--update')).code, 0);
    assert.equal((await j.pull(file)).code, 6);
    assert.deepEqual([tree(j.bundle), generationsOf(j.bundle)], [before, generations]);
  });

  test('a signature of another image under the tag of this one is refused as broken', async (t) => {
    const { j, origin, image, upstream, manifest } = await withSigned(t, 'none');
    const other = await randomImage({ seed: 5, layers: 1 });
    await signUpstream(origin, image, upstream, 'legacy', other.descriptor);
    const ran = await j.pull(await manifest('{key: keys/upstream.pub}'));
    assert.equal(ran.code, 6);
    assert.match(ran.stderr, /E_SIGNATURE/);
  });

  test('a keyless policy refuses what is signed by a key', async (t) => {
    const { j, manifest } = await withSigned(t);
    const root = { mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1' };
    await writeFile(j.path('manifests/root.json'), JSON.stringify(root));
    const file = await manifest('{keyless: {issuer: "https://issuer.test", identity: "dev@example.test"}}');
    await writeFile(file, `${readFileSync(file, 'utf8')}trustedRoot: root.json\n`);
    const ran = await j.pull(file);
    assert.equal(ran.code, 6, ran.stderr);
  });
});

describe('load with policies of its own', () => {
  test('passes what trust.yaml demands, offline, whatever pull was told to look at', async (t) => {
    const { j, origin, manifest, trustDirectory } = await withSigned(t);
    await j.pull(await manifest('{unsigned: allowed}'));
    await origin.stop();
    const trust = await trustDirectory(`policies: {"${origin.host}": {key: upstream/upstream.pub}}\n`);
    const ran = await j.load('--trust', trust);
    assert.equal(ran.code, 0, ran.stderr);
  });

  test('refuses before the first write what was verified at pull by a key that this side does not trust', async (t) => {
    const { j, origin, manifest, trustDirectory } = await withSigned(t);
    await j.pull(await manifest('{key: keys/upstream.pub}'));
    const trust = await trustDirectory(
      `policies: {"${origin.host}/team": {key: upstream/stranger.pub}, "*": {unsigned: allowed}}\n`,
    );
    const ran = await j.load('--trust', trust);
    assert.equal(ran.code, 6, ran.stderr);
    assert.match(ran.stderr, /E_UNTRUSTED/);
    assert.deepEqual(j.target.requests, [], 'nothing may reach the target');
    const verified = await j.run(['verify', j.bundle, '--trust', trust]);
    assert.equal(verified.code, 6);
  });

  test('demands the same when --trust names a key file in that folder, or both of them', async (t) => {
    const { j, origin, manifest, trustDirectory } = await withSigned(t);
    await j.pull(await manifest('{unsigned: allowed}'));
    const trust = await trustDirectory(`policies: {"${origin.host}": {key: upstream/stranger.pub}}\n`);
    for (const named of [[`${trust}/release.pub`], [trust, `${trust}/release.pub`], [`${trust}/`, trust]]) {
      const ran = await j.load(...named.flatMap((path) => ['--trust', path]));
      assert.equal(ran.code, 6, named.join(' '));
      assert.match(ran.stderr, /E_UNTRUSTED/, named.join(' '));
    }
    assert.deepEqual(j.target.requests, []);
    await writeFile(j.path('trust.yaml'), 'policies: {"*": {unsigned: allowed}}\n');
    const two = await j.load('--trust', trust, '--trust', j.key.pub);
    assert.match(two.stderr, /both have a trust\.yaml.*E_TRUST_FILE/s);
  });

  test('does not pass over a trust.yaml that is called otherwise', async (t) => {
    const { j, origin, manifest, trustDirectory } = await withSigned(t);
    await j.pull(await manifest('{unsigned: allowed}'));
    const trust = await trustDirectory(`policies: {"${origin.host}": {key: upstream/upstream.pub}}\n`);
    await rename(`${trust}/trust.yaml`, `${trust}/trust.yml`);
    for (const named of [trust, `${trust}/release.pub`]) {
      const ran = await j.load('--trust', named);
      assert.equal(ran.code, 6);
      assert.match(ran.stderr, /trust\.yml.*call it trust\.yaml.*E_TRUST_FILE/s);
    }
  });

  test('verify --deep shows whose signatures there are, for people and as JSON', async (t) => {
    const { j, origin, upstream, manifest, trustDirectory } = await withSigned(t);
    await j.pull(await manifest('{key: keys/upstream.pub}'));
    const trust = await trustDirectory(`policies: {"${origin.host}": {key: upstream/upstream.pub}}\n`);
    const text = await j.run(['verify', j.bundle, '--trust', trust, '--deep']);
    assert.equal(text.code, 0, text.stderr);
    assert.match(text.stdout, new RegExp(`signed by ${j.key.keyid.slice(0, 12)}`));
    assert.match(text.stdout, new RegExp(`verified: legacy by the key ${upstream.publicKey.keyid.slice(0, 12)}.*checked now`));
    const [content] = (await j.run(['verify', j.bundle, '--trust', trust, '--deep', '--json'])).json().evidence;
    assert.equal(content.upstream.result, 'verified');
    assert.deepEqual(content.ours[0].keys, [j.key.keyid]);
    assert.equal(content.evidence.filter((e: { format: string }) => e.format === 'legacy').length, 2);
  });
});

describe('what trust.yaml covers', () => {
  test('is said by verify and load, and a scope that nothing is under is a warning', async (t) => {
    const { j, origin, manifest, trustDirectory } = await withSigned(t);
    await j.pull(await manifest('{unsigned: allowed}'));
    const trust = await trustDirectory(
      `policies: {"${origin.host}": {key: upstream/upstream.pub}, dockr.io: {unsigned: allowed}}\n`,
    );
    for (const ran of [await j.run(['verify', j.bundle, '--trust', trust]), await j.load('--trust', trust)]) {
      assert.equal(ran.code, 0, ran.stderr);
      assert.match(ran.stdout, /trust\.yaml: upstream's signatures of 1 verified, 0 may be unsigned, 0 not covered/);
      assert.match(ran.stderr, /warning: trust\.yaml: nothing in this bundle is under dockr\.io/);
    }
  });

  test('keyless without a root says what to write into trust.yaml', async (t) => {
    const { j, manifest, trustDirectory } = await withSigned(t);
    await j.pull(await manifest('{unsigned: allowed}'));
    const trust = await trustDirectory(
      'policies: {"*": {keyless: {issuer: "https://issuer.test", identity: "dev@example.test"}}}\n',
    );
    const ran = await j.run(['verify', j.bundle, '--trust', trust]);
    assert.equal(ran.code, 6);
    assert.match(ran.stderr, /trustedRoot: FILE, or fromBundle/);
  });
});

test('a signature found later gives a higher number also in a fresh directory, so that node-1 takes it', async (t) => {
  const { j, origin, image, upstream, manifest } = await withSigned(t, 'none');
  const file = await manifest('{unsigned: allowed}');
  const day = 86_400_000;
  const at = (n: number) => ({ now: Date.parse('2026-11-21T08:00:00Z') + n * day });
  const argv = ['pull', '-f', file, '--key', j.key.key];
  assert.equal((await j.run([...argv, '-o', j.path('day1')], at(0))).code, 0);
  assert.equal((await j.load(j.path('day1'))).code, 0);
  await signUpstream(origin, image, upstream, 'legacy');
  assert.equal((await j.run(['lock', '-f', file, '--update'], at(1))).code, 0);
  assert.equal((await j.run([...argv, '-o', j.path('day2')], at(1))).code, 0);
  assert.ok(statementOf(j.path('day2')).sequence > statementOf(j.path('day1')).sequence);
  const loaded = await j.load(j.path('day2'));
  assert.equal(loaded.code, 0, loaded.stderr);
});
