import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { symlinkSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { journey, statementOf, testRegistry } from '../support/command-journey.ts';
import { randomImage, randomIndex } from '../support/random-image.ts';
import { tempDir } from '../support/temp-dir.ts';

const LAUNCHER = resolve(import.meta.dirname, '../../scripts/bundle');

type Ended = Readonly<{ code: number | null; signal: string | null; stdout: string; stderr: string }>;

function start(
  argv: readonly string[],
  options: { cwd?: string; env?: Record<string, string>; launcher?: string } = {},
): { child: ChildProcess; ended: Promise<Ended>; said(what: RegExp): Promise<string> } {
  const child = spawn(options.launcher ?? LAUNCHER, argv, {
    cwd: options.cwd ?? '/',
    env: { PATH: process.env.PATH ?? '', HOME: '/nonexistent', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  const ended = once(child, 'close').then(([code, signal]): Ended => ({ code, signal, stdout, stderr }));
  const said = async (what: RegExp): Promise<string> => {
    while (!what.test(stdout))
      await Promise.race([once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data'), once(child, 'close')]);
    return stdout;
  };
  return { child, ended, said };
}

/** A project folder as users have it: manifests/ and keys beside each other, commands run in it. */
async function project(t: TestContext) {
  const j = await journey(t);
  await j.origins[0].put('team/app', '1.0', await randomIndex({ seed: 1 }));
  await mkdir(j.path('manifests'));
  writeFileSync(
    j.path('manifests/lumen.yaml'),
    `apiVersion: bundle/v1\nname: lumen\nimages: [${j.origins[0].host}/team/app:1.0]\n`,
  );
  const env = { BUNDLE_PLAIN_HTTP: [j.origins[0].host, j.target.host].join(',') };
  return { j, run: (...argv: string[]) => start(argv, { cwd: j.dir, env }).ended };
}

describe('the program itself', () => {
  test('finds the only manifest, writes below bundles/, and exit codes reach the shell', async (t) => {
    const { j, run } = await project(t);
    const usage = await run('pull');
    assert.equal(usage.code, 2, usage.stderr);
    const pulled = await run('pull', '--key', 'release.key');
    assert.equal(pulled.code, 0, pulled.stderr);
    assert.match(pulled.stdout, /^bundles\/lumen: generation \d+/);
    const [loaded, unsigned] = await Promise.all([
      run('load', 'bundles/lumen', '--registry', j.target.host, '--trust', 'release.pub', '--state', 'state'),
      run('verify', 'bundles/lumen', '--trust', 'manifests'),
    ]);
    assert.equal(loaded.code, 0, loaded.stderr);
    assert.equal(unsigned.code, 6, unsigned.stderr);
    assert.equal(
      await j.target.digest(j.at(j.origins[0], 'team/app'), '1.0'),
      statementOf(j.path('bundles/lumen')).contents[0]?.targetDigest,
    );
  });

  test('works through a symbolic link, as npm installs it', async (t) => {
    const dir = await tempDir(t);
    symlinkSync(LAUNCHER, join(dir, 'bundle'));
    const ran = await start(['--version'], { launcher: join(dir, 'bundle') }).ended;
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stdout, /^\d+\.\d+\.\d+\n$/);
  });

  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    test(`${signal} ends a pull that waits for a silent registry with ${code}, at once and with no lock left`, async (t) => {
      const j = await journey(t);
      let asked: () => void = () => undefined;
      const waiting = new Promise<void>((resolve) => {
        asked = resolve;
      });
      const content = { ...(await testRegistry(t)).content };
      const silent = await testRegistry(t, {
        content: {
          ...content,
          blob: async () => {
            asked();
            return new Promise(() => undefined);
          },
        },
      });
      const image = await randomImage({ seed: 1 });
      await silent.put('team/app', '1', image);
      const file = await j.manifest('lumen', `images: [${silent.host}/team/app:1]`);
      const argv = ['pull', '-f', file, '-o', j.bundle, '--key', j.key.key];
      const { child, ended } = start(argv, { env: { BUNDLE_PLAIN_HTTP: silent.host } });
      await waiting;
      const sent = performance.now();
      child.kill(signal);
      const ran = await ended;
      assert.deepEqual([ran.code, ran.signal], [code, null], ran.stderr);
      assert.ok(performance.now() - sent < 2500, 'it must not need the emergency exit');
      assert.match(ran.stderr, /interrupted/);
      assert.equal((await j.run(['verify', j.bundle, '--trust', j.key.pub])).code, 5, 'nothing was committed');
      const dry = await j.run(['pull', '-f', file, '-o', j.bundle, '--unsigned'], {
        env: { BUNDLE_PLAIN_HTTP: silent.host },
        signal: AbortSignal.timeout(300),
      });
      assert.notEqual(dry.code, 8, 'no lock is left');
    });
  }

  test('serve goes on until it is told to end', async (t) => {
    const { j, run } = await project(t);
    assert.equal((await run('pull', '--key', 'release.key')).code, 0);
    const { child, ended, said } = start(['serve', 'bundles/lumen', '--listen', '127.0.0.1:0', '--trust', 'release.pub'], {
      cwd: j.dir,
    });
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(await said(/serving .*\n/))?.[0];
    assert.equal((await fetch(`${url}/v2/`)).status, 200);
    child.kill('SIGTERM');
    assert.equal((await ended).signal, null);
  });

  test('a reader that goes away is no failure', async (t) => {
    const { j } = await project(t);
    await j.pull(j.path('manifests/lumen.yaml'));
    const { child, ended } = start(['inspect', j.bundle]);
    child.stdout?.destroy();
    const ran = await ended;
    assert.ok(ran.code === 0, `exit code ${ran.code}\n${ran.stderr}`);
  });
});
