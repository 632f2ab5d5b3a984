/** The commands as they are typed, from their first change of the disk to their last: killed, or with the disk failing, around every one. */
import assert from 'node:assert/strict';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { it, type TestContext } from 'node:test';
import { type Journey, journey } from '../support/command-journey.ts';
import {
  buryOwners,
  createFaultFileSystem,
  type DiskFault,
  type FaultFileSystem,
  faultName,
  killsOf,
  type Operation,
} from '../support/fault-file-system.ts';
import { disk, NOW, nameless, treeOf } from '../support/journey.ts';
import { randomImage } from '../support/random-image.ts';

const small = (seed: number) => randomImage({ seed, files: 1, bytes: 400, layers: 1 });
const TEMPORARY = /(^|\/)\.tmp-[0-9a-f]{12}$/;

/** In turn, so that each errno meets each kind of change somewhere. */
const failuresOf = (operations: readonly Operation[]): DiskFault[] =>
  operations.map((_, i) => ({ fail: (['ENOSPC', 'EIO', 'EROFS'] as const)[i % 3] as 'EIO', at: i + 1, forever: i % 3 === 2 }));

/** A manifest that was locked once; since then its tag moved. */
async function moved(t: TestContext): Promise<{ j: Journey; file: string; lock: string; old: Buffer }> {
  const j = await journey(t);
  const [{ host, put }] = j.origins;
  await put('team/app', '1.0', await small(1));
  const file = await j.manifest('lumen', `images: ["${host}/team/app:1.0"]`);
  assert.equal((await j.run(['lock', '-f', file], { now: NOW })).code, 0);
  await put('team/app', '1.0', await small(2));
  const lock = file.replace(/\.yaml$/, '.lock.json');
  return { j, file, lock, old: await readFile(lock) };
}

it('"lock --update", killed or failed around every change: the old lock or the new one, whole, and the rerun ends with the new', async (t) => {
  const { j, file, lock, old } = await moved(t);
  const update = (fs: FaultFileSystem | typeof disk) => j.run(['lock', '-f', file, '--update'], { fs, now: NOW + 3_600_000 });
  const counting = createFaultFileSystem(disk);
  assert.equal((await update(counting)).code, 0);
  const wanted = await readFile(lock);
  assert.notDeepEqual(wanted, old);
  const seen = { old: 0, new: 0 };
  for (const fault of [...killsOf(counting.operations), ...failuresOf(counting.operations)]) {
    const name = faultName(fault, counting.operations);
    await writeFile(lock, old);
    const fs = createFaultFileSystem(disk, fault);
    const { code } = await update(fs);
    assert.ok(fs.struck > 0, name);
    if ('fail' in fault) assert.equal(code, 7, name);
    const now = await readFile(lock);
    assert.ok(now.equals(old) || now.equals(wanted), `${name}: neither the old lock nor the new one`);
    seen[now.equals(old) ? 'old' : 'new']++;
    assert.equal((await update(disk)).code, 0, name);
    assert.deepEqual(await readFile(lock), wanted, name);
  }
  t.diagnostic(
    `${seen.old + seen.new} kills and failures around ${counting.operations.length} changes; old ${seen.old}, new ${seen.new}`,
  );
});

it('"keys generate", killed around every change: no key is ever replaced; what is left over is said', async (t) => {
  const j = await journey(t);
  const generate = (prefix: string, fs: FaultFileSystem | typeof disk) =>
    j.run(['keys', 'generate', '-o', prefix], { fs, env: { BUNDLE_KEY_PASSWORD: 'killed' } });
  const counting = createFaultFileSystem(disk);
  assert.equal((await generate(j.path('keys-0/release'), counting)).code, 0);
  let serial = 0;
  // In turn, for time: each run takes the half second that makes guessing the password dear.
  const faults = [...killsOf(counting.operations), ...failuresOf(counting.operations)].filter(
    (fault) => (fault.at % 2 === 0) === 'fail' in fault,
  );
  for (const fault of faults) {
    const name = faultName(fault, counting.operations);
    const prefix = j.path(`keys-${++serial}`, 'release');
    const { code } = await generate(prefix, createFaultFileSystem(disk, fault));
    const left = await treeOf(dirname(prefix)).catch(() => ({}));
    if ('fail' in fault) {
      assert.equal(code, 7, name);
      // A disk that stays read-only can't be tidied either.
      if (!fault.forever) assert.deepEqual(left, {}, `${name}: half a pair was left`);
    }
    const again = await generate(prefix, disk);
    if (Object.keys(left).length === 0) {
      assert.equal(again.code, 0, name);
      continue;
    }
    assert.equal(again.code, 2, name);
    assert.match(again.stderr, /never overwritten[\s\S]*left over from a run that was stopped/, name);
    assert.deepEqual(await treeOf(dirname(prefix)), left, `${name}: a key was replaced`);
  }
  t.diagnostic(`${serial} kills and failures around ${counting.operations.length} changes`);
});

/** node-1 with a registries.yaml that somebody wrote, and a bundle that was loaded in an older edition. */
async function node(t: TestContext) {
  const j = await journey(t);
  const [{ host, put }] = j.origins;
  const file = await j.manifest('lumen', `images: ["${host}/team/app:1.0"]`);
  await put('team/app', '1.0', await small(1));
  assert.equal((await j.run(['pull', '-f', file, '-o', j.path('older'), '--key', j.key.key], { now: NOW })).code, 0);
  await cp(j.path('older'), j.bundle, { recursive: true });
  await put('team/app', '1.0', await small(2));
  const later = { now: NOW + 3_600_000 };
  assert.equal((await j.run(['lock', '-f', file, '--update'], later)).code, 0);
  assert.equal((await j.run(['pull', '-f', file, '-o', j.bundle, '--key', j.key.key], later)).code, 0);
  const root = j.path('node');
  const yaml = `${root}/k3s/registries.yaml`;
  const flags = ['--registry', j.target.host, '--trust', j.key.pub, '--state', `${root}/state`, '--registries-yaml', yaml];
  const load = (bundle: string, fs: FaultFileSystem | typeof disk, endpoint: string) =>
    j.run(['load', bundle, ...flags, '--endpoint', endpoint], { fs, now: NOW + 7_200_000 });
  await mkdir(`${root}/k3s`, { recursive: true });
  await writeFile(yaml, '# by hand\nmirrors:\n  corp.example:\n    endpoint: ["https://mirror.corp"]\n');
  assert.equal((await load(j.path('older'), disk, 'https://node-1:5000')).code, 0);
  await cp(root, j.path('template'), { recursive: true });
  /** As it was before; the blobs of the newer edition may be at the target already, which changes nothing here. */
  const fresh = async (): Promise<void> => {
    await rm(root, { recursive: true });
    await cp(j.path('template'), root, { recursive: true });
  };
  return { j, root, yaml, fresh, update: (fs: FaultFileSystem | typeof disk) => load(j.bundle, fs, 'https://10.0.0.1:5000') };
}

it('"load" with its mirrors, killed or failed around every change: never half a registries.yaml, and the rerun ends like an undisturbed one', async (t) => {
  const { j, root, yaml, fresh, update } = await node(t);
  const before = await readFile(yaml);
  const counting = createFaultFileSystem(disk);
  await fresh();
  const ran = await update(counting);
  assert.equal(ran.code, 0, ran.stderr);
  const [want, after] = [await treeOf(root), await readFile(yaml)];
  assert.notDeepEqual(after, before);
  const tag = await j.target.digest(j.at(j.origins[0], 'team/app'), '1.0');
  const codes = new Map<number, number>();
  const states = new Set<string>();
  let faults = 0;
  // A kill after a flush leaves what one before it leaves: test/faults/kill-load.test.ts has those too.
  const idle = ['sync', 'syncDir', 'syncFile', 'close'];
  const kills = [...killsOf(counting.operations)].filter(({ at }) => !idle.includes(counting.operations[at - 1]?.change ?? ''));
  for (const fault of [...kills, ...failuresOf(counting.operations)]) {
    const name = faultName(fault, counting.operations);
    await fresh();
    const { code, stderr } = await update(createFaultFileSystem(disk, fault));
    if ('fail' in fault) {
      assert.ok([7, 9].includes(code), `${name}: ended with ${code}: ${stderr}`);
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
    const now = await readFile(yaml);
    assert.ok(now.equals(before) || now.equals(after), `${name}: neither the old file nor the new one`);
    faults++;
    // What a kill before fsync and one after it leave is the same.
    const state = nameless(await treeOf(root));
    if (states.has(state)) continue;
    states.add(state);
    await buryOwners(root);
    const again = await update(disk);
    assert.equal(again.code, 0, `${name}: ${again.stderr}`);
    assert.deepEqual(await treeOf(root), want, `${name}: state and files after the rerun`);
    assert.equal(await j.target.digest(j.at(j.origins[0], 'team/app'), '1.0'), tag);
  }
  const ends = [...codes].map(([code, n]) => `exit ${code}: ${n}`).join(', ');
  t.diagnostic(`${faults} kills and failures around ${counting.operations.length} changes; failures ended with ${ends}`);
});

it('a temporary file of a killed run is in the way of nobody', async (t) => {
  const { j, file, lock } = await moved(t);
  const counting = createFaultFileSystem(disk);
  const at =
    1 +
    (await j
      .run(['lock', '-f', file, '--update'], { fs: counting, now: NOW })
      .then(() => counting.operations.findIndex((o) => o.change === 'write')));
  await rm(lock);
  await j.run(['lock', '-f', file], { fs: createFaultFileSystem(disk, { kill: 'torn', at }), now: NOW });
  assert.equal(Object.keys(await treeOf(dirname(lock))).filter((name) => TEMPORARY.test(name)).length, 1);
  assert.equal((await j.run(['lock', '-f', file], { now: NOW })).code, 0);
  assert.equal((await j.run(['pull', '-f', file, '-o', j.bundle, '--key', j.key.key], { now: NOW })).code, 0);
});
