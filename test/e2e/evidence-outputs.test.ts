import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { describe, type TestContext, test } from 'node:test';
import { digestOf } from '../../src/core/digest.ts';
import { signImage } from '../../src/cosign/sign-image.ts';
import { journey, type TestRegistry, testKey } from '../support/command-journey.ts';
import { randomImage, type TestImage } from '../support/random-image.ts';
import { freshKey } from '../unit/sign/test-keys.ts';

type UpstreamKey = ReturnType<typeof freshKey>;

async function sign(registry: TestRegistry, repository: string, image: TestImage, key: UpstreamKey): Promise<void> {
  const signed = await signImage(key, image.descriptor, [`${registry.host}/${repository}:1.0`], '2026-11-21T08:00:00Z');
  for (const { bytes } of signed.blobs) {
    const staging = await registry.content.stage();
    await staging.write(Buffer.from(bytes));
    await staging.commit(repository, digestOf(bytes));
  }
  await registry.content.putManifest(repository, signed.referrer, []);
}

/** Three images: one that upstream signed and that is verified, one that may be unsigned, one of which nothing is asked. */
async function withThree(t: TestContext) {
  const j = await journey(t);
  const [origin] = j.origins;
  const upstream = freshKey();
  const [app, web, job] = [await randomImage({ seed: 1 }), await randomImage({ seed: 2 }), await randomImage({ seed: 3 })];
  await origin.put('team/app', '1.0', app);
  await origin.put('team/web', '1.0', web);
  await origin.put('team/job', '1.0', job);
  await sign(origin, 'team/app', app, upstream);
  await mkdir(j.path('manifests'), { recursive: true });
  await writeFile(j.path('manifests/upstream.pub'), upstream.publicKey.pem);
  const at = (name: string): string => `${origin.host}/team/${name}:1.0`;
  const manifest = (verifyApp = '{key: upstream.pub}'): Promise<string> =>
    j.manifest(
      'lumen',
      'images:',
      `  - {ref: "${at('app')}", verify: ${verifyApp}}`,
      `  - {ref: "${at('web')}", verify: {unsigned: allowed}}`,
      `  - "${at('job')}"`,
    );
  return { j, origin, upstream, app, at, manifest, file: await manifest() };
}

describe('pull says of signatures', () => {
  test('what was found of upstream, and how many manifests have ours; --json the same', async (t) => {
    const { j, file } = await withThree(t);
    const dry = await j.pull(file, '--dry-run');
    assert.match(dry.stdout, /^ {2}signatures: upstream's 1 verified, 1 allowed unsigned, 1 not asked\n$/m);
    const first = await j.pull(file);
    assert.equal(first.code, 0, first.stderr);
    assert.match(
      first.stdout,
      /\n {2}signatures: upstream's 1 verified, 1 allowed unsigned, 1 not asked; ours on 3 manifests\n$/,
    );
    const again = (await j.pull(file, '--json')).json();
    assert.deepEqual(
      [again.outcome, again.upstream, again.signed],
      ['unchanged', { verified: 1, unsignedAllowed: 1, notAsked: 1 }, 3],
    );
    const unsigned = await j.pull(file, '--unsigned', '-o', j.path('other'));
    assert.match(unsigned.stdout, /\n {2}signatures: upstream's 1 verified, 1 allowed unsigned, 1 not asked\n$/);
  });
});

describe('lock says of signatures', () => {
  test('how many there are of each image that it resolved, also when there are none', async (t) => {
    const { j, file } = await withThree(t);
    const ran = await j.lock(file);
    assert.match(ran.stdout, /^added .*team\/app:1\.0 .* {2}1 signature or referrer$/m);
    assert.match(ran.stdout, /^added .*team\/web:1\.0 .* {2}no signatures or referrers$/m);
  });
});

describe('inspect says of signatures', () => {
  test('how many pieces there are, and by whom upstream was verified', async (t) => {
    const { j, file, upstream, at } = await withThree(t);
    await j.pull(file);
    const lines = (await j.run(['inspect', j.bundle])).stdout.split('\n');
    const row = (name: string): string => lines.find((line) => line.startsWith(at(name))) ?? '';
    assert.match(lines.find((line) => line.startsWith('REFERENCE')) ?? '', / EVIDENCE {2}UPSTREAM$/);
    // Of ours a list under cosign's tag and a bundle; upstream's bundle.
    assert.match(row('app'), new RegExp(` 3 +verified by key ${upstream.publicKey.keyid.slice(0, 12)}$`));
    assert.match(row('web'), / 2 +unsigned allowed$/);
    assert.match(row('job'), / 2 +not asked$/);
  });
});

describe('diff says of signatures', () => {
  test('that they alone changed, and how', async (t) => {
    const { j, origin, app, at, file } = await withThree(t);
    await j.pull(file);
    await sign(origin, 'team/app', app, freshKey());
    await j.lock(file, '--update');
    await j.pull(file);
    const ran = await j.run(['diff', j.bundle]);
    assert.ok(ran.stdout.startsWith(`evidence ${at('app')}\n  signatures changed: +1 -0\ngeneration `), ran.stdout);
    const [change, ...others] = (await j.run(['diff', j.bundle, '--json'])).json().changes;
    assert.deepEqual(others, []);
    assert.deepEqual([change.change, change.evidence], ['evidence', { added: 1, removed: 0, replaced: 0 }]);
    assert.equal((await j.run(['diff', j.bundle, '--exit-code'])).code, 11);
  });

  test('that the verdict alone changed, from what to what', async (t) => {
    const { j, upstream, at, file, manifest } = await withThree(t);
    await j.pull(file);
    await manifest('{unsigned: allowed}');
    await j.pull(file);
    const by = `key ${upstream.publicKey.keyid.slice(0, 12)}`;
    const wanted = `evidence ${at('app')}\n  upstream: verified by ${by} -> unsigned allowed\ngeneration `;
    const ran = await j.run(['diff', j.bundle]);
    assert.ok(ran.stdout.startsWith(wanted), ran.stdout);
  });

  test('that a list was replaced when another key of ours joined it', async (t) => {
    const { j, at, file } = await withThree(t);
    await j.pull(file);
    await j.pull(file, '--key', j.key.key, '--key', testKey(j.dir, 'second').key);
    const lines = (await j.run(['diff', j.bundle])).stdout.split('\n');
    assert.equal(lines[lines.indexOf(`evidence ${at('web')}`) + 1], '  signatures changed: +1 -0, 1 list replaced');
  });

  test('of an image that changed only what became of the verdict', async (t) => {
    const { j, origin, upstream, at, file, manifest } = await withThree(t);
    await j.pull(file);
    await origin.put('team/app', '1.0', await randomImage({ seed: 9 }));
    await manifest('{unsigned: allowed}');
    await j.lock(file, '--update');
    await j.pull(file);
    const lines = (await j.run(['diff', j.bundle])).stdout.split('\n');
    assert.equal(lines[0], `changed  ${at('app')}`);
    const [, , , after, end] = lines;
    assert.equal(after, `  upstream: verified by key ${upstream.publicKey.keyid.slice(0, 12)} -> unsigned allowed`);
    assert.match(end ?? '', /^generation /);
  });
});

describe('load says of signatures', () => {
  test('how many places were written and how many are as they should be; a dry run that it did not look', async (t) => {
    const { j, origin, app, file } = await withThree(t);
    await j.pull(file);
    const dry = await j.load('--dry-run');
    assert.match(dry.stdout, /: 3 tags would move, .*\n {2}signatures: 6 places, not looked at in a dry run\n/);
    assert.deepEqual((await j.load('--dry-run', '--json')).json().targets[0].evidence, { places: 6 });
    assert.match((await j.load()).stdout, /\n {2}signatures: 6 places written\n/);
    const again = await j.load();
    assert.match(again.stdout, /: nothing to do, all is there\n {2}signatures: 6 places, nothing to write\n/);
    await sign(origin, 'team/app', app, freshKey());
    await j.lock(file, '--update');
    await j.pull(file);
    assert.match((await j.load()).stdout, /\n {2}signatures: 1 place written, 5 as they should be\n/);
    assert.deepEqual((await j.load('--json')).json().targets[0].evidence, { places: 6, written: 0 });
  });
});
