/** The real program with layers that are hashed and written in threads: killed in the middle of them, and with bytes of them damaged. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile, rm, stat, truncate } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { blobPath, INGEST, ingestPath } from '../../src/bundle/layout.ts';
import { flipByte, isWrite, journey } from '../support/command-journey.ts';
import { createPrng, randomImage, type TestBlob, type TestImage } from '../support/random-image.ts';
import type { Ending } from '../support/temp-dir.ts';

const MIB = 1024 * 1024;
const LAUNCHER = resolve(import.meta.dirname, '../../scripts/bundle');
const ROUNDS = 2;
const KILLS = 3;

type Ended = Readonly<{ code: number | null; signal: string | null; stdout: string; stderr: string }>;

/** An origin with one image of two layers of about 24 MiB, and the program as users start it. */
async function bench(t: Ending) {
  const j = await journey(t);
  const [origin] = j.origins;
  const image = await randomImage({ seed: 24, layers: 2, files: 1, bytes: 24 * MIB, compression: 'none' });
  const [first, second] = image.layers.map(({ blob }) => blob);
  assert.ok(first !== undefined && second !== undefined && Math.min(first.size, second.size) > 24 * MIB);
  await origin.put('team/large', '1', image);
  const file = await j.manifest('large', `images: ["${origin.host}/team/large:1"]`);
  assert.equal((await j.lock(file)).code, 0);
  const start = (...argv: string[]) => {
    const child = spawn(LAUNCHER, argv, {
      cwd: j.dir,
      env: { PATH: process.env.PATH ?? '', HOME: j.dir, TMPDIR: j.dir, BUNDLE_PLAIN_HTTP: origin.host },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    t.after(() => void child.kill('SIGKILL'));
    return { child, ended: once(child, 'close').then(([code, signal]): Ended => ({ code, signal, stdout, stderr })) };
  };
  return {
    j,
    origin,
    image,
    layers: [first, second] as const,
    pull: (directory: string, ...more: string[]) => start('pull', '-f', file, '-o', directory, '--key', j.key.key, ...more),
    verify: (directory: string) => start('verify', directory, '--trust', j.key.pub).ended,
  };
}

test('a pull killed with SIGKILL in the middle of large layers goes on from what is there and ends with the same bytes', {
  timeout: 120_000,
}, async (t) => {
  const seed = Number(process.env.KILL_SEED ?? randomInt(2 ** 31));
  t.diagnostic(`KILL_SEED=${seed}`);
  const prng = createPrng(seed);
  const { j, origin, image, pull, verify } = await bench(t);
  const total = image.blobs.reduce((sum, { size }) => sum + size, 0);
  let parts = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const directory = j.path(`killed-${round}`);
    // All of them together before the end, so that each one strikes.
    for (let kill = 0; kill < KILLS; kill++) {
      const at = (await stored(directory, image)) + prng.int(Math.floor((total * 0.75) / KILLS));
      const { child, ended } = pull(directory);
      while ((await stored(directory, image)) <= at && child.exitCode === null) await setTimeout(1);
      child.kill('SIGKILL');
      assert.equal((await ended).signal, 'SIGKILL', `after ${at} bytes`);
      parts += await requireBeginnings(directory, image);
      const whole = await j.run(['verify', directory, '--trust', j.key.pub]);
      assert.equal(whole.code, 5, `killed after ${at} bytes, verify said: ${whole.stdout}${whole.stderr}`);
    }
    const left = await stored(directory, image);
    origin.clear();
    let asked = 0;
    const again = await pull(directory).ended;
    assert.equal(again.code, 0, again.stderr);
    for (const { url, range } of origin.responses) {
      const blob = image.blobs.find(({ digest }) => url.endsWith(digest));
      const from = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
      if (blob !== undefined) asked += blob.size - from;
    }
    assert.equal(asked, total - left, 'what is missing is asked for, and nothing else');
    assert.equal((await readdir(directory)).includes(INGEST), false);
    const verified = await verify(directory);
    assert.equal(verified.code, 0, verified.stderr);
    await rm(directory, { recursive: true });
  }
  assert.ok(parts > 0, 'no kill left a part');
  t.diagnostic(`${ROUNDS * KILLS} kills left ${parts} parts`);
});

/** How many parts a killed pull left: each is the beginning of its blob, and every blob that has its name is right. */
async function requireBeginnings(directory: string, image: TestImage): Promise<number> {
  let parts = 0;
  for (const blob of image.blobs) {
    const bytes = Buffer.concat([...blob.read(0, blob.size)]);
    const part = await readFile(join(directory, ingestPath(blob.digest))).catch(() => undefined);
    const whole = await readFile(join(directory, blobPath(blob.digest))).catch(() => undefined);
    if (part !== undefined) assert.ok(part.equals(bytes.subarray(0, part.length)), `${blob.digest}: not its beginning`);
    if (whole !== undefined) assert.ok(whole.equals(bytes), `${blob.digest}: has its name and is not right`);
    if (part !== undefined && part.length > 0) parts++;
  }
  return parts;
}

/** Bytes of the image's blobs on the disk, whole ones and parts. */
async function stored(directory: string, { blobs }: TestImage): Promise<number> {
  const paths = blobs.flatMap(({ digest }) => [blobPath(digest), ingestPath(digest)]);
  const sizes = paths.map((path) =>
    stat(join(directory, path)).then(
      ({ size }) => size,
      () => 0,
    ),
  );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

test('damage in a large layer ends verify and load with exit code 5, the blob named and nothing written; a pull mends it', async (t) => {
  const { j, layers, pull, verify } = await bench(t);
  const pulled = await pull(j.bundle).ended;
  assert.equal(pulled.code, 0, pulled.stderr);
  const [first, second] = layers;
  const requireDamaged = async (blob: TestBlob, code: string, says: RegExp): Promise<void> => {
    const ran = await verify(j.bundle);
    assert.equal(ran.code, 5, ran.stdout);
    assert.match(ran.stderr, says);
    assert.ok(ran.stderr.includes(blob.digest), ran.stderr);
    assert.ok(ran.stderr.includes(code), ran.stderr);
    const loaded = await j.load();
    assert.equal(loaded.code, 5, loaded.stderr);
    assert.deepEqual(j.target.requests.filter(isWrite), []);
  };
  flipByte(join(j.bundle, blobPath(first.digest)));
  await requireDamaged(first, 'E_DIGEST', /have digest sha256:/);
  await truncate(join(j.bundle, blobPath(second.digest)), second.size - 1);
  await requireDamaged(second, 'E_SIZE', /has \d+ bytes, want/);
  const mended = await pull(j.bundle, '--rehash').ended;
  assert.equal(mended.code, 0, mended.stderr);
  const good = await verify(j.bundle);
  assert.equal(good.code, 0, good.stderr);
});
