/** A clock that is wrong, as after an empty battery behind the gap: what it says decides nothing but an expiry that somebody asked for. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { it } from 'node:test';
import { isWrite, journey, statementOf } from '../support/command-journey.ts';
import { randomImage } from '../support/random-image.ts';

const CLOCKS = {
  'the epoch': 0,
  '1970': Date.parse('1970-06-01T00:00:00Z'),
  '2020': Date.parse('2020-01-01T00:00:00Z'),
  '2099': Date.parse('2099-12-31T23:59:59Z'),
};

async function pulled(t: Parameters<typeof journey>[0], ...lines: string[]) {
  const j = await journey(t);
  await j.origins[0].put('team/app', '1.0', await randomImage({ files: 1, bytes: 500, layers: 1 }));
  const manifest = await j.manifest('lumen', ...lines, `images: ["${j.origins[0].host}/team/app:1.0"]`);
  assert.equal((await j.pull(manifest)).code, 0);
  const at = (state: string, now: number, ...flags: string[]) =>
    j.run(
      ['load', j.bundle, '--registry', j.target.host, '--trust', j.key.pub, '--state', j.path(state), '--skip-mirrors', ...flags],
      { now },
    );
  return { j, manifest, at };
}

it('a bundle without expiry verifies and loads at any time, and the rerun at any other does nothing', async (t) => {
  const { j, at } = await pulled(t);
  for (const [name, now] of Object.entries(CLOCKS)) {
    assert.equal((await j.run(['verify', j.bundle, '--trust', j.key.pub], { now })).code, 0, name);
    const ran = await at(`state-${name}`, now, '--json');
    assert.equal(ran.code, 0, `${name}: ${ran.stderr}`);
    const receipt = JSON.parse(readFileSync(ran.json().targets[0].receipt, 'utf8'));
    assert.equal(receipt.loadedAt, `${new Date(now).toISOString().slice(0, 19)}Z`);
  }
  j.target.clear();
  for (const now of Object.values(CLOCKS)) assert.equal((await at('state-2099', now)).code, 0);
  assert.deepEqual(j.target.requests.filter(isWrite), []);
});

it('locks, generations and signatures do not depend on the clock of the machine that pulls again', async (t) => {
  const { j, manifest } = await pulled(t);
  const first = readFileSync(j.path('bundle/bundle.json'), 'utf8');
  for (const now of Object.values(CLOCKS)) {
    const argv = ['pull', '-f', manifest, '-o', j.path(`again-${now}`), '--key', j.key.key];
    assert.equal((await j.run(argv, { now })).code, 0);
    assert.equal(readFileSync(j.path(`again-${now}`, 'bundle.json'), 'utf8'), first);
  }
});

it('a lock made in 1970 and one made in 2099 give generations that load', async (t) => {
  const { j } = await pulled(t);
  const { host } = j.origins[0];
  for (const [name, now] of Object.entries(CLOCKS)) {
    const bundle = `clock-${name.replaceAll(' ', '-')}`;
    const manifest = await j.manifest(bundle, `images: ["${host}/team/app:1.0"]`);
    const pull = await j.run(['pull', '-f', manifest, '-o', j.path(bundle), '--key', j.key.key], { now });
    assert.equal(pull.code, 0, `${name}: ${pull.stderr}`);
    assert.ok(statementOf(j.path(bundle)).sequence >= 1);
    const load = await j.load(j.path(bundle), '--skip-mirrors', '--state', j.path(`${bundle}-state`));
    assert.equal(load.code, 0, `${name}: ${load.stderr}`);
  }
});

it('an expiry counts by the clock, and by what was seen when the clock is behind that', async (t) => {
  const { j, at } = await pulled(t, 'expires: 24h');
  assert.equal((await at('fresh', CLOCKS['2099'])).code, 6);
  assert.deepEqual(j.target.requests.filter(isWrite), []);
  // A node that never saw anything has only its clock.
  assert.equal((await at('fresh', CLOCKS['1970'])).code, 0);
});
