/**
 * Promise 2 from outside: the kernel kills the real program in the middle of its real system calls, or answers them with an error. What stands then is
 * judged by the program itself, run again, against an undisturbed run. `BUNDLE_STRACE_ROUNDS` is how many faults per command, `BUNDLE_STRACE_SEED`
 * chooses them.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Journey, journey } from '../support/command-journey.ts';
import { treeOf } from '../support/journey.ts';
import { createPrng, randomImage } from '../support/random-image.ts';
import { bundleProgram } from '../support/real/bundle.ts';
import { type Finished, run } from '../support/real/programs.ts';
import { tool } from '../support/tools.ts';

const ROUNDS = Number(process.env.BUNDLE_STRACE_ROUNDS ?? 3);
const SEED = Number(process.env.BUNDLE_STRACE_SEED ?? randomInt(2 ** 31));
/** Each name with those that a C library may use in its place. */
const CALLS = ['rename', 'renameat', 'renameat2', 'mkdir', 'mkdirat', 'unlink', 'unlinkat', 'rmdir', 'fsync', 'fdatasync'];
const ERRORS: Readonly<Record<string, readonly string[]>> = {
  rename: ['EIO', 'ENOSPC'],
  mkdir: ['ENOSPC', 'EROFS'],
  fsync: ['EIO', 'ENOSPC'],
};

const strace = tool('strace');
const mayTrace = (await run(strace, ['-f', '-qq', '-o', '/dev/null', 'true'])).code === 0;
const skip = mayTrace ? false : 'strace may not trace here (no ptrace)';

type Command = Readonly<{
  j: Journey;
  argv: readonly string[];
  /** Puts everything into the state that the run starts from. */
  start: () => Promise<void>;
  /** What must be the same at the end, whatever happened on the way. */
  result: () => Promise<unknown>;
}>;

const environment = (j: Journey) => ({
  HOME: j.dir,
  BUNDLE_PLAIN_HTTP: [...j.origins, j.target].map(({ host }) => host).join(','),
  SOURCE_DATE_EPOCH: '1795248000',
  // One thread does all work on files, so that the n-th call is the same each time.
  UV_THREADPOOL_SIZE: '1',
  NODE_COMPILE_CACHE: j.path('compile-cache'),
});
const plain = ({ j, argv }: Command): Promise<Finished> => run(bundleProgram, argv, { env: environment(j) });

/** How often each call is made, by the thread that makes it most: strace counts for each by itself. */
async function countCalls(c: Command): Promise<Map<string, number>> {
  const log = c.j.path('trace');
  const options = [...LOG_OPTIONS, '-o', log, '-e', `trace=${CALLS.join(',')}`];
  const ran = await run(strace, [...options, bundleProgram, ...c.argv], { env: environment(c.j) });
  assert.equal(ran.code, 0, ran.stderr);
  const perThread = new Map<string, number>();
  for (const [, thread, call] of (await readFile(log, 'utf8')).matchAll(/^(\d+) +(\w+)\(/gm))
    perThread.set(`${call} ${thread}`, (perThread.get(`${call} ${thread}`) ?? 0) + 1);
  const counts = new Map<string, number>();
  for (const [key, n] of perThread) {
    const call = key.split(' ')[0] as string;
    counts.set(call, Math.max(n, counts.get(call) ?? 0));
  }
  return counts;
}

const LOG_OPTIONS = ['-f', '-qq', '--seccomp-bpf'];

/** The call is answered with an error, and not made. */
async function failAt(c: Command, call: string, errno: string, at: number): Promise<Finished> {
  const log = c.j.path('trace');
  const options = [...LOG_OPTIONS, '-o', log, '-e', `trace=${call}`, '-e', `inject=${call}:error=${errno}:when=${at}`];
  const ran = await run(strace, [...options, bundleProgram, ...c.argv], { env: environment(c.j) });
  assert.match(await readFile(log, 'utf8'), /\(INJECTED\)/, `it did not strike; exit ${ran.code}: ${ran.stderr}`);
  return ran;
}

/**
 * The program is killed when it is about to make the call. strace's own `signal=KILL` stops at every call of any kind, ten times slower: instead the
 * call is held back, which its log shows at once as a line without an end.
 */
async function killAt(c: Command, call: string, at: number): Promise<void> {
  const log = c.j.path('trace');
  await rm(log, { force: true });
  const options = [...LOG_OPTIONS, '-o', log, '-e', `trace=${call}`, '-e', `inject=${call}:delay_enter=60s:when=${at}`];
  const child = spawn(strace, [...options, bundleProgram, ...c.argv], {
    env: { PATH: process.env.PATH, ...environment(c.j) },
    // The pipe ends with the last process that holds it: strace ends a moment before what it traced.
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  child.stderr.resume();
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const held = new RegExp(`(^|\\n)\\d+ +${call}\\([^\\n]*$`);
  for (const end = Date.now() + 30_000; child.exitCode === null && Date.now() < end; await sleep(10)) {
    // Others than the n-th are seen like that too, for an instant.
    const made = (await readFile(log, 'utf8').catch(() => '')).split(`${call}(`).length - 1;
    if (made < at || !held.test(await readFile(log, 'utf8'))) continue;
    process.kill(-(child.pid as number), 'SIGKILL');
    break;
  }
  assert.equal(await ended, null, 'it came to its end: it was not held back');
}

async function strikeAround(t: TestContext, c: Command): Promise<void> {
  await c.start();
  assert.equal((await plain(c)).code, 0); // fills the cache of compiled modules, which is written at the end of a run
  await c.start();
  const counts = await countCalls(c);
  const want = await c.result();
  const places = [...counts].flatMap(([call, n]) => Array.from({ length: n }, (_, i) => ({ call, at: i + 1 })));
  const prng = createPrng(SEED);
  const ends = new Map<string, number>();
  for (let round = 0; round < ROUNDS; round++) {
    const errors = round % 3 === 2;
    const among = errors ? places.filter(({ call }) => ERRORS[call] !== undefined) : places;
    const { call, at } = among[prng.int(among.length)] as { call: string; at: number };
    const errnos = ERRORS[call] ?? [];
    const errno = errors ? errnos[prng.int(errnos.length)] : undefined;
    const name = `${c.argv[0]}: ${errno ?? 'killed'} at ${call} ${at} of ${counts.get(call)} (BUNDLE_STRACE_SEED=${SEED})`;
    await c.start();
    let end = 'killed';
    if (errno === undefined) await killAt(c, call, at);
    else {
      const ran = await failAt(c, call, errno, at);
      // A folder that can't be made because it is there already is no failure.
      assert.ok(
        [7, 9, ...(call === 'mkdir' ? [0] : [])].includes(ran.code ?? -1),
        `${name}: ended with ${ran.code}: ${ran.stderr}`,
      );
      end = `exit ${ran.code}`;
    }
    ends.set(end, (ends.get(end) ?? 0) + 1);
    const again = await plain(c);
    assert.equal(again.code, 0, `${name}: the rerun: ${again.stderr}`);
    assert.deepEqual(await c.result(), want, `${name}: after the rerun`);
  }
  const calls = [...counts].map(([call, n]) => `${call} ${n}`).join(', ');
  t.diagnostic(`${places.length} places (${calls}); ${[...ends].map(([end, n]) => `${end}: ${n}`).join(', ')}; seed ${SEED}`);
}

/** A bundle that is to be updated, and the bundle updated. */
async function editions(
  t: TestContext,
): Promise<Readonly<{ j: Journey; file: string; older: string; update: readonly string[] }>> {
  const j = await journey(t);
  const [{ host, put }] = j.origins;
  const image = (seed: number) => randomImage({ seed, files: 1, bytes: 500, layers: 2 });
  const file = await j.manifest('lumen', `images: ["${host}/team/app:1.0", "${host}/team/tool:2.0"]`);
  await put('team/tool', '2.0', await image(9));
  await put('team/app', '1.0', await image(1));
  const older = j.path('older');
  assert.equal((await j.run(['pull', '-f', file, '-o', older, '--key', j.key.key], { now: Date.now() - 3_600_000 })).code, 0);
  await put('team/app', '1.0', await image(2));
  assert.equal((await j.run(['lock', '-f', file, '--update'])).code, 0);
  // The generation before goes, so that removing is among what is struck.
  return { j, file, older, update: ['pull', '-f', file, '-o', j.bundle, '--key', j.key.key, '--keep', '1'] };
}

it('pull, struck at its system calls', { skip }, async (t) => {
  const { j, older, update } = await editions(t);
  await strikeAround(t, {
    j,
    argv: update,
    start: async () => {
      await rm(j.bundle, { recursive: true, force: true });
      await cp(older, j.bundle, { recursive: true });
    },
    result: () => treeOf(j.bundle),
  });
});

/** The times in a receipt are those of the run. */
async function withoutReceipts(root: string): Promise<Record<string, string>> {
  const tree = await treeOf(root);
  for (const name of Object.keys(tree)) if (name.endsWith('.receipt.json')) tree[name] = 'a receipt';
  return tree;
}

it('load and mirrors, struck at their system calls', { skip }, async (t) => {
  const { j, older, update } = await editions(t);
  assert.equal((await run(bundleProgram, update, { env: environment(j) })).code, 0);
  const root = j.path('node');
  const flags = ['--trust', j.key.pub, '--state', `${root}/state`, '--registries-yaml', `${root}/k3s/registries.yaml`];
  const load = ['--registry', j.target.host, ...flags];
  await mkdir(`${root}/k3s`, { recursive: true });
  await writeFile(`${root}/k3s/registries.yaml`, '# by hand\nmirrors:\n  corp.example:\n    endpoint: ["https://mirror.corp"]\n');
  assert.equal((await j.run(['load', older, ...load])).code, 0);
  await cp(root, j.path('template'), { recursive: true });
  const start = async (): Promise<void> => {
    await rm(root, { recursive: true });
    await cp(j.path('template'), root, { recursive: true });
  };
  const tag = (): Promise<string | undefined> => j.target.digest(j.at(j.origins[0], 'team/app'), '1.0');
  const result = async () => ({ files: await withoutReceipts(root), tag: await tag() });
  await strikeAround(t, { j, argv: ['load', j.bundle, ...load], start, result });
  await strikeAround(t, { j, argv: ['mirrors', j.bundle, ...flags, '--endpoint', 'https://10.0.0.1:5000'], start, result });
});
