/** A root directory that holds Debian's libc6 alone, as the barest server does, and programs started inside it. */

import { type ChildProcessByStdio, execFile, execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Ran } from './command-journey.ts';

export type BareRoot = Readonly<{
  /** The root as seen from outside. */
  path: string;
  /** Starts a program by its path inside; loopback is the test's own. Ends with its exit code and what it said. */
  run(argv: readonly string[], environment?: Readonly<Record<string, string>>): Promise<Ran>;
  /** The same for a program that runs until it is killed. */
  start(argv: readonly string[]): ChildProcessByStdio<null, Readable, null>;
}>;

/** Into a mount and process namespace of its own, by a user namespace without root. */
const UNSHARE = ['--mount', '--pid', '--fork', '--kill-child', ...(process.getuid?.() === 0 ? [] : ['--map-root-user'])];
/** The loader finds `$ORIGIN` through /proc, which every running Linux has; nothing else is mounted. */
const ENTER = 'mount -t proc proc "$1/proc" && root=$1 && shift && exec chroot "$root" "$@"';

/** Runs a program to its end without blocking this process: its registries may live here. */
export function runProgram(program: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<Ran> {
  return new Promise((resolve, reject) => {
    execFile(program, [...args], { env, timeout: 120_000, maxBuffer: 16 << 20 }, (error, stdout, stderr) => {
      if (error && typeof error.code !== 'number') return reject(error);
      const code = error ? (error.code as unknown as number) : 0;
      resolve({ code, stdout, stderr, json: () => JSON.parse(stdout) });
    });
  });
}

/** Makes the root in `path`: the files of the package unpacked at `libc6`, and `executable` (a folder) as /opt/bundle. */
export function makeBareRoot(path: string, libc6: string, executable: string): BareRoot {
  cpSync(realpathSync(libc6), path, { recursive: true, verbatimSymlinks: true });
  for (const name of ['proc', 'tmp', 'work', 'opt']) mkdirSync(join(path, name), { recursive: true });
  // A hard link where that is possible: the executable has 120 MB.
  execFileSync('sh', ['-c', 'cp -al "$1" "$2" 2>/dev/null || cp -a "$1" "$2"', 'sh', executable, join(path, 'opt/bundle')]);
  const inside = (argv: readonly string[]): string[] => [...UNSHARE, '--', 'sh', '-c', ENTER, 'sh', path, ...argv];
  const PATH = process.env.PATH ?? '';
  return {
    path,
    run: (argv, environment = {}) => runProgram('unshare', inside(argv), { PATH, ...environment }),
    start: (argv) => spawn('unshare', inside(argv), { env: { PATH }, stdio: ['ignore', 'pipe', 'inherit'] }),
  };
}
