import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { verifyBundle } from '../../src/bundle/verify.ts';
import { BundleError } from '../../src/core/errors.ts';
import { lockDirectory } from '../../src/files/directory-lock.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { load } from '../../src/load/load.ts';
import { parseTarget, targetKey } from '../../src/load/target.ts';
import { createRegistryClient } from '../../src/registry/client.ts';
import type { WritableContent } from '../../src/serve/content.ts';
import { createMemoryContent } from '../../src/serve/memory-content.ts';
import { loadTrust } from '../../src/sign/trust.ts';
import { rejectsWith } from '../support/assert-code.ts';
import {
  isWrite,
  journey,
  makeReadOnly,
  readJson,
  statementOf,
  type TestRegistryOptions,
  testRegistry,
  tree,
} from '../support/command-journey.ts';
import { createPrng, randomImage, randomIndex, randomLayer } from '../support/random-image.ts';

/** A bundle with two references that share a layer, pulled and ready to load. */
async function pulled(t: TestContext, options: Readonly<{ target?: TestRegistryOptions; lines?: readonly string[] }> = {}) {
  const j = await journey(t, options);
  const [origin] = j.origins;
  const shared = await randomLayer(createPrng(1), { bytes: 20_000 });
  const app = await randomIndex({ seed: 1, shared: [shared] });
  const web = await randomImage({ seed: 2, layers: 1, shared: [shared] });
  await origin.put('team/app', '1.0', app);
  await origin.put('team/web', '2.0', web);
  const [appRef, webRef] = [`${origin.host}/team/app:1.0`, `${origin.host}/team/web:2.0`];
  const file = await j.manifest(
    'lumen',
    ...(options.lines ?? [`images: ["APP", "WEB"]`]).map((l) => l.replace('APP', appRef).replace('WEB', webRef)),
  );
  const ran = await j.pull(file);
  assert.equal(ran.code, 0, ran.stderr);
  const names = { app: j.at(origin, 'team/app'), web: j.at(origin, 'team/web') };
  return { j, origin, shared, app, web, file, names };
}

const isTagPut = (request: string): boolean => /^PUT \/v2\/.*\/manifests\/(?!sha\d+:)/.test(request);
const statePath = (root: string, host: string): string => join(root, 'targets', targetKey(parseTarget(host)), 'lumen.json');

describe('load', () => {
  test('brings every manifest and blob to the target under its digest, and the tags to what was signed', async (t) => {
    const { j, app, web, names } = await pulled(t);
    const ran = await j.load();
    assert.equal(ran.code, 0, ran.stderr);
    for (const [image, repository] of [
      [app, names.app],
      [web, names.web],
    ] as const) {
      for (const { digest, bytes } of image.manifests)
        assert.ok(Buffer.from((await j.target.content.manifest(repository, digest))?.bytes ?? []).equals(bytes));
      for (const { digest, size } of image.blobs) assert.equal((await j.target.content.blob(repository, digest))?.size, size);
    }
    assert.equal(await j.target.digest(names.app, '1.0'), app.digest);
    assert.equal(await j.target.digest(names.web, '2.0'), web.digest);
    assert.match(ran.stdout, /"lumen" generation \d+, 2 references: pushed .*, 2 tags moved/);
  });

  test('moves tags last: after every blob and every manifest of every reference', async (t) => {
    const { j } = await pulled(t);
    assert.equal((await j.load()).code, 0);
    const writes = j.target.requests.filter(isWrite);
    const firstTag = writes.findIndex(isTagPut);
    assert.equal(writes.filter((w) => isTagPut(w) && !w.endsWith('.sig')).length, 2);
    assert.ok(writes.slice(firstTag).every(isTagPut), writes.join('\n'));
    assert.ok(firstTag > 5);
  });

  test('children before parents: a registry that refuses incomplete manifests refuses none', async (t) => {
    const { j } = await pulled(t);
    assert.equal((await j.load()).code, 0);
    assert.deepEqual(
      j.target.responses.filter((r) => r.status >= 400 && r.status !== 404),
      [],
    );
  });

  test('"loading N" is on the disk before the first tag moves, "loaded N" after the last', async (t) => {
    const seen: unknown[] = [];
    const { j } = await pulled(t, {
      target: {
        onRequest: ({ method, url }) => {
          if (isTagPut(`${method} ${url}`)) seen.push(readJson(statePath(j.path('state'), j.target.host)));
        },
      },
    });
    assert.equal((await j.load()).code, 0);
    const { sequence } = statementOf(j.bundle);
    const [first] = seen as { loading?: { sequence: number }; loaded?: unknown; highest: { sequence: number } }[];
    assert.equal(first?.loading?.sequence, sequence);
    assert.equal(first?.highest.sequence, sequence);
    assert.equal(first?.loaded, undefined);
    const after = readJson(statePath(j.path('state'), j.target.host));
    assert.equal(after.loading, undefined);
    assert.equal(after.loaded.sequence, sequence);
    assert.deepEqual(Object.keys(after.tags).length, 2);
  });

  test('a second load makes no write request and says that there is nothing to do', async (t) => {
    const { j } = await pulled(t);
    await j.load();
    j.target.clear();
    const ran = await j.load('--json');
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual(j.target.requests.filter(isWrite), []);
    const [result] = ran.json().targets;
    assert.deepEqual([result.outcome, result.tagsMoved, result.bytesPushed], ['unchanged', 0, 0]);
    assert.ok(result.items.every((i: { outcome: string }) => i.outcome === 'present'));
  });

  test('a second load is as quiet where the target refused the original index, and still says that it did', async (t) => {
    const { j } = await pulled(t, { lines: ['platforms: [linux/arm64]', 'images: ["APP"]'] });
    assert.equal((await j.load('--json')).json().targets[0].items[0].originalIndex, 'refused');
    j.target.clear();
    const ran = await j.load('--json');
    assert.deepEqual(j.target.requests.filter(isWrite), []);
    assert.equal(ran.json().targets[0].items[0].originalIndex, 'refused');
  });

  test('a target that was emptied gets everything again', async (t) => {
    const { j, app, names } = await pulled(t);
    await j.load();
    const empty = await testRegistry(t);
    Object.assign(j.target.content, empty.content);
    const ran = await j.load('--json');
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal(ran.json().targets[0].outcome, 'loaded');
    assert.equal(await j.target.digest(names.app, '1.0'), app.digest);
  });

  test('a shared layer goes over the wire once and is mounted into the second repository', async (t) => {
    const { j, shared } = await pulled(t);
    const ran = await j.load('--json');
    const about = j.target.requests.map(decodeURIComponent).filter((r) => r.includes(shared.blob.digest));
    assert.equal(about.filter((r) => r.startsWith('PUT')).length, 1);
    assert.equal(about.filter((r) => r.startsWith('POST') && r.includes(`mount=${shared.blob.digest}`)).length, 1);
    const { items } = ran.json().targets[0];
    assert.equal(
      items.reduce((sum: number, i: { blobs: { mounted: number } }) => sum + i.blobs.mounted, 0),
      1,
    );
  });

  test('bytes pushed are the bytes that went over the wire, each blob once', async (t) => {
    const lines = ['platforms: [linux/arm64]', 'images: ["APP", {ref: "WEB", platforms: all}]'];
    const { j } = await pulled(t, { lines });
    const blobs = new Map<string, number>(statementOf(j.bundle).blobs.map((b) => [b.digest, b.size]));
    const result = (await j.load('--json')).json().targets[0];
    const uploads = j.target.requests.filter((r) => r.startsWith('PUT') && r.includes('/blobs/uploads/'));
    const sent = uploads.map((r) => blobs.get(decodeURIComponent(r.split('digest=')[1] as string)) as number);
    assert.equal(
      result.bytesPushed,
      sent.reduce((a, b) => a + b, 0),
    );
  });

  test('aliases are extra names at the target for the same digest', async (t) => {
    const { j, app, names } = await pulled(t, { lines: ['images: [{ref: "APP", aliases: ["argo/app:v1", "app:x"]}]'] });
    const ran = await j.load('--json');
    assert.equal(ran.code, 0, ran.stderr);
    for (const [repository, tag] of [
      [names.app, '1.0'],
      ['argo/app', 'v1'],
      ['app', 'x'],
    ] as const)
      assert.equal(await j.target.digest(repository, tag), app.digest);
    assert.deepEqual(ran.json().targets[0].items[0].names, [`${names.app}:1.0`, 'app:x', 'argo/app:v1']);
  });

  test('a path behind the registry goes before everything, aliases too', async (t) => {
    const { j, app, names } = await pulled(t, { lines: ['images: [{ref: "APP", aliases: ["argo/app:v1"]}]'] });
    const ran = await j.load('--registry', `${j.target.host}/airgap/site-1`);
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal(await j.target.digest(`airgap/site-1/${names.app}`, '1.0'), app.digest);
    assert.equal(await j.target.digest('airgap/site-1/argo/app', 'v1'), app.digest);
  });

  test('several registries, each with a state and a receipt of its own', async (t) => {
    const { j, app, names } = await pulled(t);
    const second = await testRegistry(t);
    const env = { BUNDLE_PLAIN_HTTP: `${j.target.host},${second.host}` };
    const registries = [j.target.host, second.host].flatMap((host) => ['--registry', host]);
    const ran = await j.run(['load', j.bundle, ...registries, '--trust', j.key.pub, '--state', j.path('state'), '--json'], {
      env,
    });
    assert.equal(ran.code, 0, ran.stderr);
    for (const registry of [j.target, second]) {
      assert.equal(await registry.digest(names.app, '1.0'), app.digest);
      assert.ok(existsSync(statePath(j.path('state'), registry.host)));
    }
    const receipts = ran.json().targets.map((r: { receipt: string }) => r.receipt);
    assert.equal(new Set(receipts).size, 2);
  });

  test('the receipt says which generation the target holds now, and who signed it', async (t) => {
    const { j } = await pulled(t);
    const ran = await j.run(
      ['load', j.bundle, '--registry', j.target.host, '--trust', j.key.pub, '--state', j.path('state'), '--json'],
      { now: Date.parse('2026-12-01T10:00:00.500Z') },
    );
    const [result] = ran.json().targets;
    assert.deepEqual(readJson(result.receipt), {
      receiptVersion: 1,
      name: 'lumen',
      target: j.target.host,
      sequence: statementOf(j.bundle).sequence,
      statement: result.statement,
      loadedAt: '2026-12-01T10:00:00Z',
      signers: [j.key.keyid],
    });
    assert.ok(result.receipt.startsWith(j.path('state')), 'outside the medium');
  });

  test('a medium that can not be written is enough: not one file or time in it changes', async (t) => {
    const { j } = await pulled(t);
    makeReadOnly(j.bundle);
    const before = tree(j.bundle, true);
    assert.equal((await j.load()).code, 0);
    assert.equal((await j.run(['verify', j.bundle, '--trust', j.key.pub])).code, 0);
    assert.deepEqual(tree(j.bundle, true), before);
  });

  test('an older generation of the bundle can be named', async (t) => {
    const { j, origin, app, file, names } = await pulled(t);
    const { sequence } = statementOf(j.bundle);
    await origin.put('team/app', '1.0', await randomIndex({ seed: 40 }));
    await j.lock(file, '--update');
    await j.pull(file);
    assert.equal((await j.load('--generation', String(sequence))).code, 0);
    assert.equal(await j.target.digest(names.app, '1.0'), app.digest);
    const none = await j.load('--generation', '7');
    assert.equal(none.code, 5);
    assert.match(none.stderr, new RegExp(`has no generation 7; it has ${sequence}`));
  });

  test('what is unlisted in the bundle is never pushed', async (t) => {
    const { j, origin, app, file } = await pulled(t);
    const old = app.blobs.map((b) => b.digest);
    await origin.put('team/app', '1.0', await randomImage({ seed: 41 }));
    await j.lock(file, '--update');
    await j.pull(file);
    assert.equal((await j.load()).code, 0);
    const listed = new Set<string>(statementOf(j.bundle).blobs.map((b) => b.digest));
    const gone = old.filter((digest) => !listed.has(digest));
    assert.ok(gone.length > 2);
    for (const digest of gone) assert.ok(!j.target.requests.some((r) => r.includes(digest)));
  });

  test('no registry named anywhere is a usage error that shows the line to write', async (t) => {
    const { j } = await pulled(t);
    const ran = await j.run(['load', j.bundle, '--trust', j.key.pub]);
    assert.equal(ran.code, 2);
    assert.match(ran.stderr, /bundle load .*bundle --registry 127\.0\.0\.1:5000 --endpoint https:\/\/node-1:5000/);
  });

  test('a registry with a scheme or a bad name is a usage error', async (t) => {
    const { j } = await pulled(t);
    for (const registry of ['http://127.0.0.1:5000', 'UPPER case', 'host/UPPER'])
      assert.equal((await j.load('--registry', registry)).code, 2, registry);
  });

  test('--dry-run verifies, says what would be loaded and refused, and writes nothing anywhere', async (t) => {
    const { j } = await pulled(t);
    const ran = await j.load('--dry-run');
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stdout, /2 references: [23] tags? would move/);
    assert.deepEqual(j.target.requests.filter(isWrite), []);
    assert.equal(existsSync(j.path('state')), false);
    assert.equal((await j.load('--dry-run', '--name', 'other')).code, 6);
  });

  test('another load into the same target at the same time is exit 8', async (t) => {
    const { j } = await pulled(t);
    const directory = join(statePath(j.path('state'), j.target.host), '..');
    await mkdir(directory, { recursive: true });
    const lock = await lockDirectory(nodeFileSystem, directory, { command: 'bundle load other' });
    const ran = await j.load();
    await lock.release();
    assert.equal(ran.code, 8, ran.stderr);
    assert.match(ran.stderr, /locked by "bundle load other"/);
    assert.deepEqual(j.target.requests, []);
  });
});

/** Content that has no room for more after so many manifests: HTTP 507, which is not tried again. */
function fillsUp(inner: WritableContent, room: () => number): WritableContent {
  let taken = 0;
  return {
    ...inner,
    putManifest(repository, manifest, tags) {
      if (++taken > room()) return Promise.reject(new BundleError('E_DISK_FULL', 'full'));
      return inner.putManifest(repository, manifest, tags);
    },
  };
}

describe('a load that stops in the middle', () => {
  test('is exit 9 with no tag moved; the same command again finishes it, re-using what is there', async (t) => {
    let room = 2;
    const { j, app, web, names } = await pulled(t, { target: { content: fillsUp(createMemoryContent(), () => room) } });
    const ran = await j.load('--json');
    assert.equal(ran.code, 9, ran.stderr);
    const { error, exitCode } = ran.json();
    assert.deepEqual([error.code, exitCode], ['E_INCOMPLETE', 9]);
    assert.match(error.hint, /run the same command again/);
    assert.ok(error.detail.failed.length > 0);
    assert.deepEqual(j.target.requests.filter(isTagPut), []);
    room = 1000;
    j.target.clear();
    const again = await j.load();
    assert.equal(again.code, 0, again.stderr);
    const images = [...app.blobs, ...web.blobs].map(({ digest }) => encodeURIComponent(digest));
    const sent = j.target.requests.filter((r) => r.startsWith('PUT') && images.some((digest) => r.includes(digest)));
    assert.deepEqual(sent, [], 'the blobs are there');
    assert.equal(await j.target.digest(names.app, '1.0'), app.digest);
    assert.equal(await j.target.digest(names.web, '2.0'), web.digest);
  });

  test('with the first of two registries done is exit 9 too: something was written', async (t) => {
    const { j } = await pulled(t);
    const second = await testRegistry(t, { content: fillsUp(createMemoryContent(), () => 0), readOnly: true });
    const env = { BUNDLE_PLAIN_HTTP: `${j.target.host},${second.host}` };
    const registries = [j.target.host, second.host].flatMap((host) => ['--registry', host]);
    const argv = ['load', j.bundle, ...registries, '--trust', j.key.pub, '--state', j.path('state')];
    const ran = await j.run(argv, { env });
    assert.equal(ran.code, 9, ran.stderr);
    const alone = await j.run(argv, { env });
    assert.equal(alone.code, 4, 'nothing was written this time');
  });

  test('when the target dies at any request: the rerun ends as if nothing had happened', async (t) => {
    const reference = await pulled(t);
    await reference.j.load();
    const total = reference.j.target.requests.filter(isWrite).length;
    // The last two are the tags.
    for (const last of [3, 9, 14, total - 3, total - 1, total]) {
      await t.test(`at write ${last}`, async (t) => {
        let left = last;
        const { j, app, web, names } = await pulled(t, {
          target: {
            onRequest: ({ method }) => {
              if (method !== 'GET' && method !== 'HEAD' && --left === 0) void j.target.stop();
            },
          },
        });
        const client = createRegistryClient({
          credentials: { find: async () => undefined },
          plainHttp: [j.target.host],
          environment: {},
          clock: { now: Date.now, sleep: async (_ms, signal) => signal?.throwIfAborted() },
        });
        t.after(() => client.close());
        const trust = await loadTrust(nodeFileSystem, [j.key.pub]);
        const verified = await verifyBundle(nodeFileSystem, j.bundle, { trust, now: 0 });
        const again = () =>
          load(
            {
              bundle: verified,
              target: parseTarget(j.target.host),
              stateRoot: j.path('state'),
              allowRollback: false,
              forceTags: false,
              breakLock: false,
              dryRun: false,
            },
            { fs: nodeFileSystem, client, report: () => undefined, now: Date.now },
          );
        const error = await rejectsWith(again(), 'E_INCOMPLETE');
        assert.match(error.hint ?? '', /run the same command again/);
        await j.target.start();
        left = Number.POSITIVE_INFINITY;
        await again();
        assert.equal(await j.target.digest(names.app, '1.0'), app.digest);
        assert.equal(await j.target.digest(names.web, '2.0'), web.digest);
        assert.deepEqual(readdirSync(join(statePath(j.path('state'), j.target.host), '..')).sort(), ['lumen.json', 'receipts']);
      });
    }
  });
});
