/** A disk that is full, broken or read-only at any change: exit code 7 (9 where the target was written), and a rerun on a good disk finishes. */
import assert from 'node:assert/strict';
import { cp, readdir, rm } from 'node:fs/promises';
import { it, type TestContext } from 'node:test';
import { exitCodeOf, isBundleError } from '../../src/core/errors.ts';
import type { FileSystem } from '../../src/files/file-system.ts';
import { rejectsWith } from '../support/assert-code.ts';
import { buryOwners, createFaultFileSystem, type DiskFault, faultName, type Operation } from '../support/fault-file-system.ts';
import { disk, type Journey, loadInto, nameless, startJourney, startStore, treeOf } from '../support/journey.ts';

/** Once full, once broken, and read-only from there on. */
function* faultsOf(operations: readonly Operation[]): Generator<Extract<DiskFault, { fail: string }>> {
  for (const [i] of operations.entries()) {
    yield { fail: 'ENOSPC', at: i + 1 };
    yield { fail: 'EIO', at: i + 1 };
    yield { fail: 'EROFS', at: i + 1, forever: true };
  }
}

type Outcome = Readonly<{ code: string; exit: number }>;

async function outcomeOf(run: Promise<unknown>, name: string): Promise<Outcome> {
  try {
    await run;
    return { code: 'finished', exit: 0 };
  } catch (error) {
    assert.ok(isBundleError(error), `${name}: ended with ${error instanceof Error ? error.stack : String(error)}`);
    return { code: error.code, exit: exitCodeOf(error.code) };
  }
}

const tally = (codes: ReadonlyMap<string, number>): string => [...codes].map(([code, n]) => `${code} ${n}`).join(', ');
const count = (codes: Map<string, number>, code: string): unknown => codes.set(code, (codes.get(code) ?? 0) + 1);

async function failPullEverywhere(t: TestContext, journey: Journey, edition: number, from?: string): Promise<void> {
  const start = async (directory: string): Promise<void> => {
    if (from !== undefined) await cp(from, directory, { recursive: true });
  };
  const undisturbed = journey.path();
  await start(undisturbed);
  const counting = createFaultFileSystem(disk);
  await journey.pull(undisturbed, edition, counting);
  const want = await treeOf(undisturbed);
  const codes = new Map<string, number>();
  const states = new Set<string>();
  let faults = 0;
  for (const fault of faultsOf(counting.operations)) {
    // In turn, for time: the first pull and the update make the same kinds of change, so that each kind meets all three.
    if (from === undefined && fault.at % 2 === 0) continue; // the update has every change of its own
    if ((fault.at + edition) % 3 !== ['ENOSPC', 'EIO', 'EROFS'].indexOf(fault.fail)) continue;
    const name = faultName(fault, counting.operations);
    const directory = journey.path();
    await start(directory);
    const fs = createFaultFileSystem(disk, fault);
    const { code, exit } = await outcomeOf(journey.pull(directory, edition, fs), name);
    assert.ok(fs.struck > 0, `${name}: it did not strike`);
    assert.equal(exit, 7, `${name}: ended with ${code}`);
    if (fault.fail === 'ENOSPC') assert.equal(code, 'E_DISK_FULL', name);
    count(codes, code);
    faults++;
    const state = nameless(await treeOf(directory).catch(() => ({})));
    if (!states.has(state)) {
      states.add(state);
      await buryOwners(directory);
      await journey.pull(directory, edition);
      assert.deepEqual(await treeOf(directory), want, `${name}: the rerun must end with the same bytes and nothing beside them`);
    }
    await rm(directory, { recursive: true, force: true });
  }
  t.diagnostic(`${faults} faults at ${counting.operations.length} changes: ${tally(codes)}`);
}

it('the first pull, with the disk full, broken or read-only at every change', async (t) => {
  await failPullEverywhere(t, await startJourney(t), 0);
});

it('an update, with the disk full, broken or read-only at every change', async (t) => {
  const journey = await startJourney(t);
  const first = journey.path();
  await journey.pull(first, 0);
  await failPullEverywhere(t, journey, 1, first);
});

it('a load, with the disk of its state full, broken or read-only at every change', async (t) => {
  const journey = await startJourney(t);
  const store = await startStore(t);
  const directory = journey.path();
  await journey.pull(directory, 0);
  const bundle = await journey.verify(directory);
  const counting = createFaultFileSystem(disk);
  const undisturbed = journey.path('state');
  await loadInto(store, bundle, undisturbed, { fs: counting });
  const want = await treeOf(undisturbed);
  const codes = new Map<string, number>();
  const states = new Set<string>();
  for (const fault of faultsOf(counting.operations)) {
    const name = faultName(fault, counting.operations);
    const state = journey.path('state');
    store.reset();
    const { code, exit } = await outcomeOf(loadInto(store, bundle, state, { fs: createFaultFileSystem(disk, fault) }), name);
    const wrote = store.writes().length > 0;
    assert.equal(exit, wrote ? 9 : 7, `${name}: ended with ${code}, ${store.writes().length} writes`);
    count(codes, code);
    const left = `${store.writes().length} ${nameless(await treeOf(state).catch(() => ({})))}`;
    if (states.has(left)) continue;
    states.add(left);
    await buryOwners(state);
    await loadInto(store, bundle, state);
    assert.deepEqual(await treeOf(state), want, `${name}: the state after the rerun, with nothing beside it`);
  }
  t.diagnostic(`${counting.operations.length * 3} faults at ${counting.operations.length} changes: ${tally(codes)}`);
});

it('a disk without room for what is missing is said before anything is fetched', async (t) => {
  const journey = await startJourney(t);
  const directory = journey.path();
  const fs: FileSystem = { ...disk, freeBytes: async () => 1000 };
  const error = await rejectsWith(journey.pull(directory, 0, fs), 'E_DISK_FULL', /are needed, 1000 are free/);
  assert.ok(Number(error.detail.needed) > 1000);
  assert.deepEqual(await readdir(directory), []);
});

/** A medium with a place that can't be read any more. */
const unreadable = (where: RegExp): FileSystem => {
  const broken = (path: string): Error =>
    Object.assign(new Error(`EIO: i/o error, read '${path}'`), { code: 'EIO', errno: -5, syscall: 'read' });
  return {
    ...disk,
    readFile: async (path, max) => {
      if (where.test(path)) throw broken(path);
      return disk.readFile(path, max);
    },
    list: async (path) => {
      if (where.test(path)) throw broken(path);
      return disk.list(path);
    },
    openRead: async (path) => {
      const handle = await disk.openRead(path);
      if (!where.test(path)) return handle;
      return {
        ...handle,
        async *read(start = 0, end = handle.size) {
          yield* handle.read(start, start + Math.floor((end - start) / 2));
          throw broken(path);
        },
      };
    },
  };
};

it('a medium that gives an i/o error anywhere is named as such by verify, with exit code 7', async (t) => {
  const journey = await startJourney(t);
  const directory = journey.path();
  await journey.pull(directory, 0);
  const files = Object.entries(await treeOf(directory)).map(([name, kind]) => ({ name, isDirectory: kind === 'directory' }));
  let tried = 0;
  for (const { name, isDirectory } of [...files, { name: '', isDirectory: true }]) {
    if (isDirectory && (name === 'blobs' || name.endsWith('sha512'))) continue; // never listed
    const where = new RegExp(`^${directory}${name === '' ? '' : '/'}${name.replaceAll('.', '\\.')}$`);
    await rejectsWith(journey.verify(directory, {}, unreadable(where)), 'E_DISK');
    tried++;
  }
  t.diagnostic(`${tried} places`);
});

it('a medium that gives an i/o error while it is pushed is no fault of the network: 9, and a rerun finishes', async (t) => {
  const journey = await startJourney(t);
  const store = await startStore(t);
  const directory = journey.path();
  await journey.pull(directory, 0);
  const good = await journey.verify(directory);
  let reads = 0;
  const fs = unreadable(/\/blobs\/sha256\//);
  const late: FileSystem = { ...fs, openRead: (path) => (armed && ++reads > 0 ? fs : disk).openRead(path) };
  let armed = false;
  const bundle = await journey.verify(directory, {}, late);
  armed = true;
  const state = journey.path('state');
  const error = await rejectsWith(loadInto(store, bundle, state), 'E_INCOMPLETE', /reading blob|i\/o error/);
  assert.equal(error.detail.code, 'E_DISK');
  // Each blob at most once: an i/o error is not tried again and again.
  assert.ok(reads <= bundle.generation.statement.predicate.blobs.length, `${reads} reads`);
  await loadInto(store, good, state);
});
