import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import tufPackage from '@sigstore/tuf/package.json' with { type: 'json' };
import { nodeFileSystem } from '../../../src/files/node-file-system.ts';
import { currentSigstoreRoot, EMBEDDED_SINCE, parseSigstoreRoot } from '../../../src/upstream/sigstore-root.ts';
import { embeddedTrustedRoot, publicRepository } from '../../../src/upstream/tuf-refresh.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { createFakeSigstore, type Json, type RootJson } from './fake-sigstore.ts';
import { tufRepository } from './tuf-repository.ts';

const DAY = 86_400_000;
const sigstore = createFakeSigstore();
const fs = nodeFileSystem;

describe('parseSigstoreRoot', () => {
  const refuses = (change: (json: RootJson) => void, message: RegExp) =>
    rejectsWith(parseSigstoreRoot(sigstore.root(change), 'root.json'), 'E_TRUST_FILE', message);

  test('reads what cosign writes, and the root that is built in', async () => {
    const root = await parseSigstoreRoot(sigstore.root(), 'root.json');
    assert.equal(root.material.tlogs.length, 2);
    assert.match(root.digest, /^sha256:/);
    const builtIn = await embeddedTrustedRoot(await publicRepository());
    assert.ok(builtIn);
    assert.ok((await parseSigstoreRoot(builtIn, 'built in')).material.tlogs.length > 0);
    const minimal = Buffer.from('{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}');
    assert.equal((await parseSigstoreRoot(minimal, 'minimal')).material.certificateAuthorities.length, 0);
  });

  test('a misspelt list is refused: without its logs a root would demand no log entry', async () => {
    await refuses((json) => {
      json.tlog = json.tlogs;
    }, /"tlog"/);
    await refuses((json) => {
      json.ctLogs = [];
    }, /"ctLogs"/);
  });

  test('what is no list, has no key, no certificate, or no time where one belongs is refused', async () => {
    await refuses((json) => Object.assign(json, { tlogs: {} }), /not a list/);
    await refuses((json) => Object.assign(json, { tlogs: [7] }), /not a list of objects/);
    await refuses((json) => Object.assign(json, { mediaType: 'application/json' }), /media type/);
    await refuses((json) => delete json.tlogs[0]?.logId, /logId/);
    await refuses((json) => delete json.tlogs[0]?.publicKey.rawBytes, /without bytes/);
    await refuses((json) => Object.assign(json.tlogs[0]?.publicKey as Json, { rawBytes: 'AAAA' }), /can't be read/);
    await refuses((json) => Object.assign(json.certificateAuthorities[0] as Json, { certChain: {} }), /neither/);
    await refuses(
      (json) => Object.assign(json.certificateAuthorities[0] as Json, { certChain: { certificates: [{}] } }),
      /without bytes/,
    );
    await refuses((json) => Object.assign(json.certificateAuthorities[0] as Json, { validFor: { start: 'soon' } }), /not a time/);
    await refuses(
      (json) => Object.assign(json.certificateAuthorities[0] as Json, { validFor: { ends: '2020-01-01T00:00:00Z' } }),
      /"ends"/,
    );
    await rejectsWith(parseSigstoreRoot(Buffer.from('{"mediaType":1,"mediaType":2}'), 'x'), 'E_TRUST_FILE', /twice/);
    await rejectsWith(parseSigstoreRoot(Buffer.alloc(2 * 1024 * 1024), 'x'), 'E_TRUST_FILE', /limit/);
  });
});

async function directory(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'bundle-root-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** A repository of one's own, with the file of its first root. */
async function own(t: TestContext) {
  const target = sigstore.root();
  const server = await tufRepository(t, target);
  const home = await directory(t);
  await writeFile(`${home}/first.json`, server.root);
  const request = {
    fs,
    cacheDirectory: `${home}/cache`,
    now: Date.now(),
    repository: { url: server.url, initialRoot: `${home}/first.json` },
    retries: 0,
  };
  const rootFile = `${home}/cache/${encodeURIComponent(server.url)}.json`;
  const aged = async (days: number): Promise<void> => {
    const then = (Date.now() - days * DAY) / 1000;
    await utimes(rootFile, then, then);
  };
  return { server, request, target, rootFile, aged, home };
}

describe('currentSigstoreRoot', () => {
  test('fetches the root by TUF, keeps it for a day, and asks nobody meanwhile', async (t) => {
    const { server, request, target, rootFile, aged } = await own(t);
    const first = await currentSigstoreRoot(request);
    assert.deepEqual([first.source, first.age, first.warning], ['refreshed', 0, undefined]);
    assert.deepEqual(Buffer.from(first.root.bytes), target);
    assert.deepEqual(await readFile(rootFile), target);
    const asked = server.requests.length;
    const second = await currentSigstoreRoot({ ...request, now: Date.now() });
    assert.deepEqual([second.source, second.root.digest, server.requests.length], ['cached', first.root.digest, asked]);
    assert.equal(second.warning, undefined);

    const changed = sigstore.root((json) => json.tlogs.pop());
    server.publish(changed, 2);
    await aged(2);
    const third = await currentSigstoreRoot({ ...request, now: Date.now() });
    assert.equal(third.source, 'refreshed');
    assert.deepEqual(Buffer.from(third.root.bytes), changed);
  });

  test('falls back to the cached root with a warning that says its age, when the repository is gone', async (t) => {
    const { server, request, aged } = await own(t);
    const { root } = await currentSigstoreRoot(request);
    await aged(3);
    await server.close();
    const old = await currentSigstoreRoot({ ...request, now: Date.now() });
    assert.deepEqual([old.source, old.root.digest], ['cached', root.digest]);
    assert.ok(old.age >= 3 * DAY);
    assert.match(old.warning ?? '', /could not be refreshed.*3 days ago/);
  });

  test('a repository that goes back, has expired, or serves another file, is refused, and the cached root stays', async (t) => {
    const { server, request, aged } = await own(t);
    server.publish(sigstore.root(), 5);
    const { root } = await currentSigstoreRoot(request);
    const evil = createFakeSigstore().root();
    const attacks: (() => void)[] = [
      () => server.publish(evil, 4),
      () => server.publish(evil, 6, -1),
      () => {
        server.publish(sigstore.root(), 7);
        server.files.set('/targets/trusted_root.json', Buffer.concat([evil, Buffer.from(' ')]));
        server.files.set('/targets.json', Buffer.from('{}'));
      },
    ];
    for (const attack of attacks) {
      attack();
      await aged(2);
      const after = await currentSigstoreRoot({ ...request, now: Date.now() });
      assert.deepEqual([after.source, after.root.digest], ['cached', root.digest]);
      assert.ok(after.warning);
    }
  });

  test('a cache that lies in the future is not fresh, and one that is damaged is as good as none', async (t) => {
    const { request, rootFile, aged } = await own(t);
    await currentSigstoreRoot(request);
    await aged(-5);
    assert.equal((await currentSigstoreRoot({ ...request, now: Date.now() })).source, 'refreshed');
    await writeFile(rootFile, 'garbage');
    assert.equal((await currentSigstoreRoot({ ...request, now: Date.now() })).source, 'refreshed');
  });

  test("metadata of TUF's that a crash cut off does not stop the refresh for ever, and still no version falls", async (t) => {
    const { server, request, aged } = await own(t);
    server.publish(sigstore.root(), 5);
    const { root } = await currentSigstoreRoot(request);
    const cut = `${request.cacheDirectory}/${encodeURIComponent(new URL(server.url).host)}/root.json`;
    await writeFile(cut, (await readFile(cut)).subarray(0, 100));
    await aged(2);
    assert.equal((await currentSigstoreRoot({ ...request, now: Date.now() })).source, 'refreshed');
    await writeFile(cut, '');
    server.publish(createFakeSigstore().root(), 4);
    await aged(2);
    const after = await currentSigstoreRoot({ ...request, now: Date.now() });
    assert.deepEqual([after.source, after.root.digest], ['cached', root.digest]);
  });

  test('where nothing can be kept it works all the same and leaves nothing behind', async (t) => {
    const { request, home } = await own(t);
    const before = (await readdir(tmpdir())).filter((name) => name.startsWith('bundle-tuf-'));
    assert.equal((await currentSigstoreRoot({ ...request, cacheDirectory: undefined })).source, 'refreshed');
    await writeFile(`${home}/file`, '');
    assert.equal((await currentSigstoreRoot({ ...request, cacheDirectory: `${home}/file/cache` })).source, 'refreshed');
    await mkdir(`${home}/closed`);
    await chmod(`${home}/closed`, 0o500);
    assert.equal((await currentSigstoreRoot({ ...request, cacheDirectory: `${home}/closed/cache` })).source, 'refreshed');
    const after = (await readdir(tmpdir())).filter((name) => name.startsWith('bundle-tuf-'));
    assert.deepEqual(
      after.filter((name) => !before.includes(name)),
      [],
    );
  });

  test("a repository of one's own that was never reached is an error: the public root is not a substitute", async (t) => {
    const { server, request } = await own(t);
    await server.close();
    const error = await rejectsWith(currentSigstoreRoot(request), 'E_NETWORK', /could not be refreshed/);
    assert.match(error.hint ?? '', /trustedRoot/);
  });

  test('what TUF vouches for and is no trusted root is refused', async (t) => {
    const { server, request } = await own(t);
    server.publish(Buffer.from('{"mediaType":"x"}'), 2);
    await rejectsWith(currentSigstoreRoot(request), 'E_TRUST_FILE', /media type/);
  });

  test('for the public repository the root that is built in is the last resort, and its age is known', async (t) => {
    // The address of the public repository, at which this process reaches nobody.
    const reach = globalThis.fetch;
    t.after(() => {
      globalThis.fetch = reach;
    });
    globalThis.fetch = () => Promise.reject(new TypeError('fetch failed', { cause: new Error('getaddrinfo ENOTFOUND') }));
    const now = EMBEDDED_SINCE + 40 * DAY;
    const current = await currentSigstoreRoot({ fs, cacheDirectory: await directory(t), now, retries: 0 });
    assert.deepEqual([current.source, current.age], ['embedded', 40 * DAY]);
    assert.match(current.warning ?? '', /ENOTFOUND.*built in, of 40 days ago/);
  });

  test('the date of the built-in root is that of the version that is installed', () => {
    assert.equal(tufPackage.version, '5.0.1', 'set EMBEDDED_SINCE to the day on which this version was published');
  });
});
