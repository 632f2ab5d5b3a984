import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import type { LockFile } from '../../src/lock/lock-file.ts';
import { type Journey, journey, lockOf } from '../support/command-journey.ts';
import { startFaultRegistry } from '../support/fault-registry.ts';
import { randomArtifact, randomImage, randomIndex, schema1Image, type TestImage } from '../support/random-image.ts';

async function withApp(t: TestContext) {
  const j = await journey(t);
  const [origin] = j.origins;
  const image = await randomIndex({ seed: 1 });
  await origin.put('team/app', '1.0', image);
  await origin.put('team/web', '2.0', await randomIndex({ seed: 2 }));
  const app = `${origin.host}/team/app:1.0`;
  const web = `${origin.host}/team/web:2.0`;
  const file = await j.manifest('lumen', `images: [${app}, ${web}]`);
  return { j, origin, image, app, web, file };
}

const lockBytes = (file: string): string => readFileSync(file.replace('.yaml', '.lock.json'), 'utf8');
const itemOf = (file: string, ref: string) => lockOf(file).items.find((item) => item.ref === ref);

describe('lock', () => {
  test('writes what every tag means beside the manifest, sorted, with when and from where', async (t) => {
    const { j, origin, image, app, web, file } = await withApp(t);
    const ran = await j.run(['lock', '-f', file], { now: Date.parse('2026-11-21T08:00:00.900Z') });
    assert.equal(ran.code, 0, ran.stderr);
    const lock = lockOf(file);
    assert.deepEqual(
      lock.items.map((item) => item.ref),
      [app, web],
    );
    const [item] = lock.items;
    assert.equal(item?.digest, image.digest);
    assert.equal(item?.targetDigest, image.digest);
    assert.equal(item?.size, image.root.size);
    assert.equal(item?.origin, origin.host);
    assert.equal(item?.resolvedAt, '2026-11-21T08:00:00Z');
    assert.deepEqual(
      item?.platforms.map((p) => [p.platform, p.digest]),
      image.children.map((child, i) => [['linux/amd64', 'linux/arm64'][i], child.digest]),
    );
    assert.match(ran.stdout, /added .*team\/app:1\.0 .*sha256:/);
  });

  test('what is locked stays locked without a request, though the tag moved', async (t) => {
    const { j, origin, file } = await withApp(t);
    await j.lock(file);
    await origin.put('team/app', '1.0', await randomIndex({ seed: 77 }));
    const [before, time] = [lockBytes(file), statSync(file.replace('.yaml', '.lock.json')).mtimeMs];
    origin.clear();
    const ran = await j.lock(file);
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual(origin.requests, []);
    assert.equal(lockBytes(file), before);
    assert.equal(statSync(file.replace('.yaml', '.lock.json')).mtimeMs, time, 'not even written again');
  });

  test('--update takes a moved tag over and keeps the entry of one that did not move, time included', async (t) => {
    const { j, origin, app, web, file } = await withApp(t);
    await j.run(['lock', '-f', file], { now: 1_790_000_000_000 });
    const kept = itemOf(file, web);
    const next = await randomIndex({ seed: 5 });
    await origin.put('team/app', '1.0', next);
    origin.clear();
    const ran = await j.run(['lock', '-f', file, '--update', '--json'], { now: 1_790_000_900_000 });
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal(itemOf(file, app)?.digest, next.digest);
    assert.equal(itemOf(file, app)?.resolvedAt, '2026-09-21T14:28:20Z');
    assert.deepEqual(itemOf(file, web), kept);
    assert.deepEqual(
      ran.json().outcomes.map((o: { ref: string; outcome: string }) => [o.ref, o.outcome]),
      [
        [app, 'moved'],
        [web, 'unchanged'],
      ],
    );
    const heads = origin.requests.filter((r) => r.startsWith('HEAD'));
    assert.equal(
      heads.filter((r) => r.includes('sha256-')).length,
      2 * 3 * 3,
      "an index and two platforms, three of cosign's tags",
    );
    assert.equal(heads.filter((r) => !r.includes('sha256-')).length, 2);
  });

  test('--update with nothing moved leaves the bytes of the lock alone', async (t) => {
    const { j, file } = await withApp(t);
    await j.run(['lock', '-f', file], { now: 1_790_000_000_000 });
    const before = lockBytes(file);
    const ran = await j.run(['lock', '-f', file, '--update'], { now: 1_790_000_900_000 });
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal(lockBytes(file), before);
    assert.match(ran.stdout, /up to date/);
  });

  test('--update REF asks for that one only; a reference that the manifest lacks is a usage error', async (t) => {
    const { j, origin, app, web, file } = await withApp(t);
    await j.lock(file);
    for (const repository of ['team/app', 'team/web'])
      await origin.put(repository, ['1.0', '2.0'], await randomIndex({ seed: 9 }));
    const before = itemOf(file, web);
    origin.clear();
    const ran = await j.lock(file, '--update', app);
    assert.equal(ran.code, 0, ran.stderr);
    assert.ok(
      origin.requests.every((r) => r.includes('/team/app/')),
      origin.requests.join('\n'),
    );
    assert.deepEqual(itemOf(file, web), before);
    const unknown = await j.lock(file, '--update', `${origin.host}/team/other:1`);
    assert.equal(unknown.code, 2);
    assert.match(unknown.stderr, /the manifest has no .*team\/other:1/);
  });

  test('--check asks one HEAD per tag and nothing else: 0 when none moved, 11 with the names when some did', async (t) => {
    const { j, origin, app, file } = await withApp(t);
    await j.lock(file);
    const before = lockBytes(file);
    origin.clear();
    const same = await j.lock(file, '--check');
    assert.equal(same.code, 0, same.stderr);
    assert.match(same.stdout, /signatures were not looked at: "bundle lock --update"/);
    assert.deepEqual(
      origin.requests.map((r) => r.split(' ')[0]),
      ['HEAD', 'HEAD'],
    );
    const next = await randomIndex({ seed: 6 });
    await origin.put('team/app', '1.0', next);
    const moved = await j.lock(file, '--check', '--json');
    assert.equal(moved.code, 11, moved.stderr);
    assert.deepEqual(
      moved.json().moved.map((m: { ref: string; now: string }) => [m.ref, m.now]),
      [[app, next.digest]],
    );
    assert.equal(lockBytes(file), before, 'a check writes nothing');
  });

  test('--check of references by digest alone costs no request', async (t) => {
    const { j, origin, image } = await withApp(t);
    const file = await j.manifest('pinned', `images: ["${origin.host}/team/app@${image.digest}"]`);
    await j.lock(file);
    origin.clear();
    assert.equal((await j.lock(file, '--check')).code, 0);
    assert.deepEqual(origin.requests, []);
  });

  test('--check names entries that are not locked yet and locked ones that left the manifest', async (t) => {
    const { j, app, web } = await withApp(t);
    const file = await j.manifest('lumen', `images: [${app}]`);
    await j.lock(file);
    await j.manifest('lumen', `images: [${web}]`);
    const ran = await j.lock(file, '--check', '--json');
    assert.equal(ran.code, 11);
    assert.deepEqual(
      ran
        .json()
        .moved.map((m: { ref: string }) => m.ref)
        .sort(),
      [app, web],
    );
  });

  test('--check where a tag is gone fails with that, and --json is still one document', async (t) => {
    const { j, origin, app, web, file } = await withApp(t);
    await j.lock(file);
    await origin.content.deleteTag('team/app', '1.0');
    await origin.put('team/web', '2.0', await randomIndex({ seed: 8 }));
    const ran = await j.lock(file, '--check', '--json');
    assert.equal(ran.code, 4, ran.stdout);
    const { ok, error, exitCode } = ran.json();
    assert.equal(ok, false);
    assert.equal(exitCode, 4);
    assert.equal(error.code, 'E_NOT_FOUND');
    assert.deepEqual(error.detail.moved.map((m: { ref: string }) => m.ref).sort(), [app, web]);
  });

  test('a tag and a digest that disagree are refused, and agree when the digest is the right one', async (t) => {
    const { j, origin, image } = await withApp(t);
    const wrong = `sha256:${'0'.repeat(64)}`;
    const file = await j.manifest('both', `images: ["${origin.host}/team/app:1.0@${wrong}"]`);
    const ran = await j.lock(file);
    assert.equal(ran.code, 3);
    assert.match(ran.stderr, /E_TAG_DIGEST/);
    assert.ok(ran.stderr.includes(image.digest) && ran.stderr.includes(wrong), ran.stderr);
    const right = await j.manifest('right', `images: ["${origin.host}/team/app:1.0@${image.digest}"]`);
    assert.equal((await j.lock(right)).code, 0);
    assert.equal(lockOf(right).items[0]?.ref, `${origin.host}/team/app:1.0@${image.digest}`);
  });

  test('a platform that an index or an image lacks fails the lock with the list of those it has; no lock is written', async (t) => {
    const { j, origin, app } = await withApp(t);
    await origin.put('team/one', '1', await randomImage({ platform: 'linux/arm64' }));
    const file = await j.manifest('p', 'platforms: [linux/s390x, linux/arm64]', `images: [${app}, "${origin.host}/team/one:1"]`);
    const ran = await j.lock(file, '--json');
    assert.equal(ran.code, 3);
    const { error } = ran.json();
    assert.equal(error.code, 'E_PLATFORM_MISSING');
    assert.match(error.message, /team\/app:1\.0 has no linux\/s390x; it has linux\/amd64, linux\/arm64/);
    assert.match(error.message, /team\/one:1 has no linux\/s390x; it has linux\/arm64/);
    assert.deepEqual(error.detail.missing, ['linux/s390x']);
    assert.throws(() => lockOf(file), /ENOENT/);
  });

  test('other platforms for a locked tag are answered from the digest that is locked: only --update moves it', async (t) => {
    const { j, origin, image, app } = await withApp(t);
    const file = await j.manifest('p', 'platforms: [linux/amd64]', `images: [${app}]`);
    await j.lock(file);
    await origin.put('team/app', '1.0', await randomIndex({ seed: 66 }));
    await j.manifest('p', 'platforms: [linux/arm64]', `images: [${app}]`);
    assert.equal((await j.lock(file)).code, 0);
    const [item] = lockOf(file).items;
    assert.equal(item?.digest, image.digest);
    assert.equal(item?.targetDigest, image.children[1]?.digest);
    assert.equal(item?.form, 'single');
  });

  test('a tag and the same tag pinned, for different platforms, would be one name with two meanings: refused here, not at node-1', async (t) => {
    const { j, image, app } = await withApp(t);
    const file = await j.manifest('two', `images: [{ref: "${app}", platforms: [linux/arm64]}, "${app}@${image.digest}"]`);
    const ran = await j.lock(file);
    assert.equal(ran.code, 3, ran.stdout);
    assert.match(ran.stderr, /E_ALIAS_CONFLICT/);
    assert.throws(() => lockOf(file), /ENOENT/);
    const same = await j.manifest('one', `images: ["${app}", "${app}@${image.digest}"]`);
    assert.equal((await j.pull(same)).code, 0);
    assert.equal((await j.load()).code, 0);
  });

  test('Docker schema 1 is refused by name', async (t) => {
    const { j, origin } = await withApp(t);
    await origin.put('old/image', 'latest', schema1Image());
    const ran = await j.lock(await j.manifest('old', `images: [${origin.host}/old/image]`));
    assert.equal(ran.code, 3);
    assert.match(ran.stderr, /schema 1/);
    assert.match(ran.stderr, /E_SCHEMA1/);
  });

  test('one failure fails the lock, and every failure is named', async (t) => {
    const { j, origin, app } = await withApp(t);
    const missing = [`${origin.host}/team/no:1`, `${origin.host}/team/nope:2`];
    const ran = await j.lock(await j.manifest('lumen', `images: [${[app, ...missing].join(', ')}]`), '--json');
    assert.equal(ran.code, 4);
    assert.deepEqual(
      ran
        .json()
        .error.detail.failed.map((f: { ref: string }) => f.ref)
        .sort(),
      missing,
    );
  });
});

describe('signatures and other referrers', () => {
  const [FIRST, LATER, LAST] = [1_790_000_000_000, 1_790_000_900_000, 1_790_001_800_000];
  const [AT_FIRST, AT_LATER] = ['2026-09-21T14:13:20Z', '2026-09-21T14:28:20Z'];

  /** The image with a signature under cosign's tag and an SBOM as the referrer of its first platform; locked at {@link FIRST}. */
  async function signed(t: TestContext) {
    const { j, origin, image, app } = await withApp(t);
    const platform = image.children[0] as TestImage;
    const sbom = randomArtifact({ seed: 31, subject: platform.descriptor });
    const sigTag = `${image.digest.replace(':', '-')}.sig`;
    const signature = randomArtifact({ seed: 32 });
    await origin.put('team/app', sigTag, signature);
    await origin.put('team/app', [], sbom);
    const file = await j.manifest('signed', `images: [${app}]`);
    const ran = await j.run(['lock', '-f', file], { now: FIRST });
    assert.equal(ran.code, 0, ran.stderr);
    const update = (now: number, ...argv: string[]) => j.run(['lock', '-f', file, '--update', ...argv, '--json'], { now });
    return { j, origin, image, platform, app, file, sbom, sigTag, signature, ran, update };
  }
  const found = (file: string) => itemOf(file, lockOf(file).items[0]?.ref as string)?.evidence;

  test('are locked with the image, sorted, with the time of the look, and are asked for once', async (t) => {
    const { j, origin, image, platform, file, sbom, sigTag, signature, ran } = await signed(t);
    const facts = ({ root }: TestImage) => ({ digest: root.digest, mediaType: root.mediaType, size: root.size });
    const wanted = [
      { subject: image.digest, tag: sigTag, ...facts(signature) },
      { subject: platform.digest, ...facts(sbom) },
    ];
    assert.deepEqual(
      found(file),
      wanted.sort((a, b) => (a.subject < b.subject ? -1 : 1)),
    );
    assert.equal(lockOf(file).items[0]?.evidenceAt, AT_FIRST);
    assert.match(ran.stdout, /added .* 2 signatures and referrers\n/);
    origin.clear();
    assert.equal((await j.lock(file)).code, 0);
    assert.equal((await j.lock(file, '--check')).code, 0);
    assert.deepEqual(origin.requests, ['HEAD /v2/team/app/manifests/1.0'], 'the check asks for the tag alone');
  });

  test('what is not signed is locked so, and not asked again', async (t) => {
    const { j, origin, file, web } = await withApp(t);
    await j.lock(file);
    assert.deepEqual(itemOf(file, web)?.evidence, []);
    assert.ok(itemOf(file, web)?.evidenceAt);
    origin.clear();
    assert.equal((await j.lock(file)).code, 0);
    assert.deepEqual(origin.requests, []);
  });

  test('--update finds a new signature of the same digest: its time moves and that of the digest stays', async (t) => {
    const { origin, app, file, sigTag, update } = await signed(t);
    const before = lockOf(file).items[0];
    await origin.put('team/app', sigTag, randomArtifact({ seed: 33 }));
    const ran = await update(LATER);
    assert.deepEqual(ran.json().outcomes, [{ ref: app, outcome: 'evidence', evidence: 2 }]);
    const item = lockOf(file).items[0];
    assert.notDeepEqual(item?.evidence, before?.evidence);
    assert.deepEqual({ ...item, evidence: before?.evidence, evidenceAt: AT_FIRST }, before);
    assert.equal(item?.evidenceAt, AT_LATER);
    const bytes = lockBytes(file);
    assert.deepEqual((await update(LAST, app)).json().outcomes, [{ ref: app, outcome: 'unchanged' }]);
    assert.equal(lockBytes(file), bytes);
  });

  test('--update finds that a signature is gone, and says so', async (t) => {
    const { j, origin, file, sigTag, app } = await signed(t);
    await origin.content.deleteTag('team/app', sigTag);
    const ran = await j.lock(file, '--update', app);
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stdout, /^evidence .*team\/app:1\.0 {2}1 signature or referrer\n/);
    assert.equal(found(file)?.length, 1);
  });

  test('other platforms of a locked digest are asked for what is about them', async (t) => {
    const { j, app, file, platform } = await signed(t);
    await j.manifest('signed', 'platforms: [linux/arm64]', `images: [${app}]`);
    assert.equal((await j.lock(file)).code, 0);
    assert.deepEqual(
      found(file)?.filter((e) => e.subject === platform.digest),
      [],
    );
    assert.equal(found(file)?.length, 1);
  });

  test('a lock that an older version wrote is completed: the digests stay though the tag moved, and only evidence is asked for', async (t) => {
    const { j, origin, image, file } = await signed(t);
    const lockPath = file.replace('.yaml', '.lock.json');
    const complete = lockOf(file);
    const [{ evidence: _e, evidenceAt: _at, ...old }] = complete.items as [LockFile['items'][number]];
    await writeFile(lockPath, JSON.stringify({ ...complete, items: [old] }));
    await origin.put('team/app', '1.0', await randomIndex({ seed: 77 }));
    const frozen = await j.pull(file, '--frozen');
    assert.equal(frozen.code, 3);
    assert.match(frozen.stderr, /E_LOCK_STALE/);
    origin.clear();
    const ran = await j.run(['lock', '-f', file], { now: LATER });
    assert.equal(ran.code, 0, ran.stderr);
    assert.ok(!origin.requests.some((r) => r.endsWith('/manifests/1.0')));
    // That it is still there is asked, or 404 to everything else would mean that there are no signatures.
    const asked = origin.requests.filter((r) => r.endsWith(`/manifests/${image.digest}`));
    assert.deepEqual(asked, [`HEAD /v2/team/app/manifests/${image.digest}`]);
    assert.deepEqual(lockOf(file).items, [{ ...complete.items[0], evidenceAt: AT_LATER }]);
  });

  test('an origin that does not say whether there are any fails the lock: nothing is written', async (t) => {
    const j = await journey(t);
    const registry = await startFaultRegistry(t);
    j.allowPlainHttp(registry.host);
    registry.add('team/app', '1.0', await randomImage({ seed: 1 }));
    registry.inject({ on: 'referrers', times: 999, does: { kind: 'answer', status: 403 } });
    const file = await j.manifest('refused', `images: ["${registry.host}/team/app:1.0"]`);
    const ran = await j.lock(file);
    assert.equal(ran.code, 4, ran.stdout);
    assert.match(ran.stderr, /looking for signatures and other referrers: .*HTTP 403/);
    assert.match(ran.stderr, /E_AUTH/);
    assert.throws(() => lockOf(file), /ENOENT/);
  });
});

describe('image lists', () => {
  /** A web server that counts, for lists behind URLs. */
  async function listServer(t: TestContext, j: Journey, answer: (url: string) => string) {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url ?? '');
      response.end(answer(request.url ?? ''));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    j.allowPlainHttp(host);
    return { asked, url: `http://${host}` };
  }

  const refsOf = (file: string): string[] => lockOf(file).items.map((item) => item.ref);
  const withLists = (j: Journey, ...lists: string[]) =>
    j.manifest('lists', `imageLists: [${lists.map((l) => `"${l}"`).join(', ')}]`);

  test('from a file beside the manifest, comments left out; the platforms of the manifest count', async (t) => {
    const { j, app, web } = await withApp(t);
    const file = await j.manifest('lists', 'platforms: [linux/arm64]', 'imageLists: [k3s-images.txt]');
    await writeFile(j.path('manifests/k3s-images.txt'), `# k3s\n${app}\n\n${web} # the web\n`);
    assert.equal((await j.lock(file)).code, 0);
    assert.deepEqual(refsOf(file), [app, web]);
    assert.deepEqual(lockOf(file).items[0]?.asked, ['linux/arm64']);
  });

  test('a list that is missing, and a bad line in one, are named with their place', async (t) => {
    const { j, app } = await withApp(t);
    const file = await withLists(j, 'gone.txt');
    const gone = await j.lock(file);
    assert.equal(gone.code, 3);
    assert.match(gone.stderr, /gone\.txt/);
    await writeFile(j.path('manifests/gone.txt'), `${app}\nUPPER/x\n`);
    const bad = await j.lock(file);
    assert.equal(bad.code, 3);
    assert.match(bad.stderr, /gone\.txt:2:1: .*UPPER/);
  });

  test('what a URL said is remembered in the lock: pull makes no request for it, --update asks again', async (t) => {
    const { j, app, web } = await withApp(t);
    let list = `${app}\n`;
    const { asked, url } = await listServer(t, j, () => list);
    const file = await withLists(j, `${url}/images.txt`);
    const [origin] = j.origins;
    assert.equal((await j.lock(file)).code, 0);
    assert.deepEqual(
      lockOf(file).lists?.map(({ source, refs }) => [source.split('#')[0], refs]),
      [[`${url}/images.txt`, [app]]],
    );
    assert.equal((await j.pull(file)).code, 0);
    list = `${app}\n${web}\n`;
    asked.length = 0;
    origin.clear();
    const again = await j.pull(file, '--json');
    assert.equal(again.code, 0, again.stderr);
    assert.equal(again.json().requests, 0);
    assert.deepEqual([asked, origin.requests], [[], []]);
    assert.equal((await j.lock(file, '--update')).code, 0);
    assert.deepEqual(refsOf(file), [app, web]);
  });

  test('a list by plain http from a host that --plain-http does not name is a usage error, and is not asked for', async (t) => {
    const { j, app } = await withApp(t);
    const { asked, url } = await listServer(t, j, () => `${app}\n`);
    const file = await withLists(j, `${url}/images.txt`);
    const ran = await j.run(['lock', '-f', file], { env: { BUNDLE_PLAIN_HTTP: j.origins[0].host } });
    assert.equal(ran.code, 2, ran.stderr);
    assert.ok(ran.stderr.includes(`--plain-http ${url.slice('http://'.length)}`), ran.stderr);
    assert.deepEqual(asked, []);
  });

  test('two lists of one address with different queries are two lists', async (t) => {
    const { j, app, web } = await withApp(t);
    const { url } = await listServer(t, j, (path) => `${path.includes('a') ? app : web}\n`);
    const file = await withLists(j, `${url}/l?of=a`, `${url}/l?of=b`);
    assert.equal((await j.lock(file)).code, 0);
    assert.equal((await j.lock(file)).code, 0);
    assert.deepEqual(refsOf(file), [app, web]);
    assert.ok(!lockBytes(file).includes('of='), 'a query may be a signature: it is not written down');
  });

  test('a URL whose images are all locked already is remembered too, so that the next pull asks nobody', async (t) => {
    const { j, app, web } = await withApp(t);
    const { asked, url } = await listServer(t, j, () => `${app}\n${web}\n`);
    const file = await j.manifest('lists', `images: [${app}, ${web}]`);
    assert.equal((await j.pull(file)).code, 0);
    await j.manifest('lists', `images: [${app}, ${web}]`, `imageLists: ["${url}/l"]`);
    assert.equal((await j.pull(file)).code, 0);
    asked.length = 0;
    assert.equal((await j.pull(file, '--json')).json().requests, 0);
    assert.deepEqual(asked, []);
  });

  test('--frozen refuses to change the lock and says which entries it does not answer', async (t) => {
    const { j, app, web } = await withApp(t);
    const file = await j.manifest('lumen', `images: [${app}]`);
    const none = await j.pull(file, '--frozen');
    assert.equal(none.code, 3);
    assert.match(none.stderr, /lumen\.lock\.json does not exist/);
    assert.equal((await j.pull(file)).code, 0);
    assert.equal((await j.pull(file, '--frozen')).code, 0);
    await j.manifest('lumen', `images: [${web}]`);
    const before = lockBytes(file);
    const stale = await j.pull(file, '--frozen');
    assert.equal(stale.code, 3);
    assert.match(stale.stderr, /lumen\.yaml:3:\d+: .*team\/web:2\.0 is not locked/);
    assert.match(stale.stderr, /team\/app:1\.0 is no longer in the manifest/);
    assert.match(stale.stderr, /E_LOCK_STALE/);
    assert.equal(lockBytes(file), before);
  });

  test('a lock of another bundle, or one that was edited wrongly, is refused with the place', async (t) => {
    const { j, app } = await withApp(t);
    const file = await j.manifest('lumen', `images: [${app}]`);
    await j.lock(file);
    const lock = file.replace('.yaml', '.lock.json');
    await writeFile(lock, lockBytes(file).replace('"lumen"', '"other"'));
    assert.match((await j.lock(file)).stderr, /lock of "other".*\n.*\n?.*E_LOCK/);
    await writeFile(
      lock,
      lockBytes(file)
        .replace('"other"', '"lumen"')
        .replace(/sha256:[0-9a-f]/, 'sha256:X'),
    );
    const edited = await j.lock(file);
    assert.equal(edited.code, 3);
    assert.match(edited.stderr, /items\.0\.digest: not a sha256/);
    await rm(lock);
    assert.equal((await j.lock(file)).code, 0);
  });
});
