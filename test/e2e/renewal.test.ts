import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { flipByte, generationsOf, journey, readJson, statementOf } from '../support/command-journey.ts';
import { randomIndex } from '../support/random-image.ts';

const DAY = 86_400_000;

describe('pull --renew', () => {
  test('gives an unchanged bundle a new generation with a new date, so that an expired one can be loaded again', async (t) => {
    const j = await journey(t);
    const [origin] = j.origins;
    await origin.put('team/app', '1.0', await randomIndex({ seed: 1 }));
    const file = await j.manifest('lumen', 'expires: 2d', `images: [${origin.host}/team/app:1.0]`);
    assert.equal((await j.pull(file)).code, 0);
    const later = Date.now() + 3 * DAY;
    const load = [
      'load',
      j.bundle,
      '--registry',
      j.target.host,
      '--trust',
      j.key.pub,
      '--state',
      join(j.dir, 'state'),
      '--plain-http',
      j.target.host,
      '--skip-mirrors',
    ];
    assert.equal((await j.run(load, { now: later })).code, 6, 'expired');
    const plain = await j.run(['pull', '-f', file, '-o', j.bundle, '--key', j.key.key], { now: later });
    assert.equal(plain.code, 6, 'every load would refuse it: said where it can be helped');
    assert.match(plain.stderr, /pull --renew/);
    const soon = await j.run(['pull', '-f', file, '-o', j.bundle, '--key', j.key.key], { now: Date.now() + 1.5 * DAY });
    assert.equal(soon.code, 0);
    assert.match(soon.stderr, /expires at .* --renew/);
    const renewed = await j.run(['pull', '-f', file, '-o', j.bundle, '--key', j.key.key, '--renew'], { now: later });
    assert.equal(renewed.code, 0, renewed.stderr);
    assert.equal(generationsOf(j.bundle).length, 2);
    assert.equal(Date.parse(statementOf(j.bundle).created), Math.floor(later / 1000) * 1000);
    const loaded = await j.run(load, { now: later });
    assert.equal(loaded.code, 0, loaded.stderr);
  });
});

describe('pull --rehash', () => {
  test('finds a damaged committed blob of the right size and fetches it again; a plain pull believes it', async (t) => {
    const j = await journey(t);
    const [origin] = j.origins;
    const image = await randomIndex({ seed: 2 });
    await origin.put('team/app', '1.0', image);
    const file = await j.manifest('lumen', `images: [${origin.host}/team/app:1.0]`);
    assert.equal((await j.pull(file)).code, 0);
    flipByte(join(j.bundle, 'blobs', String(image.blobs[0]?.digest).replace(':', '/')));
    const verify = ['verify', j.bundle, '--trust', j.key.pub];
    assert.equal((await j.pull(file)).code, 0);
    const damaged = await j.run(verify);
    assert.equal(damaged.code, 5);
    assert.match(damaged.stderr, /--rehash/);
    const repaired = await j.run(['pull', '-f', file, '-o', j.bundle, '--key', j.key.key, '--rehash']);
    assert.equal(repaired.code, 0, repaired.stderr);
    assert.equal((await j.run(verify)).code, 0);
    assert.equal(generationsOf(j.bundle).length, 1, 'repaired in place');
  });
});

describe('references with a tag and a digest', () => {
  test('take all platforms of the index that they pin, and share one name with the tag alone', async (t) => {
    const j = await journey(t);
    const [origin] = j.origins;
    const image = await randomIndex({ seed: 3, platforms: ['linux/amd64', 'linux/arm64', 'linux/s390x'] });
    await origin.put('team/app', '1.0', image);
    const app = `${origin.host}/team/app:1.0`;
    const file = await j.manifest('lumen', 'platforms: [linux/arm64]', `images: ["${app}@${image.digest}"]`);
    assert.equal((await j.pull(file)).code, 0);
    const [content] = statementOf(j.bundle).contents;
    assert.deepEqual([content?.form, content?.targetDigest], ['whole', image.digest]);

    const both = await j.manifest('both', `images: ["${app}", "${app}@${image.digest}"]`);
    const directory = join(j.dir, 'both');
    const pulled = await j.run(['pull', '-f', both, '-o', directory, '--key', j.key.key]);
    assert.equal(pulled.code, 0, pulled.stderr);
    const { manifests } = readJson(join(directory, 'index.json')) as { manifests: { digest: string }[] };
    assert.equal(manifests.filter((root) => root.digest === image.digest).length, 1);
    assert.equal((await j.run(['verify', directory, '--trust', j.key.pub])).code, 0);
  });

  test('a tag that means a sha512 digest is refused when it is locked, with the form that works', async (t) => {
    const j = await journey(t);
    const [origin] = j.origins;
    await origin.put('team/app', '1.0', await randomIndex({ seed: 4, algorithm: 'sha512' }));
    const locked = await j.lock(await j.manifest('lumen', `images: [${origin.host}/team/app:1.0]`));
    assert.equal(locked.code, 3, locked.stderr);
    assert.match(locked.stderr, /team\/app@sha512:/);
  });
});
