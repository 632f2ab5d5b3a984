/** A real registry that is killed while a bundle is pushed into it. */

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Bundle, createBundle, writeManifest } from '../support/real/bundle.ts';
import { type Clients, createClients } from '../support/real/clients.ts';
import { type Content, type Loaded, succeed } from '../support/real/journey.ts';
import { pushPlainImage } from '../support/real/plain-image.ts';
import { type Kind, type Registry, startRegistry } from '../support/real/registries.ts';
import { createScope } from '../support/real/scope.ts';
import { snapshot } from '../support/real/snapshot.ts';
import { type Ending, tempDir } from '../support/temp-dir.ts';

const MIB = 1024 * 1024;
const IMAGES = ['team/one:1', 'team/two:1', 'team/three:1'];
const LAYERS = [4 * MIB, 8 * MIB, 12 * MIB];
const ALL_BLOBS = IMAGES.length * (LAYERS.length + 1);
const ALL_BYTES = IMAGES.length * LAYERS.reduce((sum, bytes) => sum + bytes, 0);

/** Blobs that are whole: distribution's storage has `blobs/sha256/ab/abc…/data`, olareg's a layout for each repository. */
async function wholeBlobs(storage: string): Promise<number> {
  const files = await readdir(storage, { recursive: true }).catch(() => []);
  return files.filter((file) => /blobs\/sha256\/(..\/[0-9a-f]{64}\/data|[0-9a-f]{64})$/.test(file)).length;
}

/** distribution has a folder for each tag, olareg a name in the layout's index. */
async function tagsThere(storage: string): Promise<number> {
  let tags = 0;
  for (const file of await readdir(storage, { recursive: true })) {
    if (/\/_manifests\/tags\/[^/]+$/.test(file)) tags++;
    if (file.endsWith('/index.json')) tags += (await readFile(join(storage, file), 'utf8')).split('image.ref.name').length - 1;
  }
  return tags;
}

async function until(what: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 30_000; !(await what()); await sleep(2)) assert.ok(Date.now() < end, 'waited too long');
}

type Started = Readonly<{ target: Registry; clients: Clients; contents: readonly Content[]; load: () => ReturnType<Bundle> }>;

/** A bundle of 72 MiB that is pulled and signed, and an empty registry. */
async function prepare(scope: Ending, kind: Kind): Promise<Started> {
  const directory = await tempDir(scope, 'bundle-killed-');
  const [origin, target] = await Promise.all([startRegistry(scope, { kind: 'olareg' }), startRegistry(scope, { kind })]);
  const clients = await createClients({ directory: join(directory, 'maker'), registries: [origin, target] });
  const push = (name: string, i: number): Promise<string> =>
    pushPlainImage(origin, clients, join(directory, `image-${i}`), { name, layerBytes: LAYERS });
  await Promise.all(IMAGES.map(push));
  await writeManifest(
    directory,
    'killed',
    IMAGES.map((name) => `${origin.host}/${name}`),
  );
  const bundle = await createBundle(directory);
  await succeed(bundle(['keys', 'generate', '-o', 'release', '--json']));
  await succeed(bundle(['pull', '--key', 'release.key', '--plain-http', origin.host, '--json']));
  const { contents } = await succeed(bundle(['inspect', 'bundles/killed', '--json']));
  const flags = ['--registry', target.host, '--plain-http', target.host, '--trust', 'release.pub', '--state', 'state'];
  const load = () => bundle(['load', 'bundles/killed', ...flags, '--skip-mirrors', '--concurrency', '2', '--json']);
  return { target, clients, contents: contents as Content[], load };
}

async function killInTheMiddle({ target }: Started): Promise<void> {
  await until(async () => (await wholeBlobs(target.storage)) >= 3);
  await target.server.stop('SIGKILL');
  const there = await wholeBlobs(target.storage);
  assert.ok(there < ALL_BLOBS, `all ${there} blobs were there: too late to be in the middle`);
  assert.equal(await tagsThere(target.storage), 0, 'a tag was written before everything under it');
}

async function checkWhole({ target, clients, contents }: Started): Promise<void> {
  assert.equal(contents.length, IMAGES.length);
  for (const { ref, targetDigest } of contents) {
    const name = `${target.host}/${ref.replace(':', '_')}`;
    assert.equal(await clients.crane('digest', name), targetDigest);
    assert.match(await clients.crane('validate', '--remote', name), /^PASS/);
  }
}

for (const kind of ['distribution 2.8', 'distribution 3', 'olareg'] satisfies Kind[]) {
  describe(`${kind} is killed in the middle of a load`, { concurrency: true }, () => {
    it('the load ends with 9; run again on the same storage it finishes, and a third run has nothing to do', async (t) => {
      const scope = createScope(t);
      const started = await prepare(scope, kind);
      const { target, load } = started;
      const broken = load();
      await killInTheMiddle(started);
      const { code, stderr } = await broken;
      assert.equal(code, 9, stderr);
      assert.match(stderr, /run the same command again/);

      await startRegistry(scope, { kind, storage: target.storage, port: target.server.port });
      const again = await loaded(load());
      assert.equal(again.outcome, 'loaded');
      assert.ok(again.bytesPushed < ALL_BYTES, 'what was there was not used again');
      await checkWhole(started);
      const written = await snapshot(target.storage);
      assert.equal((await loaded(load())).outcome, 'unchanged');
      assert.deepEqual(await snapshot(target.storage), written);
    });

    it('the load goes on when it is back in time', async (t) => {
      const scope = createScope(t);
      const started = await prepare(scope, kind);
      const { target } = started;
      const under = started.load();
      await killInTheMiddle(started);
      await startRegistry(scope, { kind, storage: target.storage, port: target.server.port });
      assert.equal((await loaded(under)).outcome, 'loaded');
      await checkWhole(started);
    });
  });
}

async function loaded(outcome: ReturnType<Bundle>): Promise<Loaded> {
  const { targets } = await succeed(outcome);
  return (targets as Loaded[])[0] as Loaded;
}
