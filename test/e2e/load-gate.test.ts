import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cp, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { blobPath } from '../../src/bundle/layout.ts';
import type { Digest } from '../../src/core/digest.ts';
import { parseTarget, targetKey } from '../../src/load/target.ts';
import {
  flipByte,
  generationsOf,
  type Journey,
  type Json,
  journey,
  type Ran,
  readJson,
  statementOf,
  testKey,
  tree,
} from '../support/command-journey.ts';
import { randomIndex } from '../support/random-image.ts';

async function pulled(t: TestContext, ...lines: string[]) {
  const j = await journey(t);
  const [origin] = j.origins;
  const image = await randomIndex({ seed: 1 });
  await origin.put('team/app', '1.0', image);
  const app = `${origin.host}/team/app:1.0`;
  const file = await j.manifest('lumen', ...lines, `images: [${app}]`);
  const ran = await j.pull(file);
  assert.equal(ran.code, 0, ran.stderr);
  return { j, origin, image, app, file, repository: j.at(origin, 'team/app') };
}

/** A second generation of the same bundle; gives the directory of the first. */
async function nextGeneration({ j, file, origin }: Awaited<ReturnType<typeof pulled>>): Promise<string> {
  await cp(j.bundle, j.path('first'), { recursive: true });
  await origin.put('team/app', '1.0', await randomIndex({ seed: 2 }));
  assert.equal((await j.lock(file, '--update')).code, 0);
  assert.equal((await j.pull(file)).code, 0);
  return j.path('first');
}

/** Exit code and error code are as said, and the target was not even asked. */
function assertRefused(j: Journey, ran: Ran, exitCode: number, code: string, message?: RegExp): void {
  assert.equal(ran.code, exitCode, ran.stderr);
  assert.match(ran.stderr, new RegExp(`  ${code}, exit code ${exitCode}\n`));
  if (message !== undefined) assert.match(ran.stderr, message);
  assert.deepEqual(j.target.requests, [], 'nothing may reach the target');
}

const statePath = (j: Journey): string => join(j.path('state'), 'targets', targetKey(parseTarget(j.target.host)), 'lumen.json');
const edit = (path: string, change: (json: Json) => unknown): void => {
  const json = readJson(path);
  change(json);
  writeFileSync(path, `${JSON.stringify(json, null, 2)}\n`);
};

describe('who signed', () => {
  test('unsigned is refused', async (t) => {
    const { j, file } = await pulled(t);
    await j.pull(file, '-o', j.path('unsigned'), '--unsigned');
    assertRefused(j, await j.load(j.path('unsigned')), 6, 'E_UNSIGNED');
  });

  test('signed by somebody else is refused, and the keyids are told', async (t) => {
    const { j } = await pulled(t);
    const other = testKey(j.dir, 'other');
    const ran = await j.load('--trust', other.pub);
    assertRefused(j, ran, 6, 'E_UNTRUSTED', new RegExp(other.keyid.slice(0, 8)));
  });

  test('no trust at all is refused with where it belongs; never a silent default', async (t) => {
    const { j } = await pulled(t);
    const ran = await j.run(['load', j.bundle, '--registry', j.target.host, '--state', j.path('state')]);
    assertRefused(j, ran, 6, 'E_TRUST_FILE', /\/etc\/bundle\/trust/);
  });

  test('a threshold of two in trust.json needs two different keys', async (t) => {
    const { j } = await pulled(t);
    const [second, third] = [testKey(j.dir, 'second'), testKey(j.dir, 'third')];
    const trust = j.path('trust');
    mkdirSync(trust);
    for (const [i, { pub }] of [j.key, second, third].entries()) writeFileSync(join(trust, `${i}.pub`), readFileSync(pub));
    writeFileSync(join(trust, 'trust.json'), '{"threshold": 2}');
    assertRefused(j, await j.load('--trust', trust), 6, 'E_THRESHOLD', /signed by 1 of the trusted keys .*want 2/);
    const doubled = join(j.bundle, 'generations', generationsOf(j.bundle)[0] as string);
    await cp(join(doubled, `${j.key.keyid}.sigstore.json`), join(doubled, `${'0'.repeat(64)}.sigstore.json`));
    assertRefused(j, await j.load('--trust', trust), 6, 'E_THRESHOLD');
    await rm(join(doubled, `${'0'.repeat(64)}.sigstore.json`));
    const signed = await j.run(['sign', j.bundle, '--key', second.key]);
    assert.equal(signed.code, 0, signed.stderr);
    const ran = await j.load('--trust', trust, '--json');
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual(readJson(ran.json().targets[0].receipt).signers, [j.key.keyid, second.keyid].sort());
  });

  test('a damaged signature refuses the bundle even where others suffice', async (t) => {
    const { j } = await pulled(t);
    const second = testKey(j.dir, 'second');
    const signed = await j.run(['sign', j.bundle, '--key', second.key]);
    assert.equal(signed.code, 0, signed.stderr);
    const path = join(j.bundle, 'generations', generationsOf(j.bundle)[0] as string, `${second.keyid}.sigstore.json`);
    const text = readFileSync(path, 'utf8');
    const sig = /"sig":"(.{20})/.exec(text)?.[1] as string;
    writeFileSync(path, text.replace(sig, [...sig].reverse().join('')));
    assertRefused(j, await j.load('--trust', j.key.pub, '--trust', second.pub), 6, 'E_SIGNATURE');
  });

  test('--insecure-skip-signature warns, still checks every byte, and contradicts --trust', async (t) => {
    const { j, file, image, repository } = await pulled(t);
    await j.pull(file, '-o', j.path('unsigned'), '--unsigned');
    const ran = await j.load(j.path('unsigned'), '--insecure-skip-signature');
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stderr, /WARNING: --insecure-skip-signature/);
    assert.equal(await j.target.digest(repository, '1.0'), image.digest);
    j.target.clear();
    flipByte(join(j.path('unsigned'), blobPath(image.layers[0]?.descriptor.digest as Digest)));
    assertRefused(j, await j.load(j.path('unsigned'), '--insecure-skip-signature'), 5, 'E_DIGEST');
    assertRefused(j, await j.load('--insecure-skip-signature', '--trust', j.key.pub), 2, 'E_USAGE');
  });

  test('the environment can not turn the signature check off', async (t) => {
    const { j, file } = await pulled(t);
    await j.pull(file, '-o', j.path('unsigned'), '--unsigned');
    const argv = ['load', j.path('unsigned'), '--registry', j.target.host, '--trust', j.key.pub, '--state', j.path('state')];
    const ran = await j.run(argv, { env: { BUNDLE_INSECURE_SKIP_SIGNATURE: 'true' } });
    assertRefused(j, ran, 6, 'E_UNSIGNED');
  });

  test('another bundle than the one named is refused', async (t) => {
    const { j } = await pulled(t);
    assertRefused(j, await j.load('--name', 'prod'), 6, 'E_WRONG_NAME', /this is the bundle "lumen", wanted is "prod"/);
    assert.equal((await j.load('--name', 'lumen')).code, 0);
  });
});

describe('what is on the medium', () => {
  const damages: readonly (readonly [string, number, string, (j: Journey, image: Json) => unknown])[] = [
    ['a flipped byte in a layer', 5, 'E_DIGEST', (j, image) => flipByte(blob(j, image.layers[0].descriptor.digest))],
    ['a flipped byte in a manifest', 5, 'E_DIGEST', (j, image) => flipByte(blob(j, image.digest))],
    ['a missing layer', 5, 'E_MISSING', (j, image) => rm(blob(j, image.layers[0].descriptor.digest))],
    ['a cut layer', 5, 'E_SIZE', (j, image) => writeFileSync(blob(j, image.layers[0].descriptor.digest), 'cut')],
    [
      'two layers swapped',
      5,
      'E_SIZE',
      async (j, image) => {
        const [a, b] = [blob(j, image.layers[0].descriptor.digest), blob(j, image.layers[1].descriptor.digest)];
        await rename(a, j.path('a'));
        await rename(b, a);
        await rename(j.path('a'), b);
      },
    ],
    [
      'a layer that is a link',
      5,
      'E_NOT_REGULAR',
      async (j, image) => {
        const path = blob(j, image.layers[0].descriptor.digest);
        await rename(path, j.path('elsewhere'));
        await symlink(j.path('elsewhere'), path);
      },
    ],
    [
      'a changed statement',
      6,
      'E_SIGNATURE',
      (j) => edit(generation(j, 'bundle.json'), (s) => Object.assign(s.predicate, { sequence: s.predicate.sequence + 1 })),
    ],
    ['a changed index', 5, 'E_DIGEST', (j) => edit(generation(j, 'index.json'), (i) => i.manifests.push(i.manifests[0]))],
    ['a changed lock', 5, 'E_SIZE', (j) => edit(generation(j, 'lock.json'), (l) => Object.assign(l, { name: 'another' }))],
    ['a missing lock', 5, 'E_MISSING', (j) => rm(generation(j, 'lock.json'))],
    [
      'a changed copy of the statement',
      5,
      'E_DIGEST',
      (j) => edit(join(j.bundle, 'bundle.json'), (s) => Object.assign(s.predicate, { name: 'x' })),
    ],
    ['a changed copy of the index', 5, 'E_DIGEST', (j) => flipByte(join(j.bundle, 'index.json'))],
    ['a changed copy of a signature', 5, 'E_DIGEST', (j) => flipByte(join(j.bundle, `${j.key.keyid}.sigstore.json`))],
    ['a changed oci-layout', 5, 'E_DIGEST', (j) => flipByte(join(j.bundle, 'oci-layout'))],
    ['a missing index', 5, 'E_MISSING', (j) => rm(join(j.bundle, 'index.json'))],
    [
      'a folder renamed to another sequence',
      5,
      'E_STATEMENT',
      (j) => rename(generation(j), generation(j).replace(/\d+$/, '9999999998')),
    ],
    ['no generation', 5, 'E_LAYOUT', (j) => rm(join(j.bundle, 'generations'), { recursive: true })],
    ['no directory', 5, 'E_MISSING', (j) => rm(j.bundle, { recursive: true })],
  ];
  const blob = (j: Journey, digest: string): string => join(j.bundle, 'blobs', digest.replace(':', '/'));
  const generation = (j: Journey, ...names: string[]): string =>
    join(j.bundle, 'generations', generationsOf(j.bundle)[0] as string, ...names);

  for (const [name, exitCode, code, damage] of damages) {
    test(`${name} is ${code}: verify and load say so and nothing reaches the target`, async (t) => {
      const { j, image } = await pulled(t);
      await damage(j, image);
      assertRefused(j, await j.run(['verify', j.bundle, '--trust', j.key.pub]), exitCode, code);
      assertRefused(j, await j.load(), exitCode, code);
      assert.equal(existsSync(j.path('state')), false, 'not even the state');
    });
  }

  test('all damage is named at once', async (t) => {
    const { j, image } = await pulled(t);
    const digests = image.layers.slice(1).map((layer) => layer.descriptor.digest);
    for (const digest of digests) flipByte(blob(j, digest));
    const ran = await j.run(['verify', j.bundle, '--trust', j.key.pub, '--json']);
    assert.equal(ran.code, 5);
    for (const digest of digests) assert.ok(ran.json().error.message.includes(digest));
    assert.equal(ran.json().error.detail.problems.length, new Set(digests).size);
  });

  test('a flipped byte in any file of a bundle is found', async (t) => {
    const { j } = await pulled(t);
    for (const [name, what] of Object.entries(tree(j.bundle))) {
      if (what === 'directory') continue;
      const path = join(j.bundle, name);
      const before = readFileSync(path);
      flipByte(path);
      const ran = await j.run(['verify', j.bundle, '--trust', j.key.pub]);
      assert.ok(ran.code === 5 || ran.code === 6, `${name}: exit code ${ran.code}\n${ran.stderr}`);
      writeFileSync(path, before);
    }
    assert.equal((await j.run(['verify', j.bundle, '--trust', j.key.pub])).code, 0);
  });
});

describe('old is refused', () => {
  test('a generation below what the target has is refused, and --allow-rollback takes it, saying so', async (t) => {
    const all = await pulled(t);
    const { j, image, repository } = all;
    const first = await nextGeneration(all);
    assert.equal((await j.load()).code, 0);
    j.target.clear();
    const old = await j.load(first);
    assertRefused(j, old, 6, 'E_ROLLBACK', /is older than \d+, which .* already has/);
    assert.match(old.stderr, /--allow-rollback/);
    const forced = await j.load(first, '--allow-rollback');
    assert.equal(forced.code, 0, forced.stderr);
    assert.match(forced.stderr, /warning: --allow-rollback/);
    assert.equal(await j.target.digest(repository, '1.0'), image.digest);
    const state = readJson(statePath(j));
    assert.equal(state.highest.sequence, statementOf(j.bundle).sequence, 'the highest never falls');
    assert.equal(state.loaded.sequence, statementOf(first).sequence);
    j.target.clear();
    assertRefused(j, await j.load(first), 6, 'E_ROLLBACK');
    assert.equal((await j.load()).code, 0, 'the newest may come back without force');
  });

  test('an unfinished load counts: what began to move tags is not to be undone by an older one', async (t) => {
    const all = await pulled(t);
    const { j } = all;
    const first = await nextGeneration(all);
    await j.load();
    edit(statePath(j), (state) => {
      state.loading = state.loaded;
      delete state.loaded;
    });
    j.target.clear();
    assertRefused(j, await j.load(first), 6, 'E_ROLLBACK');
  });

  test('an equal sequence passes only with the same statement', async (t) => {
    const { j, app, file } = await pulled(t);
    await j.load();
    assert.equal((await j.load()).code, 0);
    await j.manifest('lumen', `images: [{ref: "${app}", aliases: ["x:1"]}]`);
    await j.pull(file, '-o', j.path('twin'));
    assert.equal(statementOf(j.path('twin')).sequence, statementOf(j.bundle).sequence);
    j.target.clear();
    assertRefused(j, await j.load(j.path('twin')), 6, 'E_ROLLBACK', /differs from the generation of the same number/);
    assert.equal((await j.load(j.path('twin'), '--allow-rollback')).code, 0);
  });

  test('each target has its own memory', async (t) => {
    const all = await pulled(t);
    const { j } = all;
    const first = await nextGeneration(all);
    await j.load();
    assert.equal((await j.load(first, '--registry', `${j.target.host}/elsewhere`)).code, 0);
  });

  test('a state that can not be read is no reason to go on', async (t) => {
    const { j } = await pulled(t);
    await j.load();
    for (const text of ['', '{}', '{"stateVersion": 2}', readFileSync(statePath(j), 'utf8').replace('"highest"', '"Highest"')]) {
      writeFileSync(statePath(j), text);
      j.target.clear();
      assertRefused(j, await j.load(), 6, 'E_ROLLBACK');
    }
  });

  test('expired is refused, at the second, and says when', async (t) => {
    const { j } = await pulled(t, 'expires: 12h');
    const expires = Date.parse(statementOf(j.bundle).expires as string);
    const loadAt = (now: number) =>
      j.run(['load', j.bundle, '--registry', j.target.host, '--trust', j.key.pub, '--state', j.path('state')], { now });
    assertRefused(j, await loadAt(expires), 6, 'E_EXPIRED', /expired at 20/);
    assert.equal((await loadAt(expires - 1000)).code, 0);
  });

  test('a clock that was set back makes nothing young again, once something newer was seen', async (t) => {
    const { j, origin, file } = await pulled(t, 'expires: 12h');
    const created = Date.parse(statementOf(j.bundle).created);
    await cp(j.bundle, j.path('first'), { recursive: true });
    await origin.put('team/app', '1.0', await randomIndex({ seed: 2 }));
    await j.run(['lock', '-f', file, '--update'], { now: created + 86_400_000 });
    await j.pull(file);
    const at = (directory: string, registry: string, ...more: string[]) =>
      j.run(['load', directory, '--registry', registry, '--trust', j.key.pub, '--state', j.path('state'), ...more], {
        now: created + 1000,
      });
    assert.equal((await at(j.bundle, j.target.host)).code, 0);
    j.target.clear();
    assertRefused(j, await at(j.path('first'), j.target.host, '--allow-rollback'), 6, 'E_EXPIRED');
    assertRefused(j, await at(j.path('first'), `${j.target.host}/other`), 6, 'E_EXPIRED');
    const mirrors = ['mirrors', j.path('first'), '--trust', j.key.pub, '--state', j.path('state')];
    const printed = await j.run([...mirrors, '--endpoint', 'https://node-1:5000', '-o', '-'], { now: created + 1000 });
    assertRefused(j, printed, 6, 'E_EXPIRED');
  });
});

describe('tags of several bundles at one target', () => {
  async function twoBundles(t: TestContext) {
    const all = await pulled(t);
    const { j, origin, app } = all;
    assert.equal((await j.load()).code, 0);
    await origin.put('team/app', '1.0', await randomIndex({ seed: 5 }));
    const file = await j.manifest('other', `images: [${app}]`);
    assert.equal((await j.pull(file, '-o', j.path('other'))).code, 0);
    j.target.clear();
    return { ...all, other: j.path('other') };
  }

  test('a tag that another bundle owns is not moved; the owner is named', async (t) => {
    const { j, other } = await twoBundles(t);
    const ran = await j.load(other);
    assertRefused(j, ran, 6, 'E_TAG_OWNED', /team\/app:1\.0 belongs to the bundle "lumen"/);
    assert.match(ran.stderr, /--force-tags/);
    assertRefused(j, await j.load(other, '--dry-run'), 6, 'E_TAG_OWNED');
  });

  test('--force-tags takes it, and then it is the taker that owns it', async (t) => {
    const { j, other, repository } = await twoBundles(t);
    assert.equal((await j.load(other, '--force-tags')).code, 0);
    assert.equal(await j.target.digest(repository, '1.0'), statementOf(other).contents[0]?.targetDigest);
    j.target.clear();
    assertRefused(j, await j.load(), 6, 'E_TAG_OWNED', /belongs to the bundle "other"/);
  });

  test('two bundles that agree on a tag share it', async (t) => {
    const { j, app } = await pulled(t);
    await j.load();
    const file = await j.manifest('agreeing', `images: [${app}]`);
    await j.pull(file, '-o', j.path('agreeing'));
    assert.equal((await j.load(j.path('agreeing'))).code, 0);
    assert.deepEqual(
      readdirSync(join(statePath(j), '..'))
        .filter((n) => n.endsWith('.json'))
        .sort(),
      ['agreeing.json', 'lumen.json'],
    );
  });
});
