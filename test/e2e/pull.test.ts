import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { lockDirectory } from '../../src/files/directory-lock.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import {
  flipByte,
  generationsOf,
  type Journey,
  journey,
  lockOf,
  readJson,
  statementOf,
  testKey,
  tree,
} from '../support/command-journey.ts';
import { createPrng, randomImage, randomIndex, randomLayer } from '../support/random-image.ts';

async function withApp(t: TestContext) {
  const j = await journey(t);
  const [origin] = j.origins;
  const image = await randomIndex({ seed: 1 });
  await origin.put('team/app', '1.0', image);
  const app = `${origin.host}/team/app:1.0`;
  return { j, origin, image, app, file: await j.manifest('lumen', `images: [${app}]`) };
}

const blobFile = (directory: string, digest: string): string => join(directory, 'blobs', digest.replace(':', '/'));
const blobRequests = (requests: readonly string[]): string[] => requests.filter((r) => r.includes('/blobs/'));

async function moveTag(j: Journey, file: string, seed: number, options: Parameters<typeof randomIndex>[0] = {}) {
  const image = await randomIndex({ seed, ...options });
  await j.origins[0].put('team/app', '1.0', image);
  const locked = await j.lock(file, '--update');
  assert.equal(locked.code, 0, locked.stderr);
  return image;
}

describe('pull', () => {
  test('makes the lock when there is none, and a bundle that is a plain OCI image layout', async (t) => {
    const { j, image, app, file } = await withApp(t);
    const ran = await j.pull(file, '--unsigned');
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal(lockOf(file).items[0]?.digest, image.digest);
    assert.deepEqual(readJson(join(j.bundle, 'oci-layout')), { imageLayoutVersion: '1.0.0' });
    const index = readJson(join(j.bundle, 'index.json'));
    assert.equal(index.schemaVersion, 2);
    assert.deepEqual(index.manifests, [
      {
        mediaType: image.root.mediaType,
        digest: image.digest,
        size: image.root.size,
        annotations: { 'io.containerd.image.name': app, 'org.opencontainers.image.ref.name': app },
      },
    ]);
    const wanted = [...image.manifests, ...image.blobs].map(({ digest }) => digest.slice(7)).sort();
    assert.deepEqual(readdirSync(join(j.bundle, 'blobs/sha256')).sort(), wanted);
  });

  test('leaves only names of a-z 0-9 . _ - and no half-done folders', async (t) => {
    const { j, file } = await withApp(t);
    await j.pull(file);
    for (const name of Object.keys(tree(j.bundle)))
      for (const part of name.split('/')) assert.match(part, /^[a-z0-9][a-z0-9._-]*$/);
  });

  test('from an unchanged lock with everything there: no request, no new generation, not one file touched', async (t) => {
    const { j, origin, file } = await withApp(t);
    await j.pull(file);
    const before = tree(j.bundle, true);
    origin.clear();
    const ran = await j.pull(file, '--json');
    assert.equal(ran.code, 0, ran.stderr);
    const { outcome, requests, bytesFetched } = ran.json();
    assert.deepEqual([outcome, requests, bytesFetched], ['unchanged', 0, 0]);
    assert.deepEqual(origin.requests, []);
    const { '.': _, ...after } = tree(j.bundle, true);
    assert.deepEqual(after, before);
  });

  test('a layer that several images share is fetched and stored once, and counted once', async (t) => {
    const { j, origin } = await withApp(t);
    const shared = await randomLayer(createPrng(4), { bytes: 40_000 });
    for (const [i, name] of ['a', 'b', 'c'].entries())
      await origin.put(`team/${name}`, '1', await randomImage({ seed: 10 + i, layers: 1, shared: [shared] }));
    const file = await j.manifest('s', `images: [${['a', 'b', 'c'].map((n) => `"${origin.host}/team/${n}:1"`).join(', ')}]`);
    origin.clear();
    const ran = await j.pull(file, '--unsigned', '--json');
    assert.equal(ran.code, 0, ran.stderr);
    const asked = blobRequests(origin.requests).filter((r) => r.includes(shared.blob.digest));
    assert.equal(asked.length, 1, asked.join('\n'));
    assert.equal(new Set(blobRequests(origin.requests)).size, blobRequests(origin.requests).length, 'no blob twice');
    const bytes = statementOf(j.bundle).blobs.reduce((sum, blob) => sum + blob.size, 0);
    assert.deepEqual([ran.json().bytesFetched, ran.json().bytesTotal], [bytes, bytes]);
  });

  test('the same repository on two origins is two images', async (t) => {
    const { j, image, app } = await withApp(t);
    const other = await randomIndex({ seed: 2 });
    await j.origins[1].put('team/app', '1.0', other);
    const file = await j.manifest('two', `images: [${app}, "${j.origins[1].host}/team/app:1.0"]`);
    assert.equal((await j.pull(file)).code, 0);
    const byRef = new Map(statementOf(j.bundle).contents.map((c) => [c.ref.split('/')[0], c.targetDigest]));
    assert.equal(byRef.get(j.origins[0].host), image.digest);
    assert.equal(byRef.get(j.origins[1].host), other.digest);
  });

  test('a moved tag makes a new generation for which only what is missing is fetched', async (t) => {
    const { j, origin, file } = await withApp(t);
    const base = await randomLayer(createPrng(8), { bytes: 30_000 });
    await moveTag(j, file, 20, { shared: [base] });
    await j.pull(file);
    const next = await moveTag(j, file, 21, { shared: [base] });
    origin.clear();
    const ran = await j.pull(file, '--json');
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal(ran.json().outcome, 'committed');
    assert.ok(!origin.requests.some((r) => r.includes(base.blob.digest)), 'the shared layer is there already');
    const fresh = next.blobs.filter((b) => b.digest !== base.blob.digest);
    assert.equal(blobRequests(origin.requests).length, fresh.length);
    assert.equal(statementOf(j.bundle).contents[0]?.targetDigest, next.digest);
    assert.equal(generationsOf(j.bundle).length, 2);
  });

  test('keeps two generations, the blobs of older ones go; --keep says another number', async (t) => {
    const { j, image, file } = await withApp(t);
    await j.pull(file);
    const second = await moveTag(j, file, 31);
    await j.pull(file);
    assert.ok(
      image.blobs.every((b) => existsSync(blobFile(j.bundle, b.digest))),
      'the first is still kept',
    );
    await moveTag(j, file, 32);
    const third = await j.pull(file, '--json');
    assert.equal(third.json().removedGenerations.length, 1);
    assert.equal(generationsOf(j.bundle).length, 2);
    assert.ok(
      image.blobs.every((b) => !existsSync(blobFile(j.bundle, b.digest))),
      'the first is gone',
    );
    assert.ok(
      second.blobs.every((b) => existsSync(blobFile(j.bundle, b.digest))),
      'the second is kept',
    );
    assert.equal((await j.pull(file, '--keep', '1')).code, 0);
    assert.equal(generationsOf(j.bundle).length, 1);
    assert.ok(second.blobs.every((b) => !existsSync(blobFile(j.bundle, b.digest))));
    assert.equal((await j.run(['verify', j.bundle, '--trust', j.key.pub])).code, 0);
  });

  test('verify names blobs that no generation lists, also where older generations are kept', async (t) => {
    const { j, file } = await withApp(t);
    await j.pull(file);
    await moveTag(j, file, 33);
    await j.pull(file);
    const clean = await j.run(['verify', j.bundle, '--trust', j.key.pub]);
    assert.doesNotMatch(clean.stdout, /left over/);
    writeFileSync(join(j.bundle, 'blobs/sha256', 'f'.repeat(64)), 'left');
    const ran = await j.run(['verify', j.bundle, '--trust', j.key.pub]);
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stdout, /older generations are right too/);
    assert.match(ran.stdout, /1 blob not listed .*never pushed/);
  });

  test('two pulls from one lock with one key into two directories give the same bytes, signatures included', async (t) => {
    const { j, file } = await withApp(t);
    await j.lock(file);
    await j.pull(file, '-o', j.path('one'));
    await j.pull(file, '-o', j.path('two'));
    assert.deepEqual(tree(j.path('two')), tree(j.path('one')));
    assert.ok(Object.keys(tree(j.path('one'))).includes(`${j.key.keyid}.sigstore.json`));
    assert.match(statementOf(j.path('one')).created, /^\d{4}-/);
    assert.equal(statementOf(j.path('one')).created, lockOf(file).items[0]?.resolvedAt, 'time comes from the lock');
  });

  test('SOURCE_DATE_EPOCH is the time of the statement; nonsense in it is a usage error', async (t) => {
    const { j, file } = await withApp(t);
    const pull = (value: string, to: string) =>
      j.run(['pull', '-f', file, '-o', j.path(to), '--key', j.key.key], { env: { SOURCE_DATE_EPOCH: value } });
    assert.equal((await pull('1700000000', 'one')).code, 0);
    assert.equal((await pull('1700000000', 'two')).code, 0);
    assert.equal(statementOf(j.path('one')).created, '2023-11-14T22:13:20Z');
    assert.deepEqual(tree(j.path('two')), tree(j.path('one')));
    const bad = await pull('yesterday', 'three');
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /SOURCE_DATE_EPOCH/);
  });

  test('the sequence is the time of the newest resolution, and one more than the last where that is not enough', async (t) => {
    const { j, origin, file } = await withApp(t);
    const seconds = 1_790_000_000;
    await j.run(['lock', '-f', file], { now: seconds * 1000 });
    await j.pull(file);
    assert.equal(statementOf(j.bundle).sequence, seconds);
    await origin.put('team/app', '1.0', await randomIndex({ seed: 40 }));
    await j.run(['lock', '-f', file, '--update'], { now: (seconds - 500) * 1000 }); // a clock that was set back
    await j.pull(file);
    assert.equal(statementOf(j.bundle).sequence, seconds + 1);
    await origin.put('team/app', '1.0', await randomIndex({ seed: 41 }));
    await j.run(['lock', '-f', file, '--update'], { now: (seconds + 900) * 1000 });
    await j.pull(file, '-o', j.path('fresh-checkout'));
    assert.equal(statementOf(j.path('fresh-checkout')).sequence, seconds + 900, 'a new runner does not begin at 1');
  });

  test('a manifest of another name is refused at the bundle', async (t) => {
    const { j, app, file } = await withApp(t);
    await j.pull(file);
    const before = tree(j.bundle, true);
    const ran = await j.pull(await j.manifest('other', `images: [${app}]`));
    assert.equal(ran.code, 6);
    assert.match(ran.stderr, /holds the bundle "lumen", the manifest is for "other"/);
    assert.match(ran.stderr, /E_WRONG_NAME/);
    assert.deepEqual(tree(j.bundle, true), before);
  });

  test('--dry-run says the bytes to move and writes nothing, neither bundle nor lock', async (t) => {
    const { j, file } = await withApp(t);
    const dry = await j.run(['pull', '-f', file, '-o', j.bundle, '--dry-run', '--json']);
    assert.equal(dry.code, 0, dry.stderr);
    assert.equal(existsSync(j.bundle), false);
    assert.equal(existsSync(file.replace('.yaml', '.lock.json')), false);
    const real = await j.pull(file, '--json');
    assert.equal(dry.json().bytesFetched, real.json().bytesFetched);
    assert.ok(dry.json().bytesFetched > 0);
    const before = tree(j.bundle, true);
    const again = await j.run(['pull', '-f', file, '-o', j.bundle, '--dry-run']);
    assert.match(again.stdout, /would fetch 0 B of /);
    assert.deepEqual(tree(j.bundle, true), before);
  });

  test('without a key it is a usage error that names both ways; --unsigned and --key exclude each other', async (t) => {
    const { j, file } = await withApp(t);
    const none = await j.run(['pull', '-f', file, '-o', j.bundle]);
    assert.equal(none.code, 2);
    assert.match(none.stderr, /keys generate.*--key.*--unsigned/);
    assert.equal((await j.pull(file, '--unsigned', '--key', j.key.key)).code, 2);
    assert.equal((await j.pull(file, '-o', '-')).code, 2, 'a bundle is no stream');
    assert.equal(existsSync(j.bundle), false);
  });

  test('another key is another generation: its signatures on the images are content', async (t) => {
    const { j, file } = await withApp(t);
    await j.pull(file, '--unsigned');
    const other = testKey(j.dir, 'approver');
    const [before] = generationsOf(j.bundle);
    const ran = await j.pull(file, '--key', j.key.key, '--key', other.key);
    assert.equal(ran.code, 0, ran.stderr);
    const [kept, made] = generationsOf(j.bundle);
    assert.equal(kept, before);
    for (const { keyid } of [j.key, other]) {
      assert.ok(existsSync(join(j.bundle, `${keyid}.sigstore.json`)));
      assert.ok(existsSync(join(j.bundle, 'generations', made as string, `${keyid}.sigstore.json`)));
    }
    const verified = await j.run(['verify', j.bundle, '--trust', other.pub, '--generation', made as string]);
    assert.equal(verified.code, 0, verified.stderr);
  });

  test('another expiry is another generation: a bundle that was to last for ever does not stay so', async (t) => {
    const { j, app, file } = await withApp(t);
    await j.pull(file);
    await j.manifest('lumen', 'expires: 30d', `images: [${app}]`);
    const ran = await j.pull(file, '--json');
    assert.equal(ran.json().outcome, 'committed');
    const { created, expires } = statementOf(j.bundle);
    assert.equal(Date.parse(expires as string) - Date.parse(created), 30 * 86_400_000);
    assert.equal((await j.pull(file, '--json')).json().outcome, 'unchanged');
  });

  test('one image that fails fails the run; what the others brought is kept for the next', async (t) => {
    const { j, origin, image, app } = await withApp(t);
    const broken = await randomImage({ seed: 50 });
    await origin.put('team/broken', '1', broken);
    const file = await j.manifest('half', `images: [${app}, "${origin.host}/team/broken:1"]`);
    await j.lock(file);
    await origin.content.deleteBlob('team/broken', broken.layers[0]?.descriptor.digest as never);
    const ran = await j.pull(file, '--json');
    assert.equal(ran.code, 4, ran.stderr);
    assert.deepEqual(
      ran.json().error.detail.failed.map((f: { ref: string; code: string }) => [f.ref, f.code]),
      [[`${origin.host}/team/broken:1`, 'E_NOT_FOUND']],
    );
    assert.equal(existsSync(join(j.bundle, 'generations')) && generationsOf(j.bundle).length > 0, false);
    assert.match((await j.run(['verify', j.bundle, '--trust', j.key.pub])).stderr, /E_LAYOUT/);
    await origin.put('team/broken', '1', broken);
    origin.clear();
    assert.equal((await j.pull(file)).code, 0);
    assert.equal(blobRequests(origin.requests).filter((r) => image.blobs.some((b) => r.includes(b.digest))).length, 0);
  });

  test('a blob left over from a run that never committed is hashed again and fetched when it is wrong', async (t) => {
    const { j, origin, image, file } = await withApp(t);
    await j.pull(file);
    await rm(join(j.bundle, 'generations'), { recursive: true });
    const layer = image.layers[0]?.descriptor.digest as string;
    flipByte(blobFile(j.bundle, layer));
    origin.clear();
    const ran = await j.pull(file);
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual(
      blobRequests(origin.requests).map((r) => r.split('/').at(-1)),
      [layer],
    );
    assert.equal((await j.run(['verify', j.bundle, '--trust', j.key.pub])).code, 0);
  });

  test('a missing or cut blob of a committed generation is fetched again', async (t) => {
    const { j, image, file } = await withApp(t);
    await j.pull(file);
    const [one = '', two = ''] = image.layers.slice(1).map((layer) => layer.descriptor.digest as string);
    await rm(blobFile(j.bundle, one));
    writeFileSync(blobFile(j.bundle, two), 'cut');
    assert.equal((await j.run(['verify', j.bundle, '--trust', j.key.pub])).code, 5);
    const ran = await j.pull(file, '--json');
    assert.equal(ran.json().outcome, 'unchanged');
    assert.ok(ran.json().bytesFetched > 0);
    assert.equal((await j.run(['verify', j.bundle, '--trust', j.key.pub])).code, 0);
  });

  test('copies at the top that a killed run left stale are made anew, and verify says so before', async (t) => {
    const { j, file } = await withApp(t);
    await j.pull(file);
    await cp(join(j.bundle, 'bundle.json'), j.path('old.json'));
    await moveTag(j, file, 60);
    await j.pull(file);
    const fresh = tree(j.bundle);
    await cp(j.path('old.json'), join(j.bundle, 'bundle.json'));
    const stale = await j.run(['verify', j.bundle, '--trust', j.key.pub]);
    assert.equal(stale.code, 0, stale.stderr);
    assert.match(stale.stderr, /copies at the top .* older/);
    assert.equal((await j.pull(file)).code, 0);
    assert.deepEqual(tree(j.bundle), fresh);
  });

  test('a directory that another process has locked is exit 8 and names it', async (t) => {
    const { j, file } = await withApp(t);
    mkdirSync(j.bundle);
    const lock = await lockDirectory(nodeFileSystem, j.bundle, { command: 'bundle pull' });
    const ran = await j.pull(file);
    await lock.release();
    assert.equal(ran.code, 8);
    assert.match(ran.stderr, new RegExp(`locked by "bundle pull", process ${process.pid}`));
    assert.equal((await j.pull(file)).code, 0);
  });

  test('a disk that is too small is said before anything is fetched', async (t) => {
    const { j, origin, file } = await withApp(t);
    await j.lock(file);
    origin.clear();
    const fs = { ...nodeFileSystem, freeBytes: async () => 1000 };
    const ran = await j.run(['pull', '-f', file, '-o', j.bundle, '--unsigned'], { fs });
    assert.equal(ran.code, 7);
    assert.match(ran.stderr, /E_DISK_FULL/);
    assert.deepEqual(blobRequests(origin.requests), []);
  });

  test('a place that can not be written is exit 7, not a fault of ours', async (t) => {
    const { j, file } = await withApp(t);
    writeFileSync(j.path('a-file'), '');
    for (const place of [j.path('a-file'), j.path('a-file/below')]) {
      const ran = await j.pull(file, '-o', place);
      assert.equal(ran.code, 7, ran.stderr);
      assert.match(ran.stderr, /E_DISK/);
    }
    const full = Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' });
    const fs = {
      ...nodeFileSystem,
      mkdir: (path: string) => (path.includes('blobs') ? Promise.reject(full) : nodeFileSystem.mkdir(path)),
    };
    const ran = await j.run(['pull', '-f', file, '-o', j.bundle, '--unsigned'], { fs });
    assert.equal(ran.code, 7, ran.stderr);
    assert.match(ran.stderr, /E_DISK_FULL/);
  });
});

describe('inspect and diff', () => {
  test('inspect shows contents, sizes, sharing, signers and generations; --json the same', async (t) => {
    const { j, origin, app, image } = await withApp(t);
    await origin.put('team/copy', '1', image);
    const file = await j.manifest('lumen', 'expires: 2w', `images: [${app}, "${origin.host}/team/copy:1"]`);
    await j.pull(file);
    const text = await j.run(['inspect', j.bundle]);
    assert.equal(text.code, 0);
    assert.match(text.stdout, new RegExp(`lumen, generation ${statementOf(j.bundle).sequence}`));
    assert.match(text.stdout, /expires 20/);
    assert.ok(text.stdout.includes(j.key.keyid.slice(0, 12)));
    assert.ok(text.stdout.includes(app) && text.stdout.includes(image.digest));
    assert.match(text.stdout, /linux\/amd64 linux\/arm64/);
    const json = (await j.run(['inspect', j.bundle, '--json'])).json();
    assert.deepEqual(json.signatures, [j.key.keyid]);
    assert.ok(json.bytesUnshared > 1.5 * json.bytes);
    assert.equal(json.contents.length, 2);
    assert.deepEqual(json.generations, [statementOf(j.bundle).sequence]);
    const none = await j.run(['inspect', j.path('nothing')]);
    assert.equal(none.code, 5);
    assert.match(none.stderr, /holds no bundle/);
  });

  test('diff says what was added, changed and removed between two bundles or the two newest generations', async (t) => {
    const { j, origin, app, file } = await withApp(t);
    for (const name of ['gone', 'new']) await origin.put(`team/${name}`, '1', await randomImage({ seed: name.length }));
    await j.manifest('lumen', `images: [${app}, "${origin.host}/team/gone:1"]`);
    await j.pull(file);
    const alone = await j.run(['diff', j.bundle]);
    assert.equal(alone.code, 2);
    assert.match(alone.stderr, /only one generation/);
    const [first] = generationsOf(j.bundle);
    await moveTag(j, file, 70);
    await j.manifest('lumen', `images: [${app}, "${origin.host}/team/new:1"]`);
    await j.pull(file);
    const ran = await j.run(['diff', j.bundle, '--json', '--exit-code']);
    assert.equal(ran.code, 11);
    const changes = ran.json().changes.map((c: { ref: string; change: string }) => [c.ref.split('/').at(-1), c.change]);
    assert.deepEqual(changes, [
      ['app:1.0', 'changed'],
      ['gone:1', 'removed'],
      ['new:1', 'added'],
    ]);
    assert.ok(ran.json().bytesAdded > 0);
    const same = await j.run(['diff', `${j.bundle}@${first}`, `${j.bundle}@${first}`, '--exit-code']);
    assert.equal(same.code, 0);
    assert.match(same.stdout, /0 changes, 0 B new/);
    assert.equal((await j.run(['diff', `${j.bundle}@1`, j.bundle])).code, 5);
  });
});
