/** A lock that is broken, or that lies: exit code 3 with the file named, or the lie is found out; a generation is never made from it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { type Journey, journey } from '../support/command-journey.ts';
import type { Loose } from '../support/hostile-bundle.ts';
import { randomImage, randomIndex, type TestImage } from '../support/random-image.ts';

type Bench = Readonly<{
  j: Journey;
  manifest: string;
  path: string;
  text: string;
  app: TestImage;
  other: TestImage;
  tool: TestImage;
}>;

/** Locked: one single image, taken whole, and one index of three platforms of which one and of which two are taken. */
async function bench(t: Parameters<typeof journey>[0]): Promise<Bench> {
  const j = await journey(t);
  const size = { files: 1, bytes: 400, layers: 1 };
  const [app, other] = [await randomImage({ seed: 1, ...size }), await randomImage({ seed: 2, ...size })];
  const tool = await randomIndex({ seed: 3, ...size, platforms: ['linux/amd64', 'linux/arm64', 'linux/s390x'] });
  await j.origins[0].put('team/app', '1.0', app);
  await j.origins[0].put('team/app', 'other', other);
  await j.origins[0].put('team/tool', ['2.0', '2.1'], tool);
  const { host } = j.origins[0];
  const manifest = await j.manifest(
    'lumen',
    'platforms: [linux/amd64]',
    'images:',
    `  - ${host}/team/app:1.0`,
    `  - ${host}/team/tool:2.0`,
    `  - {ref: "${host}/team/tool:2.1", platforms: [linux/amd64, linux/arm64]}`,
  );
  assert.equal((await j.lock(manifest)).code, 0);
  const path = manifest.replace(/\.yaml$/, '.lock.json');
  return { j, manifest, path, text: await readFile(path, 'utf8'), app, other, tool };
}

const edited = (change: (lock: Loose, items: Loose[]) => unknown) => (text: string) => {
  const lock = JSON.parse(text);
  change(lock, lock.items);
  return JSON.stringify(lock);
};
const item = (i: number, more: object) => edited((_, items) => Object.assign(items[i], more));
const ZERO = `sha256:${'0'.repeat(64)}`;

const TEXTS: Readonly<Record<string, (text: string) => string | Buffer>> = {
  empty: () => '',
  'cut in half': (text) => text.slice(0, text.length / 2),
  'zeros of the same length': (text) => Buffer.alloc(text.length),
  'left in conflict by git': (text) => text.replace('"items"', '<<<<<<< HEAD\n"items"'),
  'no JSON': () => 'hello',
  'a list': (text) => `[${text}]`,
  'not UTF-8': (text) => Buffer.concat([Buffer.from(text), Buffer.from([0xff])]),
  'a byte order mark': (text) => `\ufeff${text}`,
  'nested deep': () => `{"a":${'['.repeat(5000)}${']'.repeat(5000)}}`,
  'another version': edited((lock) => Object.assign(lock, { lockVersion: 2 })),
  'a version in quotes': edited((lock) => Object.assign(lock, { lockVersion: '1' })),
  'an unknown member': edited((lock) => Object.assign(lock, { signed: true })),
  'an unknown member in an item': item(0, { verify: false }),
  'one member twice': (text) => text.replace('"lockVersion"', '"lockVersion": 2, "lockVersion"'),
  'one member of an item twice': (text) => text.replace('"digest"', `"digest": "${ZERO}", "digest"`),
  'the lock of another bundle': edited((lock) => Object.assign(lock, { name: 'other' })),
  'no items': edited((lock) => delete lock.items),
  'items null': edited((lock) => Object.assign(lock, { items: null })),
  'an item null': edited((_, items) => items.push(null)),
  'an item twice': edited((_, items) => items.push(items[0])),
  'another kind': item(0, { kind: 'chart' }),
  'a short reference': item(0, { ref: 'redis' }),
  'a reference with ../': item(0, { ref: 'docker.io/../x:1' }),
  'a reference to another origin than it says': item(0, { origin: 'docker.io' }),
  'a digest with ../': item(0, { digest: 'sha256:../../../etc/passwd' }),
  'a digest in capitals': item(0, { digest: ZERO.toUpperCase() }),
  'a digest by md5': item(0, { digest: 'md5:d41d8cd98f00b204e9800998ecf8427e' }),
  'a digest of 63 characters': item(0, { digest: ZERO.slice(0, -1) }),
  'a digest with a line break': item(0, { digest: `${ZERO}\n` }),
  'a target digest that is none': item(0, { targetDigest: 'latest' }),
  'size -1': item(0, { size: -1 }),
  'size 1.5': item(0, { size: 1.5 }),
  'size 2^53': (text) => text.replace(/"size": \d+/, '"size": 9007199254740993'),
  'size 1e400': (text) => text.replace(/"size": \d+/, '"size": 1e400'),
  'size in quotes': (text) => text.replace(/"size": (\d+)/, '"size": "$1"'),
  'another form': item(0, { form: 'partial' }),
  'a time that is none': item(0, { resolvedAt: 'yesterday' }),
  'a time on the 40th': item(0, { resolvedAt: '2026-11-40T08:00:00Z' }),
  'a time with an offset': item(0, { resolvedAt: '2026-11-21T08:00:00+02:00' }),
  'nothing asked': item(0, { asked: [] }),
  'a platform without digest': item(1, { platforms: [{ platform: 'linux/amd64', size: 1 }] }),
};

const PLACES: Readonly<Record<string, (path: string) => unknown>> = {
  'a directory': (path) => mkdir(path),
  'a link into nothing': (path) => symlink('nowhere', path),
  'a sparse terabyte': async (path) => {
    await writeFile(path, '');
    await truncate(path, 1024 ** 4);
  },
};

it('a lock that can not be read as one is refused with exit code 3 or 5, names the file, and nothing is fetched or written', async (t) => {
  const { j, manifest, path, text } = await bench(t);
  j.origins[0].clear();
  const attempts: [string, (at: string) => unknown][] = [
    ...Object.entries(TEXTS).map(([what, make]): [string, (at: string) => unknown] => {
      assert.notDeepEqual(Buffer.from(make(text) as string), Buffer.from(text), what);
      return [what, (at) => writeFile(at, make(text))];
    }),
    ...Object.entries(PLACES),
  ];
  const wrong: string[] = [];
  for (const [what, put] of attempts) {
    await rm(path, { recursive: true, force: true });
    await put(path);
    const ran = await j.pull(manifest);
    const promised = what in PLACES ? [3, 5, 7].includes(ran.code) : ran.code === 3;
    if (!promised) wrong.push(`${what}: ended with ${ran.code}: ${ran.stderr.slice(0, 200)}`);
    else if (!ran.stderr.includes(path)) wrong.push(`${what}: the file is not named: ${ran.stderr.slice(0, 200)}`);
    if (existsSync(j.bundle)) wrong.push(`${what}: the bundle was begun`);
  }
  assert.deepEqual(wrong, []);
  assert.deepEqual(j.origins[0].requests, []);
  t.diagnostic(`${attempts.length} kinds of wrong lock`);
});

it('a pipe in the place of a lock does not hang', { timeout: 10_000 }, async (t) => {
  const { j, manifest, path } = await bench(t);
  await rm(path);
  execFileSync('mkfifo', [path]);
  const ran = await Promise.race([j.pull(manifest), setTimeout(3000)]);
  if (ran === undefined) await writeFile(path, '{}'); // lets the reader go, so that the test can end
  assert.ok(ran !== undefined, 'it waits for somebody to write');
  assert.ok([3, 5, 7].includes(ran.code), ran.stderr);
});

type Lie = (b: Bench) => (text: string) => string;
/** Well-formed, and not what the registry has. */
const LIES: Readonly<Record<string, Lie>> = {
  'a digest that the origin does not have': () => item(0, { digest: ZERO, targetDigest: ZERO }),
  'the digest of another image, its size not': (b) => item(0, { digest: b.other.digest, targetDigest: b.other.digest, size: 1 }),
  'another size': (b) => item(0, { size: b.app.root.size + 1 }),
  'a size of a terabyte': () => item(0, { size: 1024 ** 4 }),
  'another type': () => item(0, { mediaType: 'application/vnd.oci.image.index.v1+json' }),
  'a type that nobody knows': () => item(0, { mediaType: 'text/plain' }),
  'a target digest of another image': (b) => item(0, { targetDigest: b.other.digest }),
  'a target digest that is nowhere': () => item(0, { targetDigest: ZERO }),
  'a single image as one platform of an index': (b) => item(0, { form: 'single', targetDigest: b.app.digest }),
  'a single image as a derived index': () => item(0, { form: 'derived' }),
  'one platform of an index as the whole': () => item(1, { form: 'whole' }),
  'one platform of an index as a derived index': () => item(1, { form: 'derived' }),
  'another platform than asked': (b) => item(1, { targetDigest: b.tool.children[1]?.digest }),
  'two platforms as one': () => item(2, { form: 'single' }),
  'two platforms as the whole index': (b) => item(2, { form: 'whole', targetDigest: b.tool.digest }),
  'a derived index that is another': () => item(2, { targetDigest: ZERO }),
  'platforms with digests of others': (b) =>
    item(1, { platforms: [{ platform: 'linux/amd64', digest: b.tool.children[1]?.digest, size: 1 }] }),
  'no platforms': () => item(1, { platforms: [] }),
};

it('a lock that lies is found out: an error that names the reference, and no generation', async (t) => {
  const b = await bench(t);
  const { j, manifest, path, text } = b;
  const wrong: string[] = [];
  const codes = new Map<number, number>();
  for (const [what, lie] of Object.entries(LIES)) {
    await rm(j.bundle, { recursive: true, force: true });
    await writeFile(path, lie(b)(text));
    const ran = await j.pull(manifest);
    codes.set(ran.code, (codes.get(ran.code) ?? 0) + 1);
    if (![3, 4, 5].includes(ran.code)) wrong.push(`${what}: ended with ${ran.code} ${ran.stderr.slice(-300)}`);
    else if (!/team\/(app|tool)/.test(ran.stderr)) wrong.push(`${what}: the reference is not named: ${ran.stderr}`);
    if (existsSync(join(j.bundle, 'bundle.json'))) wrong.push(`${what}: a generation was made`);
  }
  assert.deepEqual(wrong, []);
  t.diagnostic(`${Object.keys(LIES).length} lies: ${[...codes].map(([code, n]) => `exit ${code}: ${n}`).join(', ')}`);
  await rm(j.bundle, { recursive: true, force: true });
  await writeFile(path, text);
  assert.equal((await j.pull(manifest)).code, 0, 'the true lock again: it was the lies alone');
});
