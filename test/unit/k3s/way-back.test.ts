/** A change that no restart followed, then a restart that fails: what k3s ran with comes back, or nobody says so. */
import assert from 'node:assert/strict';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { nodeFileSystem } from '../../../src/files/node-file-system.ts';
import { applyMirrors } from '../../../src/k3s/apply.ts';
import { desiredMirrors } from '../../../src/k3s/desired-mirrors.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { type Ending, tempDir } from '../../support/temp-dir.ts';

const OLD = '# by hand\nmirrors:\n  mirror.corp: {endpoint: ["https://mirror.corp"]}\n';

async function node(t: Ending, existing = OLD) {
  const root = await tempDir(t);
  const file = `${root}/k3s/registries.yaml`;
  await mkdir(`${root}/k3s`);
  await writeFile(file, existing);
  const apply = (origins: string[], bundle = 'lumen', more: { breakForeign?: boolean } = {}) =>
    applyMirrors(nodeFileSystem, {
      file,
      bundle,
      desired: desiredMirrors({ origins, endpoints: ['https://node-1:5000'], directNames: true }),
      stateRoot: `${root}/state`,
      force: false,
      dryRun: false,
      ...more,
    });
  return { root, file, apply, text: () => readFile(file, 'utf8') };
}

test('the bytes from before the first unrestarted change come back, whichever bundles changed it since', async (t) => {
  const { apply, text, file } = await node(t);
  await apply(['docker.io']);
  await apply(['ghcr.io'], 'other');
  await apply(['docker.io', 'quay.io']);
  const last = await apply(['docker.io', 'quay.io']);
  assert.deepEqual([last.changed, last.restartOwed], [false, true]);
  assert.equal(await readFile(`${file}.bak-lumen`, 'utf8'), OLD, 'the only copy is not overwritten');
  assert.deepEqual(await last.restore(), { done: true });
  assert.equal(await text(), OLD);
  const next = await apply(['docker.io', 'quay.io']);
  assert.deepEqual([next.changed, next.restartOwed], [true, true], 'the records went back too');
});

test('where there was no file, there is none again', async (t) => {
  const { apply, file } = await node(t, '');
  await rm(file);
  await apply(['docker.io']);
  assert.deepEqual(await (await apply(['docker.io'])).restore(), { done: true });
  await assert.rejects(stat(file), { code: 'ENOENT' });
  assert.equal((await apply(['docker.io'])).changed, true);
});

test('after a restart that worked, the next way back starts there', async (t) => {
  const { apply, text } = await node(t);
  await (await apply(['docker.io'])).restarted();
  const ran = await text();
  assert.equal((await apply(['docker.io'])).restartOwed, false);
  await apply(['docker.io', 'quay.io']);
  assert.deepEqual(await (await apply(['docker.io', 'quay.io'])).restore(), { done: true });
  assert.equal(await text(), ran);
});

test('without its backup the old file is not claimed to be back, and the restart stays owed', async (t) => {
  const { apply, text, file } = await node(t);
  await apply(['docker.io']);
  await writeFile(`${file}.bak-lumen`, 'mirrors:\n');
  const last = await apply(['docker.io']);
  const now = await text();
  const restored = await last.restore();
  assert.ok(!restored.done);
  assert.equal(restored.backup, `${file}.bak-lumen`);
  assert.equal(await text(), now);
  assert.equal((await apply(['docker.io'])).restartOwed, true);
});

test('what somebody wrote while k3s was restarted stays', async (t) => {
  const { apply, text, file } = await node(t);
  const done = await apply(['docker.io']);
  const theirs = `${await text()}# theirs\n`;
  await writeFile(file, theirs);
  assert.equal((await done.restore()).done, false);
  assert.equal(await text(), theirs);
});

test('the lock of another host is taken over when that is asked for', async (t) => {
  const { root, apply } = await node(t);
  const lock = `${root}/state/mirrors/.lock`;
  await mkdir(lock, { recursive: true });
  const owner = {
    pid: 1,
    host: 'another-host.invalid',
    bootId: 'b',
    startTime: '1',
    token: '0'.repeat(32),
    command: 'bundle mirrors x',
  };
  await writeFile(`${lock}/owner.json`, JSON.stringify(owner));
  await rejectsWith(apply(['docker.io']), 'E_LOCKED', /another-host/);
  assert.equal((await apply(['docker.io'], 'lumen', { breakForeign: true })).changed, true);
});
