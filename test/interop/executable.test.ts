/** What node-1 runs: the built executable on a system that has a C library and nothing else, for x64 and (emulated) arm64. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { appendFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { before, describe, type TestContext, test } from 'node:test';
import { neededBy, readElf, versionsNeededBy } from '../../scripts/exe/elf.ts';
import { needsOf } from '../../scripts/exe/floor.ts';
import { runPathOf } from '../../scripts/exe/run-path.ts';
import { GLIBC_FLOOR } from '../../scripts/exe/targets.ts';
import { type BareRoot, makeBareRoot, runProgram } from '../support/bare-root.ts';
import { type Ran, testRegistry } from '../support/command-journey.ts';
import { randomIndex } from '../support/random-image.ts';
import { tempDir } from '../support/temp-dir.ts';
import { tool, toolRoot } from '../support/tools.ts';

const project = resolve(import.meta.dirname, '../..');
const folderOf = (arch: 'x64' | 'arm64'): string => join(project, `dist/bundle-linux-${arch}`);
const { version } = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8')) as { version: string };
/** Generous: two busy cores. Unloaded it is below a tenth of a second. */
const START_LIMIT_MS = 400;

const filesOf = (folder: string): string[] => [
  join(folder, 'bundle'),
  ...readdirSync(join(folder, 'lib')).map((name) => join(folder, 'lib', name)),
];

function succeeded(ran: Ran, step: string): Ran {
  assert.equal(ran.code, 0, `${step} ended with ${ran.code}\n${ran.stdout}\n${ran.stderr}`);
  return ran;
}

/** `bundle serve` inside `root` gives the image by the path that a target has. */
async function served(t: TestContext, root: BareRoot, origin: string, digest: string): Promise<void> {
  const flags = ['--listen', '127.0.0.1:0', '--trust', '/work/release.pub', '--state', '/work/state', '--json'];
  const server = root.start(['/opt/bundle/bundle', 'serve', '/work/bundle', ...flags]);
  t.after(() => server.kill('SIGKILL'));
  for await (const line of createInterface(server.stdout)) {
    const { url } = JSON.parse(line) as { url: string };
    const answer = await fetch(`${url}/v2/${origin.replace(':', '_')}/library/tool/manifests/1.0`);
    assert.equal(answer.headers.get('docker-content-digest'), digest);
    break;
  }
  server.kill('SIGKILL');
}

/** Commands of the whole journey inside `root`, against registries of this process. */
async function journey(t: TestContext, root: BareRoot): Promise<void> {
  const [one, two, target] = [await testRegistry(t), await testRegistry(t), await testRegistry(t)];
  const image = await randomIndex({ seed: 11, layers: 2 });
  const other = await randomIndex({ seed: 12, layers: 2 });
  await one.put('library/tool', '1.0', image);
  await two.put('library/tool', '1.0', other);
  const images = [one, two].map((each) => `  - ${each.host}/library/tool:1.0`);
  writeFileSync(join(root.path, 'work/site.yaml'), ['apiVersion: bundle/v1', 'name: site', 'images:', ...images, ''].join('\n'));
  const env = {
    BUNDLE_KEY_PASSWORD: 'correct horse',
    BUNDLE_PLAIN_HTTP: [one, two, target].map((each) => each.host).join(','),
    HOME: '/work',
  };
  const bundle = async (words: string): Promise<Ran> => root.run(['/opt/bundle/bundle', ...words.split(' ')], env);
  const load = `load /work/bundle --registry ${target.host} --trust /work/release.pub --state /work/state --registries-yaml /work/registries.yaml`;

  succeeded(await bundle('keys generate -o /work/release'), 'keys generate');
  succeeded(await bundle('lock -f /work/site.yaml'), 'lock');
  succeeded(await bundle('pull -f /work/site.yaml -o /work/bundle --key /work/release.key'), 'pull');
  succeeded(await bundle('verify /work/bundle --trust /work/release.pub'), 'verify');
  succeeded(await bundle('inspect /work/bundle --json'), 'inspect').json();
  succeeded(await bundle(load), 'load');
  for (const [origin, wanted] of [
    [one, image],
    [two, other],
  ] as const) {
    assert.equal(await target.digest(`${origin.host.replace(':', '_')}/library/tool`, '1.0'), wanted.digest);
  }
  const mirrors = readFileSync(join(root.path, 'work/registries.yaml'), 'utf8');
  assert.ok(mirrors.includes(one.host) && mirrors.includes(two.host), mirrors);

  const again = succeeded(await bundle(load), 'load again');
  t.diagnostic(again.stdout.trim().split('\n').at(-1) ?? '');
  await served(t, root, one.host, image.digest);

  const blobs = join(root.path, 'work/bundle/blobs/sha256');
  appendFileSync(join(blobs, readdirSync(blobs)[0] as string), 'x');
  assert.equal((await bundle('verify /work/bundle --trust /work/release.pub')).code, 5);
}

describe('the executable', () => {
  before(() => {
    execFileSync(process.execPath, [join(project, 'scripts/build-exe.ts')], { stdio: ['ignore', 'inherit', 'inherit'] });
  });

  for (const arch of ['x64', 'arm64'] as const) {
    test(`for ${arch} asks for no C library newer than ${GLIBC_FLOOR} and for no library that it does not bring`, () => {
      const needs = needsOf(filesOf(folderOf(arch)));
      assert.deepEqual(needs.missing, []);
      assert.equal(needs.glibc, GLIBC_FLOOR);
      const elf = readElf(readFileSync(join(folderOf(arch), 'bundle')));
      assert.equal(runPathOf(elf), '$ORIGIN/lib');
      assert.ok(neededBy(elf).includes('libatomic.so.1'), 'still the Node that needs it');
      assert.ok(versionsNeededBy(elf).some((each) => each.library === 'libstdc++.so.6'));
    });

    test(`for ${arch} is archived with its sum, executable and with licences`, () => {
      const archive = `bundle-${version}-linux-${arch}.tar.gz`;
      execFileSync('sha256sum', ['--check', '--strict', 'SHA256SUMS'], { cwd: join(project, 'dist'), stdio: 'pipe' });
      assert.ok(readFileSync(join(project, 'dist/SHA256SUMS'), 'utf8').includes(archive));
      const list = execFileSync('tar', ['-tvzf', join(project, 'dist', archive)], { encoding: 'utf8' });
      assert.match(list, new RegExp(`^-rwxr-xr-x .* bundle-linux-${arch}/bundle$`, 'm'));
      assert.match(list, new RegExp(`bundle-linux-${arch}/lib/libatomic\\.so\\.1$`, 'm'));
      assert.match(list, new RegExp(`bundle-linux-${arch}/LICENSES\\.txt$`, 'm'));
    });
  }

  for (const libc6 of ['libc6-11', 'libc6-12']) {
    test(`does the whole journey in a root that holds ${libc6} alone`, { skip: process.arch !== 'x64' }, async (t) => {
      const root = makeBareRoot(join(await tempDir(t, 'bundle-root-'), 'root'), toolRoot(libc6), folderOf('x64'));
      assert.equal(succeeded(await root.run(['/opt/bundle/bundle', '--version']), '--version').stdout, `${version}\n`);
      assert.match(succeeded(await root.run(['/opt/bundle/bundle', '--help']), '--help').stdout, /bundle load <bundle>/);
      assert.equal((await root.run(['/opt/bundle/bundle', 'verify', '/work/none', '--no-such-flag'])).code, 2);
      await journey(t, root);
    });
  }

  test('without the libraries beside it does not start there: the root is as bare as it says', {
    skip: process.arch !== 'x64',
  }, async (t) => {
    const root = makeBareRoot(join(await tempDir(t, 'bundle-root-'), 'root'), toolRoot('libc6-12'), folderOf('x64'));
    rmSync(join(root.path, 'opt/bundle/lib'), { recursive: true });
    const ran = await root.run(['/opt/bundle/bundle', '--version']);
    assert.equal(ran.code, 127);
    assert.match(ran.stderr, /libatomic\.so\.1/);
  });

  test('started through a symbolic link finds its libraries, and heeds no NODE_OPTIONS', {
    skip: process.arch !== 'x64',
  }, async (t) => {
    const root = makeBareRoot(join(await tempDir(t, 'bundle-root-'), 'root'), toolRoot('libc6-12'), folderOf('x64'));
    mkdirSync(join(root.path, 'usr/local/bin'), { recursive: true });
    execFileSync('ln', ['-s', '../../../opt/bundle/bundle', join(root.path, 'usr/local/bin/bundle')]);
    const ran = await root.run(['/usr/local/bin/bundle', '--version'], { NODE_OPTIONS: '--require /no/such/file' });
    assert.equal(succeeded(ran, '--version').stdout, `${version}\n`);
  });

  test('runs no code that lies beside it', { skip: process.arch !== 'x64' }, async (t) => {
    const folder = await tempDir(t);
    cpSync(folderOf('x64'), folder, { recursive: true });
    for (const name of ['kerberos', 'supports-color', 'yargs']) {
      mkdirSync(join(folder, 'node_modules', name), { recursive: true });
      writeFileSync(join(folder, 'node_modules', name, 'index.js'), `require('fs').writeFileSync('${folder}/ran', '${name}')`);
    }
    const ran = await runProgram(join(folder, 'bundle'), ['keys', 'generate', '-o', join(folder, 'k')], {
      BUNDLE_KEY_PASSWORD: 'x',
    });
    succeeded(ran, 'keys generate');
    assert.ok(!existsSync(join(folder, 'ran')));
  });

  test('starts soon', { skip: process.arch !== 'x64' }, (t) => {
    const times = Array.from({ length: 12 }, () => {
      const started = performance.now();
      assert.equal(spawnSync(join(folderOf('x64'), 'bundle'), ['--version']).status, 0);
      return performance.now() - started;
    }).sort((a, b) => a - b);
    t.diagnostic(`--version: best ${times[0]?.toFixed(0)} ms, median ${times[6]?.toFixed(0)} ms`);
    assert.ok((times[0] as number) < START_LIMIT_MS, `the best of twelve starts took ${times[0]} ms`);
  });

  test('for arm64 runs under an emulator on the C library of arm64 alone, and reads what x64 wrote', {
    skip: process.arch !== 'x64',
  }, async (t) => {
    const folder = await tempDir(t);
    const prefix = join(folder, 'root');
    cpSync(toolRoot('arm64-cross'), prefix, { recursive: true, dereference: true });
    for (const name of readdirSync(join(prefix, 'lib'))) {
      if (/^lib(stdc\+\+|gcc_s|atomic)/.test(name)) rmSync(join(prefix, 'lib', name));
    }
    const arm = (...argv: string[]): Promise<Ran> =>
      runProgram(tool('qemu-aarch64-static'), ['-L', prefix, join(folderOf('arm64'), 'bundle'), ...argv], {
        BUNDLE_KEY_PASSWORD: 'x',
      });
    assert.equal(succeeded(await arm('--version'), '--version').stdout, `${version}\n`);
    succeeded(await arm('keys', 'generate', '-o', join(folder, 'arm')), 'keys generate');

    const origin = await testRegistry(t);
    await origin.put('team/app', '1.0', await randomIndex({ seed: 21 }));
    writeFileSync(join(folder, 'a.yaml'), `apiVersion: bundle/v1\nname: a\nimages:\n  - ${origin.host}/team/app:1.0\n`);
    const env = { BUNDLE_KEY_PASSWORD: 'x', BUNDLE_PLAIN_HTTP: origin.host, HOME: folder };
    const pull = ['pull', '-f', join(folder, 'a.yaml'), '-o', join(folder, 'b'), '--key', join(folder, 'arm.key')];
    succeeded(await runProgram(join(folderOf('x64'), 'bundle'), pull, env), 'pull');
    succeeded(await arm('verify', join(folder, 'b'), '--trust', join(folder, 'arm.pub')), 'verify');
  });
});
