/** Links planted where pull, load and mirrors are about to write (oras-go CVE-2026-50162's family): what they point at is not touched. */
import assert from 'node:assert/strict';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { it } from 'node:test';
import { exitCodeOf, isBundleError } from '../../src/core/errors.ts';
import { applyMirrors } from '../../src/k3s/apply.ts';
import { desiredMirrors } from '../../src/k3s/desired-mirrors.ts';
import { statePath } from '../../src/load/state.ts';
import { parseTarget } from '../../src/load/target.ts';
import { disk, loadInto, startJourney, startStore, treeOf } from '../support/journey.ts';

const PRECIOUS = 'somebody else needs this\n';

async function endOf(run: Promise<unknown>): Promise<number> {
  try {
    await run;
    return 0;
  } catch (error) {
    assert.ok(isBundleError(error), `ended with ${error instanceof Error ? error.stack : String(error)}`);
    return exitCodeOf(error.code);
  }
}

it('pull: every name that it writes, planted as a link to a file or a folder, ends in 0, 5 or 7 and leaves the other end alone', async (t) => {
  const journey = await startJourney(t);
  const good = journey.path('good');
  const { sequence } = await journey.pull(good, 0);
  const names = Object.keys(await treeOf(good));
  const blobs = names.filter((name) => /^blobs\/sha256\/./.test(name)).map((name) => `.ingest/sha256-${name.slice(14)}`);
  const codes = new Map<number, number>();
  for (const name of [...names, ...blobs, '.ingest', '.lock', `generations/.tmp-${sequence}`]) {
    for (const kind of ['file', 'folder', 'nothing'] as const) {
      const [directory, elsewhere] = [journey.path('planted'), journey.path('elsewhere')];
      await mkdir(dirname(join(directory, name)), { recursive: true });
      await mkdir(`${elsewhere}/folder`, { recursive: true });
      for (const precious of ['file', 'folder/file']) await writeFile(`${elsewhere}/${precious}`, PRECIOUS);
      const before = await treeOf(elsewhere);
      await symlink(`${elsewhere}/${kind}`, join(directory, name));
      const code = await endOf(journey.pull(directory, 0));
      codes.set(code, (codes.get(code) ?? 0) + 1);
      assert.ok([0, 5, 7].includes(code), `${name} -> ${kind}: ended with ${code}`);
      assert.deepEqual(await treeOf(elsewhere), before, `${name} -> ${kind}: it was written through`);
      if (code === 0) await journey.verify(directory);
    }
  }
  t.diagnostic([...codes].map(([code, n]) => `exit ${code}: ${n}`).join(', '));
});

it('load: its state, receipt and lock as links are not written through', async (t) => {
  const journey = await startJourney(t);
  const store = await startStore(t);
  const directory = journey.path();
  await journey.pull(directory, 0);
  const bundle = await journey.verify(directory);
  const state = statePath('', parseTarget(store.host), 'lumen');
  const receipt = `${dirname(state)}/receipts/lumen.receipt.json`;
  for (const name of [state, receipt, `${dirname(state)}/.lock`]) {
    const [root, victim] = [journey.path('state'), journey.path('victim')];
    await mkdir(dirname(`${root}${name}`), { recursive: true });
    await writeFile(victim, PRECIOUS);
    await symlink(victim, `${root}${name}`);
    store.reset();
    const code = await endOf(loadInto(store, bundle, root));
    assert.ok([0, 5, 6, 7, 9].includes(code), `${name}: ended with ${code}`);
    // A state that is a link could be anybody's: an old bundle would pass.
    if (name === state) assert.deepEqual([code !== 0, store.writes().length], [true, 0]);
    assert.equal(await readFile(victim, 'utf8'), PRECIOUS, name);
  }
});

it('mirrors: the record and the backup as links are not written through', async (t) => {
  const journey = await startJourney(t);
  const desired = desiredMirrors({ origins: ['docker.io'], endpoints: ['https://node-1:5000'], directNames: true });
  for (const name of ['k3s/registries.yaml.bak-lumen', 'state/mirrors/.lock']) {
    const [root, victim] = [journey.path('node'), journey.path('victim')];
    await mkdir(dirname(`${root}/${name}`), { recursive: true });
    await mkdir(`${root}/k3s`, { recursive: true });
    await writeFile(`${root}/k3s/registries.yaml`, 'mirrors:\n  corp.example:\n    endpoint: ["https://mirror.corp"]\n');
    await writeFile(victim, PRECIOUS);
    await symlink(victim, `${root}/${name}`);
    const request = {
      file: `${root}/k3s/registries.yaml`,
      bundle: 'lumen',
      desired,
      stateRoot: `${root}/state`,
      force: false,
      dryRun: false,
    };
    await endOf(applyMirrors(disk, request));
    assert.equal(await readFile(victim, 'utf8'), PRECIOUS, name);
  }
});
