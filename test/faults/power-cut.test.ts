/**
 * A power cut, cheaply: an ext4 in a file, whose image is copied at an instant and mounted elsewhere, journal replayed. What was not flushed is not in
 * the copy. Needs root, loop devices and mkfs.ext4; test/faults/write-order.test.ts looks at the order of flushes everywhere.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { it } from 'node:test';
import { isBundleError } from '../../src/core/errors.ts';
import type { FileSystem } from '../../src/files/file-system.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { applyMirrors } from '../../src/k3s/apply.ts';
import { desiredMirrors } from '../../src/k3s/desired-mirrors.ts';
import { statePath, type TargetState } from '../../src/load/state.ts';
import { parseTarget } from '../../src/load/target.ts';
import { writeLock } from '../../src/lock/project.ts';
import { createFaultFileSystem } from '../support/fault-file-system.ts';
import { disk, faultyTransport, loadInto, startJourney, startStore } from '../support/journey.ts';
import { withTempDir } from '../support/temp-dir.ts';

const sh = (program: string, ...args: string[]): string => execFileSync(program, args, { encoding: 'utf8', stdio: 'pipe' });

type Disk = Readonly<{
  /** Where it is mounted. */
  root: string;
  /** Keeps what is on the disk at this instant. */
  cut(): void;
  /** Looks at what each cut left, mounted anew, oldest first. */
  after(look: (root: string, cut: number) => Promise<void>): Promise<void>;
}>;

async function withDisk(use: (d: Disk) => Promise<void>): Promise<void> {
  await withTempDir(async (work) => {
    const [image, root] = [`${work}/image`, `${work}/root`];
    const cuts: string[] = [];
    sh('truncate', '-s', '16M', image);
    sh('mkfs.ext4', '-q', '-F', image);
    await mkdir(root);
    // Nothing reaches the disk by the mere passing of time.
    sh('mount', '-o', 'loop,commit=600', image, root);
    let mounted = true;
    const unmount = (): void => {
      if (mounted) sh('umount', root);
      mounted = false;
    };
    const look = async (see: (root: string, cut: number) => Promise<void>): Promise<void> => {
      unmount();
      for (const [i, cut] of cuts.entries()) {
        sh('mount', '-o', 'loop', cut, root);
        mounted = true;
        await see(root, i + 1);
        unmount();
      }
    };
    const cut = (): void => {
      cuts.push(`${work}/cut-${cuts.length}`);
      sh('cp', '--sparse=always', image, cuts.at(-1) as string);
    };
    try {
      await use({ root, cut, after: look });
    } finally {
      unmount();
    }
  }, 'bundle-power-');
}

async function whyNot(): Promise<string | false> {
  try {
    await withDisk(async () => undefined);
    return false;
  } catch (error) {
    return `no ext4 on a loop device here: ${(error as Error).message.split('\n')[0]}`;
  }
}
const skip = await whyNot();

/** Cuts the power after every change of the disk that matches. */
function cutting(inner: FileSystem, d: Disk, where: RegExp): FileSystem {
  const watched =
    (name: 'rename' | 'syncDir') =>
    async (path: string, to?: string): Promise<void> => {
      await (name === 'rename' ? inner.rename(path, to as string) : inner.syncDir(path));
      if (where.test(`${name} ${path} ${to ?? ''}`)) d.cut();
    };
  return { ...inner, rename: watched('rename'), syncDir: watched('syncDir') };
}

it('a pull that reported success has its generation on the disk, and one that was cut off is whole or not there', {
  skip,
}, async (t) => {
  const journey = await startJourney(t);
  await withDisk(async (d) => {
    const directory = `${d.root}/bundle`;
    const first = await journey.pull(directory, 0, nodeFileSystem);
    d.cut();
    const second = await journey.pull(directory, 1, cutting(nodeFileSystem, d, /rename|generations/), { keep: 1 });
    d.cut();
    const seen: number[] = [];
    await d.after(async (root, cut) => {
      const { generation } = await journey.verify(`${root}/bundle`, {}, disk).catch((error) => {
        throw new Error(`cut ${cut}: ${String(error)}`);
      });
      seen.push(generation.sequence);
      // What was cut off goes on, with the lock of a process of before the cut in its way.
      if (cut % 4 === 0) {
        await clearLock(`${root}/bundle`);
        assert.equal((await journey.pull(`${root}/bundle`, 1, disk, { keep: 1 })).sequence, second.sequence);
        await journey.verify(`${root}/bundle`, {}, disk);
      }
    });
    assert.equal(seen[0], first.sequence);
    assert.equal(seen.at(-1), second.sequence, 'success was reported, and the power cut took it back');
    assert.deepEqual(seen, [...seen].sort(), 'never back to the generation before');
    t.diagnostic(
      `${seen.length} cuts: ${seen.filter((s) => s === first.sequence).length} before the commit, the others after it`,
    );
  });
});

/** The boot id in a lock says that its owner is of before the cut: here nothing was booted, so it is put in. */
async function clearLock(directory: string): Promise<void> {
  const path = `${directory}/.lock/owner.json`;
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text !== undefined) await writeFile(path, text.replace(/"bootId": "[^"]*"/, '"bootId": "before the cut"'));
}

it('without fsync the same power cut loses the bundle: what the test above looks at is there to be lost', { skip }, async (t) => {
  const journey = await startJourney(t);
  await withDisk(async (d) => {
    await journey.pull(`${d.root}/bundle`, 0, disk);
    d.cut();
    await d.after(async (root) => {
      const ended = await journey.verify(`${root}/bundle`, {}, disk).then(
        () => 'whole',
        (error: unknown) => (isBundleError(error) ? error.code : String(error)),
      );
      assert.notEqual(ended, 'whole');
      t.diagnostic(`verify said ${ended}`);
    });
  });
});

it('at the instant of each tag the state on the disk says "loading", and after success "loaded" with its receipt', {
  skip,
}, async (t) => {
  const journey = await startJourney(t);
  const store = await startStore(t);
  const directory = journey.path();
  const { sequence } = await journey.pull(directory, 0);
  const bundle = await journey.verify(directory);
  await withDisk(async (d) => {
    let cuts = 0;
    const inner = faultyTransport();
    const transport: typeof inner = {
      ...inner,
      async send(request) {
        if (request.method === 'PUT' && /\/manifests\/[^/:]+$/.test(decodeURIComponent(request.url.pathname))) {
          d.cut();
          cuts++;
        }
        return inner.send(request);
      },
    };
    const path = (root: string): string => statePath(`${root}/state`, parseTarget(store.host), 'lumen');
    await loadInto(store, bundle, `${d.root}/state`, { fs: nodeFileSystem, transport });
    d.cut();
    cuts++;
    const states: TargetState[] = [];
    await d.after(async (root) => {
      states.push(JSON.parse(await readFile(path(root), 'utf8')) as TargetState);
      if (states.length === cuts)
        assert.match(await readFile(path(root).replace(/lumen\.json$/, 'receipts/lumen.receipt.json'), 'utf8'), /"sequence"/);
    });
    assert.ok(cuts > 4, "three tags of images, signatures' before them, and the end");
    assert.equal(states.length, cuts);
    for (const state of states) assert.equal(state.highest.sequence, sequence);
    for (const state of states.slice(0, -1)) assert.equal(state.loading?.sequence, sequence);
    assert.equal(states.at(-1)?.loaded?.sequence, sequence);
    t.diagnostic(`${states.length} cuts`);
  });
});

it('registries.yaml is the old file or the new one after a cut at any rename, and the lock is there once it was reported', {
  skip,
}, async (t) => {
  const journey = await startJourney(t);
  await withDisk(async (d) => {
    const before = '# by hand\nmirrors:\n  corp.example:\n    endpoint: ["https://mirror.corp"]\n';
    await mkdir(`${d.root}/k3s`);
    await writeFile(`${d.root}/k3s/registries.yaml`, before);
    sh('sync', '-f', d.root);
    const desired = desiredMirrors({ origins: ['docker.io'], endpoints: ['https://node-1:5000'], directNames: true });
    const request = { bundle: 'lumen', desired, force: false, dryRun: false };
    const fs = cutting(nodeFileSystem, d, /^(rename|syncDir) /);
    await applyMirrors(fs, { ...request, file: `${d.root}/k3s/registries.yaml`, stateRoot: `${d.root}/state` });
    await writeLock(createFaultFileSystem(nodeFileSystem), `${d.root}/lumen.lock.json`, journey.locks[0]);
    d.cut();
    const texts: string[] = [];
    let lock = '';
    await d.after(async (root) => {
      texts.push(await readFile(`${root}/k3s/registries.yaml`, 'utf8'));
      lock = await readFile(`${root}/lumen.lock.json`, 'utf8').catch(() => '');
    });
    const after = texts.at(-1) as string;
    assert.match(after, /# by hand[\s\S]*docker\.io/);
    for (const text of texts) assert.ok(text === before || text === after, 'neither the old file nor the new one');
    assert.equal(JSON.parse(lock).name, 'lumen');
    t.diagnostic(`${texts.length} cuts`);
  });
});
