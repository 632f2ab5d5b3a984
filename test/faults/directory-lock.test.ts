/** One writer per directory, whatever dies, comes back, or was written into the lock. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { exitCodeOf, isBundleError } from '../../src/core/errors.ts';
import { type DirectoryLock, lockDirectory } from '../../src/files/directory-lock.ts';
import type { FileSystem } from '../../src/files/file-system.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { ownIdentity, type ProcessIdentity } from '../../src/files/process-identity.ts';
import { rejectsWith } from '../support/assert-code.ts';
import { startJourney } from '../support/journey.ts';
import { createPrng } from '../support/random-image.ts';
import { tempDir } from '../support/temp-dir.ts';

const self = ownIdentity();
const lock = (
  directory: string,
  more: { breakForeign?: boolean; self?: ProcessIdentity } = {},
  fs: FileSystem = nodeFileSystem,
) => lockDirectory(fs, directory, { command: 'bundle test', ...more });
const worker = join(import.meta.dirname, '../support/lock-worker.ts');

async function writeOwner(directory: string, owner: object | string, name = '.lock'): Promise<void> {
  await mkdir(join(directory, name), { recursive: true });
  const text = typeof owner === 'string' ? owner : JSON.stringify(owner);
  await writeFile(join(directory, name, 'owner.json'), text);
}
const owner = (more: object = {}) => ({ ...self, token: 'a'.repeat(32), command: 'bundle pull', ...more });

/** Taken over, held against others, and gone without a trace. */
async function takenOver(directory: string, what: string): Promise<void> {
  const held = await lock(directory).catch((error: unknown) => assert.fail(`${what}: ${String(error)}`));
  await held.check();
  await rejectsWith(lock(directory), 'E_LOCKED');
  await held.release();
  assert.deepEqual(await readdir(directory), [], `${what}: release must leave nothing`);
}

it('a second taker is told who holds the lock, with exit code 8', async (t) => {
  const directory = await tempDir(t);
  const held = await lock(directory);
  const error = await rejectsWith(lock(directory), 'E_LOCKED', new RegExp(`"bundle test", process ${process.pid} on `));
  assert.equal(exitCodeOf(error.code), 8);
  await held.release();
  await held.release();
  await takenOver(directory, 'after a release');
});

/** The same file system with a random pause before each call, so that two takers meet at every step. */
function shaken(seed: number): FileSystem {
  const prng = createPrng(seed);
  const pause = async (): Promise<void> => {
    for (let n = prng.int(4); n > 0; n--) await new Promise((resolve) => setImmediate(resolve));
  };
  return new Proxy(nodeFileSystem, {
    get: (target, name) => {
      const call = target[name as keyof FileSystem] as (...args: unknown[]) => Promise<unknown>;
      return async (...args: unknown[]) => {
        await pause();
        return call(...args);
      };
    },
  });
}

it('of takers that race for a free, a stale or an unreadable lock exactly one wins', async (t) => {
  const directory = await tempDir(t);
  let won = 0;
  for (let round = 0; round < 210; round++) {
    const start = (['free', 'stale', 'unreadable'] as const)[round % 3];
    if (start === 'stale') await writeOwner(directory, owner({ startTime: '1' }));
    if (start === 'unreadable') await writeOwner(directory, '{"pid":');
    const takers = [0, 1, 2].map((i) => lock(directory, {}, shaken(round * 3 + i)));
    const results = await Promise.allSettled(takers);
    const winners = results.filter((r) => r.status === 'fulfilled').map((r) => r.value);
    assert.equal(winners.length, 1, `round ${round} (${start}): ${winners.length} winners`);
    for (const result of results)
      if (result.status === 'rejected')
        assert.equal(isBundleError(result.reason) && result.reason.code, 'E_LOCKED', `round ${round}`);
    await winners[0]?.check();
    await winners[0]?.release();
    assert.deepEqual(await readdir(directory), [], `round ${round} (${start})`);
    won++;
  }
  t.diagnostic(`${won} races of three takers`);
});

it('a lock that is let go while others knock is held by one at a time', async (t) => {
  const directory = await tempDir(t);
  let holders = 0;
  let turns = 0;
  const work = async (seed: number): Promise<void> => {
    for (let done = 0; done < 40; ) {
      const held: DirectoryLock | undefined = await lock(directory, {}, shaken(seed + done)).catch((error: unknown) => {
        if (isBundleError(error) && error.code === 'E_LOCKED') return undefined;
        throw error;
      });
      if (held === undefined) {
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      assert.equal(++holders, 1, 'two hold the lock');
      await new Promise((resolve) => setImmediate(resolve));
      await held.check();
      holders--;
      await held.release();
      turns++;
      done++;
    }
  };
  await Promise.all([work(1000), work(2000), work(3000)]);
  assert.deepEqual(await readdir(directory), []);
  t.diagnostic(`${turns} turns of three workers`);
});

it('two processes that count under the lock lose no count', async (t) => {
  const directory = await tempDir(t);
  await writeFile(join(directory, 'count'), '0');
  const run = (): Promise<number | null> =>
    new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [worker, 'count', directory, '100'], { stdio: ['ignore', 'ignore', 'inherit'] });
      child.on('error', reject);
      child.on('close', resolve);
    });
  assert.deepEqual(await Promise.all([run(), run()]), [0, 0]);
  assert.equal(await readFile(join(directory, 'count'), 'utf8'), '200');
  assert.deepEqual(await readdir(directory), ['count']);
});

it('the lock of a process that was killed with SIGKILL is taken over', async (t) => {
  const directory = await tempDir(t);
  const child = spawn(process.execPath, [worker, 'hold', directory], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise<void>((resolve) => child.stdout.once('data', () => resolve()));
  await rejectsWith(lock(directory), 'E_LOCKED', new RegExp(`process ${child.pid} `));
  child.kill('SIGKILL');
  await new Promise((resolve) => child.once('close', resolve));
  await takenOver(directory, 'SIGKILL');
});

it('the lock of a killed process that nobody collects is taken over: a zombie has its number, and does nothing', {
  skip: self.startTime === '',
}, async (t) => {
  const directory = await tempDir(t);
  // The parent becomes `sleep`, which waits for no child.
  const script = '"$0" "$1" hold "$2" & exec sleep 30';
  const parent = spawn('sh', ['-c', script, process.execPath, worker, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => void parent.kill('SIGKILL'));
  await new Promise<void>((resolve) => parent.stdout.once('data', () => resolve()));
  const { pid } = JSON.parse(await readFile(join(directory, '.lock/owner.json'), 'utf8')) as { pid: number };
  await rejectsWith(lock(directory), 'E_LOCKED', new RegExp(`process ${pid} `));
  process.kill(pid, 'SIGKILL');
  const isZombie = async (): Promise<boolean> => / Z /.test(await readFile(`/proc/${pid}/stat`, 'utf8'));
  while (!(await isZombie())) await new Promise((resolve) => setTimeout(resolve, 5));
  process.kill(pid, 0); // it is still there
  await takenOver(directory, 'a zombie');
});

it('a number that another process has now, or one from before the last boot, is no owner', {
  skip: self.startTime === '',
}, async (t) => {
  const directory = await tempDir(t);
  const gone = {
    'pid in use again': { startTime: '1' },
    'before the boot': { bootId: 'another' },
    'no such process': { pid: 4_000_000 },
  };
  for (const [what, more] of Object.entries(gone)) {
    await writeOwner(directory, owner(more));
    await takenOver(directory, what);
  }
  await writeOwner(directory, owner());
  await rejectsWith(lock(directory), 'E_LOCKED');
});

it('a lock whose owner is damaged in any way is taken over', async (t) => {
  const directory = await tempDir(t);
  const whole = JSON.stringify(owner());
  const texts: Record<string, string> = {
    empty: '',
    torn: whole.slice(0, whole.length / 2),
    garbage: '\0\0\0\xff',
    'another form': '[]',
    null: 'null',
    'a number of a process group': JSON.stringify(owner({ pid: 0, startTime: '' })),
    'a negative number': JSON.stringify(owner({ pid: -1, startTime: '' })),
    'half a number': JSON.stringify(owner({ pid: 1.5 })),
    'a number in quotes': JSON.stringify(owner({ pid: String(process.pid) })),
    'a path for a token': JSON.stringify(owner({ token: '../../../tmp/x' })),
    'too much': `${whole}${' '.repeat(5000)}`,
  };
  for (const [what, text] of Object.entries(texts)) {
    await writeOwner(directory, text);
    await takenOver(directory, what);
  }
  await mkdir(join(directory, '.lock'));
  await takenOver(directory, 'no owner');
  await mkdir(join(directory, '.lock/owner.json'), { recursive: true });
  await takenOver(directory, 'the owner is a directory');
  await mkdir(join(directory, '.lock'));
  execFileSync('mkfifo', [join(directory, '.lock/owner.json')]);
  await takenOver(directory, 'the owner is a pipe');
  await writeFile(join(directory, '.lock'), 'x');
  await takenOver(directory, 'the lock is a file');
  const elsewhere = await tempDir(t);
  await writeFile(join(elsewhere, 'precious'), 'x');
  await symlink(elsewhere, join(directory, '.lock'));
  await takenOver(directory, 'the lock is a link');
  assert.deepEqual(await readdir(elsewhere), ['precious']);
});

it('what killed takers left beside an unreadable lock is in the way of nobody', async (t) => {
  const directory = await tempDir(t);
  await writeOwner(directory, 'x', '.lock-stale-unreadable');
  await writeOwner(directory, 'x', `.lock-stale-${'b'.repeat(32)}`);
  await writeOwner(directory, 'x', `.lock-${'c'.repeat(32)}`);
  await writeOwner(directory, owner({ startTime: '1' }), `.lock-${'d'.repeat(32)}`);
  await writeOwner(directory, 'x');
  await takenOver(directory, 'leftovers');
});

it("another live taker's prepared lock, and other people's files, survive a release", async (t) => {
  const directory = await tempDir(t);
  await writeOwner(directory, owner(), `.lock-${'d'.repeat(32)}`);
  for (const name of ['.lock-file', '.locked', 'lock', '.lock-stale-notes']) await writeFile(join(directory, name), 'x');
  const held = await lock(directory);
  await held.release();
  assert.deepEqual((await readdir(directory)).sort(), [
    `.lock-${'d'.repeat(32)}`,
    '.lock-file',
    '.lock-stale-notes',
    '.locked',
    'lock',
  ]);
});

it('the lock of another host is refused, named, and taken only with --break-lock', async (t) => {
  const directory = await tempDir(t);
  await writeOwner(directory, owner({ host: 'laptop', bootId: 'other' }));
  const error = await rejectsWith(lock(directory), 'E_LOCKED', /on laptop/);
  assert.match(error.hint ?? '', /--break-lock/);
  const held = await lock(directory, { breakForeign: true });
  await held.check();
  await held.release();
  assert.deepEqual(await readdir(directory), []);
  // It breaks no lock of a process that runs here.
  const here = await lock(directory);
  await rejectsWith(lock(directory, { breakForeign: true }), 'E_LOCKED');
  await here.release();
});

it('whose lock was broken by somebody else learns it before the commit point, and does not remove the new one', async (t) => {
  const directory = await tempDir(t);
  const mine = await lock(directory, { self: { ...self, host: 'laptop' } });
  const thief = await lock(directory, { breakForeign: true });
  await rejectsWith(mine.check(), 'E_LOCKED', /took the lock/);
  await mine.release();
  await thief.check();
  await thief.release();
  assert.deepEqual(await readdir(directory), []);
});

it('a lock that can not be read because of the disk is not taken for a damaged one', async (t) => {
  const directory = await tempDir(t);
  const held = await lock(directory);
  const broken: FileSystem = {
    ...nodeFileSystem,
    readFile: async (path) => {
      throw Object.assign(new Error(`EIO: i/o error, read '${path}'`), { code: 'EIO' });
    },
  };
  await rejectsWith(lock(directory, {}, broken), 'E_DISK');
  await held.check();
  await held.release();
});

it('two pulls into one directory: one finishes, the other is told that it is locked', async (t) => {
  const journey = await startJourney(t);
  const directory = journey.path();
  await mkdir(directory);
  const results = await Promise.allSettled([journey.pull(directory), journey.pull(directory)]);
  const failed = results.filter((r) => r.status === 'rejected').map((r) => r.reason as unknown);
  assert.equal(failed.length, 1);
  await rejectsWith(Promise.reject(failed[0]), 'E_LOCKED');
  await journey.verify(directory);
  assert.equal((await journey.pull(directory)).outcome, 'unchanged');
  await rm(directory, { recursive: true });
});
