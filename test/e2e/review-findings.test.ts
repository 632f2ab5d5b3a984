import assert from 'node:assert/strict';
import { cpSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { digestOf } from '../../src/core/digest.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { openDiskContent } from '../../src/serve/disk-content.ts';
import { generationsOf, type Journey, journey, readJson, tree } from '../support/command-journey.ts';
import { randomIndex } from '../support/random-image.ts';

async function loaded(t: Parameters<typeof journey>[0], name: string, j?: Journey) {
  const here = j ?? (await journey(t));
  const [origin] = here.origins;
  const file = await here.manifest(name, `images: [${origin.host}/team/app:1.0]`);
  const directory = here.path(name);
  const pulled = await here.run(['pull', '-f', file, '-o', directory, '--key', here.key.key]);
  assert.equal(pulled.code, 0, pulled.stderr);
  return { j: here, origin, file, directory };
}

describe('folders on the medium that nobody signed', () => {
  test('are not read into memory, however many and however large they claim to be', async (t) => {
    const j = await journey(t);
    await j.origins[0].put('team/app', '1.0', await randomIndex({ seed: 1 }));
    const { directory } = await loaded(t, 'lumen', j);
    const newest = generationsOf(directory).at(-1) as string;
    for (let i = 1; i <= 12; i++) {
      const planted = join(directory, 'generations', String(i));
      cpSync(join(directory, 'generations', newest), planted, { recursive: true });
      for (const name of ['index.json', 'bundle.json', 'lock.json']) truncateSync(join(planted, name), 30 * 1024 * 1024);
    }
    const before = process.memoryUsage().rss;
    const ran = await j.run([
      'load',
      directory,
      '--registry',
      j.target.host,
      '--trust',
      j.key.pub,
      '--state',
      j.path('state'),
      '--skip-mirrors',
    ]);
    assert.equal(ran.code, 0, ran.stderr);
    assert.ok(process.memoryUsage().rss - before < 100 * 1024 * 1024);
  });

  test('are an error when there are more than any bundle has', async (t) => {
    const j = await journey(t);
    await j.origins[0].put('team/app', '1.0', await randomIndex({ seed: 1 }));
    const { directory } = await loaded(t, 'lumen', j);
    for (let i = 1; i <= 1001; i++) mkdirSync(join(directory, 'generations', String(i)));
    const ran = await j.run(['verify', directory, '--trust', j.key.pub]);
    assert.equal(ran.code, 5);
    assert.match(ran.stderr, /generations/);
  });
});

describe('a tag taken by force', () => {
  test('has one owner afterwards: the taker loads again without force, the other is told', async (t) => {
    const j = await journey(t);
    const [origin] = j.origins;
    await origin.put('team/app', '1.0', await randomIndex({ seed: 1 }));
    const first = await loaded(t, 'lumen', j);
    const load = (directory: string, ...more: string[]) =>
      j.run([
        'load',
        directory,
        '--registry',
        j.target.host,
        '--trust',
        j.key.pub,
        '--state',
        j.path('state'),
        '--skip-mirrors',
        ...more,
      ]);
    assert.equal((await load(first.directory)).code, 0);
    await origin.put('team/app', '1.0', await randomIndex({ seed: 2 }));
    const second = await loaded(t, 'other', j);
    assert.equal((await load(second.directory)).code, 6);
    assert.equal((await load(second.directory, '--force-tags')).code, 0);
    const again = await load(second.directory);
    assert.equal(again.code, 0, again.stderr);
    assert.equal((await load(first.directory)).code, 6, 'the tag is no longer its own');
  });
});

describe('serve', () => {
  test('refuses a generation older than a target here has seen, as load does', async (t) => {
    const j = await journey(t);
    const [origin] = j.origins;
    await origin.put('team/app', '1.0', await randomIndex({ seed: 1 }));
    const { file, directory } = await loaded(t, 'lumen', j);
    const old = j.path('old');
    cpSync(directory, old, { recursive: true });
    await origin.put('team/app', '1.0', await randomIndex({ seed: 2 }));
    assert.equal((await j.lock(file, '--update')).code, 0);
    assert.equal((await j.run(['pull', '-f', file, '-o', directory, '--key', j.key.key])).code, 0);
    const state = j.path('state');
    const flags = ['--trust', j.key.pub, '--state', state];
    assert.equal((await j.run(['load', directory, '--registry', j.target.host, '--skip-mirrors', ...flags])).code, 0);
    const served = await j.run(['serve', old, '--listen', '127.0.0.1:0', ...flags], { signal: AbortSignal.timeout(5000) });
    assert.equal(served.code, 6, served.stderr);
    assert.match(served.stderr, /older/);
  });
});

describe('pull into a bundle with a damaged older generation', () => {
  test('names the folder to remove, and works once it is gone', async (t) => {
    const j = await journey(t);
    const [origin] = j.origins;
    await origin.put('team/app', '1.0', await randomIndex({ seed: 1 }));
    const { file, directory } = await loaded(t, 'lumen', j);
    await origin.put('team/app', '1.0', await randomIndex({ seed: 2 }));
    await j.lock(file, '--update');
    const pull = () => j.run(['pull', '-f', file, '-o', directory, '--key', j.key.key]);
    assert.equal((await pull()).code, 0);
    const [older] = generationsOf(directory) as [string, string];
    writeFileSync(join(directory, 'generations', older, 'bundle.json'), '');
    const ran = await pull();
    assert.equal(ran.code, 5);
    assert.match(ran.stderr, new RegExp(`remove .*generations/${older}`));
    assert.equal(readJson(join(directory, 'bundle.json')).predicate.name, 'lumen');
  });
});

describe('pull into the directory of a registry', () => {
  test('is refused, and the registry stays as it was', async (t) => {
    const j = await journey(t);
    const [origin] = j.origins;
    const image = await randomIndex({ seed: 1 });
    await origin.put('team/app', '1.0', image);
    const directory = j.path('site');
    const content = await openDiskContent(nodeFileSystem, directory);
    const staging = await content.stage();
    await staging.write(Buffer.from('precious'));
    await staging.commit('team/app', digestOf(Buffer.from('precious')));
    await content.close();
    const before = tree(directory);
    const file = await j.manifest('lumen', `images: [${origin.host}/team/app:1.0]`);
    const ran = await j.run(['pull', '-f', file, '-o', directory, '--key', j.key.key]);
    assert.equal(ran.code, 2, ran.stderr);
    assert.match(ran.stderr, /is the directory of a registry/);
    assert.deepEqual(tree(directory), before);
  });
});

describe('a slip in --endpoint', () => {
  test('is found before anything is pushed', async (t) => {
    const j = await journey(t);
    await j.origins[0].put('team/app', '1.0', await randomIndex({ seed: 1 }));
    const { directory } = await loaded(t, 'lumen', j);
    j.target.requests.splice(0);
    const flags = [
      '--registry',
      j.target.host,
      '--trust',
      j.key.pub,
      '--state',
      j.path('state'),
      '--registries-yaml',
      j.path('r.yaml'),
    ];
    assert.equal((await j.run(['load', directory, '--endpoint', 'node-1:5000', ...flags])).code, 2);
    assert.deepEqual(j.target.requests, []);
  });
});
