/** Promise 7: registries.yaml is the old file or the new one at every instant, and a rerun leaves the wanted content and records. */
import assert from 'node:assert/strict';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { exitCodeOf, isBundleError } from '../../src/core/errors.ts';
import type { FileSystem } from '../../src/files/file-system.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { applyMirrors } from '../../src/k3s/apply.ts';
import { desiredMirrors } from '../../src/k3s/desired-mirrors.ts';
import {
  buryOwners,
  createFaultFileSystem,
  type DiskFault,
  type FaultFileSystem,
  faultName,
  Killed,
  killsOf,
  withoutSync,
} from '../support/fault-file-system.ts';
import { treeOf } from '../support/journey.ts';
import { type Ending, tempDir } from '../support/temp-dir.ts';

const disk = withoutSync(nodeFileSystem);

/** What somebody else wrote, comments and all. */
const THEIRS = `# ours, do not lose\nmirrors:\n  mirror.corp:\n    endpoint: ["https://mirror.corp"] # by hand\n`;

const wishes = (origins: string[], endpoint: string) =>
  desiredMirrors({
    origins,
    endpoints: [endpoint],
    directNames: true,
    nodeAuth: { username: 'node', password: 'canary-password' },
  });

const request = (root: string, bundle: string, origins: string[], endpoint = 'https://node-1:5000') => ({
  file: join(root, 'k3s/registries.yaml'),
  bundle,
  desired: wishes(origins, endpoint),
  stateRoot: join(root, 'state'),
  force: false,
  dryRun: false,
});
const update = (root: string, fs: FileSystem) => applyMirrors(fs, request(root, 'lumen', ['docker.io', 'quay.io']));

/** A node where "lumen" wrote before, with one origin less, beside another bundle and other people's entries: made anew each time it is asked for. */
async function prepare(t: Ending): Promise<() => Promise<string>> {
  const work = await tempDir(t);
  const [root, template] = [join(work, 'node'), join(work, 'template')];
  await mkdir(join(root, 'k3s'), { recursive: true });
  await writeFile(join(root, 'k3s/registries.yaml'), THEIRS);
  await applyMirrors(disk, request(root, 'other', ['ghcr.io']));
  await applyMirrors(disk, request(root, 'lumen', ['docker.io']));
  await cp(root, template, { recursive: true });
  return async () => {
    await rm(root, { recursive: true });
    await cp(template, root, { recursive: true });
    return root;
  };
}

async function undisturbed(fresh: () => Promise<string>) {
  const root = await fresh();
  const file = join(root, 'k3s/registries.yaml');
  const before = await readFile(file);
  const fs = createFaultFileSystem(disk);
  await update(root, fs);
  const after = await readFile(file);
  assert.notDeepEqual(after, before);
  for (const kept of ['# ours, do not lose', 'mirror.corp', '# by hand', 'ghcr.io', 'docker.io', 'quay.io'])
    assert.ok(after.toString().includes(kept), kept);
  return { before, after, want: await treeOf(root), operations: fs.operations };
}

async function outcomeOf(run: Promise<unknown>): Promise<unknown> {
  return run.then(
    () => undefined,
    (error: unknown) => error,
  );
}

it('a change of registries.yaml, killed around every change of the disk', async (t) => {
  const fresh = await prepare(t);
  const { before, after, want, operations } = await undisturbed(fresh);
  const seen = { old: 0, new: 0 };
  const check = async (fault: DiskFault, fs: FaultFileSystem, root: string): Promise<void> => {
    const name = faultName(fault, operations);
    assert.ok((await outcomeOf(update(root, fs))) instanceof Killed, name);
    const now = await readFile(join(root, 'k3s/registries.yaml'));
    assert.ok(now.equals(before) || now.equals(after), `${name}: neither the old file nor the new one`);
    seen[now.equals(before) ? 'old' : 'new']++;
    const backup = await readFile(join(root, 'k3s/registries.yaml.bak-lumen')).catch(() => undefined);
    if (now.equals(after)) assert.deepEqual(backup, before, `${name}: the file is new and the old one is not kept`);
    await buryOwners(root);
    await update(root, disk);
    assert.deepEqual(await treeOf(root), want, `${name}: content, backup and record after the rerun`);
  };
  for (const fault of killsOf(operations)) await check(fault, createFaultFileSystem(disk, fault), await fresh());
  t.diagnostic(`${seen.old + seen.new} kills around ${operations.length} changes; old file ${seen.old}, new file ${seen.new}`);
});

it('a disk error at every change leaves the old file or the new one, exit code 7, and a rerun finishes', async (t) => {
  const fresh = await prepare(t);
  const { before, after, want, operations } = await undisturbed(fresh);
  for (const [i] of operations.entries()) {
    if (i === 0) continue; // the test below
    const fault: DiskFault = { fail: (['ENOSPC', 'EIO', 'EROFS'] as const)[i % 3] as 'EIO', at: i + 1, forever: i % 3 === 2 };
    const name = faultName(fault, operations);
    const root = await fresh();
    const error = await outcomeOf(update(root, createFaultFileSystem(disk, fault)));
    assert.ok(isBundleError(error), `${name}: ${String(error)}`);
    assert.equal(exitCodeOf(error.code), 7, `${name}: ${error.code}`);
    const now = await readFile(join(root, 'k3s/registries.yaml'));
    assert.ok(now.equals(before) || now.equals(after), `${name}: neither the old file nor the new one`);
    await buryOwners(root);
    await update(root, disk);
    assert.deepEqual(await treeOf(root), want, `${name}: after the rerun`);
  }
  t.diagnostic(`${operations.length - 1} faults`);
});

it('a state directory that can not be made is exit code 7 too', async (t) => {
  const root = await (await prepare(t))();
  const error = await outcomeOf(update(root, createFaultFileSystem(disk, { fail: 'EROFS', at: 1 })));
  assert.ok(isBundleError(error), String(error));
  assert.equal(error.code, 'E_DISK');
});

it('a rerun leaves no temporary file of a killed run', async (t) => {
  const fresh = await prepare(t);
  const { want, operations } = await undisturbed(fresh);
  const writes = operations.flatMap(({ change }, i) => (change === 'write' ? [i + 1] : []));
  for (const at of writes) {
    const root = await fresh();
    await outcomeOf(update(root, createFaultFileSystem(disk, { kill: 'torn', at })));
    await buryOwners(root);
    await update(root, disk);
    assert.deepEqual(await treeOf(root), want);
  }
});
