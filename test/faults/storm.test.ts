/**
 * Promises 1, 2, 4 and 8 in any weather: a registry with several faults at once, at random places. Each run ends in a promised code and in bounds,
 * nothing wrong is committed or tagged, no credential goes astray, and a rerun in good weather ends like a run that never met any.
 *
 * `BUNDLE_STORM_ROUNDS` is how many storms of each kind, `BUNDLE_STORM_SEED` the first one's seed: a failure names its own, to be run alone.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { readdir, readFile, rm } from 'node:fs/promises';
import { it, type TestContext } from 'node:test';
import { type VerifiedBundle, verifyBundle } from '../../src/bundle/verify.ts';
import { exitCodeOf, isBundleError } from '../../src/core/errors.ts';
import { parseReference } from '../../src/core/reference.ts';
import { load } from '../../src/load/load.ts';
import { parseTarget, placesAt } from '../../src/load/target.ts';
import { makeLock } from '../../src/lock/lock.ts';
import { createConfigReader, createManifestReader } from '../../src/lock/resolve.ts';
import type { Manifest } from '../../src/manifest/manifest.ts';
import { pull } from '../../src/pull/pull.ts';
import { createRegistryClient, type RegistryClient } from '../../src/registry/client.ts';
import { wellBehaved } from '../support/fault-registry/switches.ts';
import { createFaultRegistry, type FaultRegistry, type Switches } from '../support/fault-registry.ts';
import { disk, NOW, treeOf } from '../support/journey.ts';
import {
  createPrng,
  digestOfBytes,
  nestedIndex,
  randomArtifact,
  randomImage,
  randomIndex,
  type TestImage,
} from '../support/random-image.ts';
import type { Prng } from '../support/random-layer.ts';
import { drawStorm, type Storm, unleash } from '../support/storm.ts';
import { tempDir } from '../support/temp-dir.ts';
import { freshKey } from '../unit/sign/test-keys.ts';

const ROUNDS = Number(process.env.BUNDLE_STORM_ROUNDS ?? 30);
const SEED = Number(process.env.BUNDLE_STORM_SEED ?? randomInt(2 ** 31));
/** What one run may ask for at most: a storm that is answered with a storm of requests is a fault of ours. */
const REQUESTS = 1500;
const ALICE = { password: 'canary-of-the-storm', identityToken: 'canary-refresh-token', push: true };

const key = freshKey();
const trust = { keys: [key.publicKey], threshold: 1, sources: [] };

/** Waits that take no time but move the hands, so that tokens and windows end. */
function clientFor(registry: FaultRegistry, said: string[]): RegistryClient {
  let offset = 0;
  return createRegistryClient({
    credentials: {
      find: async (origin) =>
        origin === registry.host ? { kind: 'basic', username: 'alice', password: ALICE.password, from: 'auth.json' } : undefined,
    },
    clock: {
      now: () => Date.now() + offset,
      async sleep(ms, signal) {
        signal?.throwIfAborted();
        offset += ms;
      },
    },
    plainHttp: [registry.host],
    environment: {},
    timeouts: { connect: 2000, headers: 150, idle: 150 },
    concurrency: 4,
    warn: (text) => said.push(text),
  });
}

/** One to three images of any kind, some sharing layers. */
async function randomImages(prng: Prng): Promise<[name: string, image: TestImage][]> {
  const images: [string, TestImage][] = [];
  const count = 1 + prng.int(3);
  for (let i = 0; i < count; i++) {
    const options = { seed: prng.int(2 ** 30), files: 1, bytes: 200 + prng.int(3000), layers: 1 + prng.int(2) };
    const make = [
      () => randomImage(options),
      () => randomImage({ ...options, docker: true }),
      () => randomIndex({ ...options, attestations: prng.int(2) === 0 }),
      () => nestedIndex(options),
      () => Promise.resolve(randomArtifact({ seed: options.seed })),
    ][prng.int(5)] as () => Promise<TestImage>;
    images.push([['team/app', 'tool', 'library/deep/er/name'][i] as string, await make()]);
  }
  return images;
}

const manifestFor = (host: string, images: readonly [string, TestImage][]): Manifest => ({
  name: 'lumen',
  platforms: [],
  images: images.map(([name], i) => ({
    ref: parseReference(`${host}/${name}:1.0`),
    text: `${name}:1.0`,
    platforms: 'all',
    aliases: [],
    where: `lumen.yaml:${i + 1}:1`,
  })),
  imageLists: [],
});

type Ended = Readonly<{ code: string; exit: number; message: string }>;

async function endOf(run: Promise<unknown>): Promise<Ended> {
  try {
    await run;
    return { code: 'finished', exit: 0, message: '' };
  } catch (error) {
    assert.ok(isBundleError(error), `ended with ${error instanceof Error ? error.stack : String(error)}`);
    return {
      code: error.code,
      exit: exitCodeOf(error.code),
      message: `${error.message}\n${error.hint}\n${JSON.stringify(error.detail)}`,
    };
  }
}

/** Nothing that is secret was said, and nobody got it for whom it was not. */
function requireDiscreet(registry: FaultRegistry, said: readonly string[]): void {
  assert.deepEqual(
    registry.leaks().map((r) => `${r.at}: ${r.method} ${r.url}`),
    [],
  );
  const secrets = [ALICE.password, ALICE.identityToken, Buffer.from(`alice:${ALICE.password}`).toString('base64')];
  for (const secret of secrets) assert.ok(!said.join('\n').includes(secret), 'a secret was said');
}

type Round = Readonly<{ prng: Prng; registry: FaultRegistry; storm: Storm; path: (name: string) => string }>;
type Tally = Map<string, number>;

/** Runs the rounds, each with a registry, a seed and a storm of its own; a failure is told with the line that repeats it. */
async function rounds(t: TestContext, kind: 'reading' | 'writing', round: (r: Round) => Promise<string>): Promise<void> {
  const root = await tempDir(t, 'bundle-storm-');
  const codes: Tally = new Map();
  let [storms, requests] = [0, 0];
  for (let i = 0; i < ROUNDS; i++) {
    const seed = SEED + i;
    const prng = createPrng(seed);
    const storm = drawStorm(prng, kind);
    const registry = await createFaultRegistry({ users: { alice: ALICE } });
    try {
      const code = await round({ prng, registry, storm, path: (name) => `${root}/${i}-${name}` });
      codes.set(code, (codes.get(code) ?? 0) + 1);
      storms++;
      requests += registry.requests.length;
    } catch (error) {
      const again = `BUNDLE_STORM_SEED=${seed} BUNDLE_STORM_ROUNDS=1 node --test test/faults/storm.test.ts`;
      assert.fail(`${again}\n${storm.name}\n${error instanceof Error ? error.stack : String(error)}`);
    } finally {
      await registry.close();
      for (const name of await readdir(root)) await rm(`${root}/${name}`, { recursive: true, force: true });
    }
  }
  const ends = [...codes].sort((a, b) => b[1] - a[1]).map(([code, n]) => `${code} ${n}`);
  t.diagnostic(`${storms} storms from seed ${SEED}, ${requests} requests: ${ends.join(', ')}`);
}

const calm = (): Switches => wellBehaved();

async function lockOf(registry: FaultRegistry, manifest: Manifest) {
  const client = clientFor(registry, []);
  const ports = { client, readManifest: createManifestReader(client), readConfig: createConfigReader(client), now: () => NOW };
  try {
    return (await makeLock({ manifest, previous: undefined, update: 'all' }, ports)).lock;
  } finally {
    await client.close();
  }
}

async function pullOnce(
  registry: FaultRegistry,
  directory: string,
  manifest: Manifest,
  lock: Awaited<ReturnType<typeof lockOf>>,
) {
  const said: string[] = [];
  const client = clientFor(registry, said);
  const report = (event: unknown): void => void said.push(JSON.stringify(event));
  try {
    const request = { manifest, lock, directory, keys: [key], keep: 2, dryRun: false, tool: 'bundle test' };
    const ended = await endOf(pull(request, { fs: disk, client, report }));
    requireDiscreet(registry, [...said, ended.message]);
    return ended;
  } finally {
    await client.close();
  }
}

/** Whatever lies under blobs/ has the hash that it is named after. */
async function requireRightBlobs(directory: string): Promise<void> {
  for (const algorithm of ['sha256', 'sha512'] as const) {
    for (const name of await readdir(`${directory}/blobs/${algorithm}`).catch(() => []))
      assert.equal(digestOfBytes(await readFile(`${directory}/blobs/${algorithm}/${name}`), algorithm), `${algorithm}:${name}`);
  }
}

it('pull: nothing wrong is committed, whatever the origin does', async (t) => {
  await rounds(t, 'reading', async ({ prng, registry, storm, path }) => {
    const images = await randomImages(prng);
    for (const [name, image] of images) registry.add(name, '1.0', image);
    const manifest = manifestFor(registry.host, images);
    const lock = await lockOf(registry, manifest);
    assert.equal((await pullOnce(registry, path('undisturbed'), manifest, lock)).code, 'finished');
    const want = await treeOf(path('undisturbed'));
    registry.clear();

    const end = unleash(registry, storm, calm());
    const ended = await pullOnce(registry, path('bundle'), manifest, lock);
    end();
    assert.ok([0, 4, 5].includes(ended.exit), `ended with ${ended.code}: ${ended.message}`);
    assert.ok(registry.requests.length < REQUESTS, `${registry.requests.length} requests`);
    await requireRightBlobs(path('bundle'));
    const tree = await treeOf(path('bundle')).catch(() => ({}) as Record<string, string>);
    if (ended.exit === 0) assert.deepEqual(tree, want);
    else
      assert.deepEqual(
        Object.keys(tree).filter((name) => /^generations\/\d/.test(name)),
        [],
      );
    assert.equal((await pullOnce(registry, path('bundle'), manifest, lock)).code, 'finished', 'the rerun in good weather');
    assert.deepEqual(await treeOf(path('bundle')), want, 'the same bytes as an undisturbed pull');
    await verifyBundle(disk, path('bundle'), { trust, now: NOW });
    return ended.code;
  });
});

async function loadOnce(registry: FaultRegistry, bundle: VerifiedBundle, stateRoot: string) {
  const said: string[] = [];
  const client = clientFor(registry, said);
  const report = (event: unknown): void => void said.push(JSON.stringify(event));
  try {
    const request = {
      bundle,
      target: parseTarget(registry.host),
      stateRoot,
      allowRollback: false,
      forceTags: false,
      breakLock: false,
      dryRun: false,
    };
    const ended = await endOf(load(request, { fs: disk, client, report, now: () => NOW }));
    requireDiscreet(registry, [...said, ended.message]);
    return ended;
  } finally {
    await client.close();
  }
}

/** What the tags of the bundle mean at the target. A tag that is there must mean what was signed, and all below it must be there and right. */
function tagsAt(registry: FaultRegistry, bundle: VerifiedBundle): string[] {
  const there: string[] = [];
  for (const { content, target } of bundle.contents) {
    for (const { repository, tag } of placesAt(parseTarget(registry.host), content.ref, content.aliases ?? [])) {
      const digest = registry.tagsOf(repository)[tag as string];
      if (digest === undefined) continue;
      there.push(`${repository}:${tag}`);
      assert.equal(digest, content.targetDigest, `${repository}:${tag} means something else than was signed`);
      for (const { descriptor, bytes } of target.manifests)
        assert.ok(registry.manifestAt(repository, descriptor.digest)?.bytes.equals(bytes), `${repository}@${descriptor.digest}`);
      for (const blob of target.blobs) {
        const stored = registry.storage.blob(repository, blob.digest);
        assert.ok(stored, `${repository}: blob ${blob.digest} is not there`);
        assert.equal(digestOfBytes(Buffer.concat([...stored.read(0, stored.size)])), blob.digest);
      }
    }
  }
  return there;
}

it('load: no tag means anything but what was signed, whatever the target does', async (t) => {
  await rounds(t, 'writing', async ({ prng, registry, storm, path }) => {
    const images = await randomImages(prng);
    const origin = await createFaultRegistry();
    for (const [name, image] of images) origin.add(name, '1.0', image);
    const manifest = manifestFor(origin.host, images);
    try {
      assert.equal((await pullOnce(origin, path('bundle'), manifest, await lockOf(origin, manifest))).code, 'finished');
    } finally {
      await origin.close();
    }
    const bundle = await verifyBundle(disk, path('bundle'), { trust, now: NOW });
    const forget = (): void => {
      registry.storage.repositories.clear();
      registry.storage.sessions.clear();
      registry.clear();
    };
    assert.equal((await loadOnce(registry, bundle, path('undisturbed'))).code, 'finished');
    const want = { tags: tagsAt(registry, bundle), state: await treeOf(path('undisturbed')) };
    assert.equal(want.tags.length, images.length);
    forget();

    const end = unleash(registry, storm, calm());
    const ended = await loadOnce(registry, bundle, path('state'));
    end();
    assert.ok([0, 4, 5, 9].includes(ended.exit), `ended with ${ended.code}: ${ended.message}`);
    assert.ok(registry.requests.length < REQUESTS, `${registry.requests.length} requests`);
    // A registry that keeps other bytes than it says is replaced by one that does not.
    if (storm.switches.manifest === 'stores-other-bytes') {
      assert.notEqual(ended.exit, 0, 'a manifest that was altered was taken for loaded');
      forget();
    }
    const tags = tagsAt(registry, bundle);
    if (ended.exit === 0) assert.deepEqual(tags, want.tags);
    const again = await loadOnce(registry, bundle, path('state'));
    assert.equal(again.code, 'finished', `the rerun in good weather: ${again.message}`);
    assert.deepEqual(tagsAt(registry, bundle), want.tags);
    assert.deepEqual(await treeOf(path('state')), want.state, 'the same state as after an undisturbed load');
    return ended.code;
  });
});
