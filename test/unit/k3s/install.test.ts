import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { LIMITS } from '../../../src/core/limits.ts';
import type { FileSystem } from '../../../src/files/file-system.ts';
import { nodeFileSystem } from '../../../src/files/node-file-system.ts';
import { installRegistriesYaml, readRegistriesFile, registriesDiff } from '../../../src/k3s/install.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { type Ending, tempDir } from '../../support/temp-dir.ts';

const OLD = '# old\nmirrors:\n  a.lab: {endpoint: [https://a]}\n';
const NEW = '# old\nmirrors:\n  a.lab: {endpoint: [https://b]}\n';

async function node(t: Ending, existing?: string) {
  const directory = await tempDir(t);
  const path = `${directory}/registries.yaml`;
  if (existing !== undefined) await writeFile(path, existing, { mode: 0o644 });
  return { directory, path };
}

const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

test('the file is replaced with mode 0600, the old one is kept beside it, and nothing else is left', async (t) => {
  const { directory, path } = await node(t, OLD);
  const done = await installRegistriesYaml(nodeFileSystem, { path, text: NEW, expected: OLD, bundle: 'lumen' });
  assert.equal(done.changed, true);
  assert.equal(done.backup, `${path}.bak-lumen`);
  assert.equal(await readFile(path, 'utf8'), NEW);
  assert.equal(await readFile(`${path}.bak-lumen`, 'utf8'), OLD);
  assert.equal(await modeOf(path), 0o600);
  assert.equal(await modeOf(`${path}.bak-lumen`), 0o600);
  assert.deepEqual(await readdir(directory), ['registries.yaml', 'registries.yaml.bak-lumen']);
});

test('a first file needs no backup, and its folder is made', async (t) => {
  const { directory } = await node(t);
  const path = `${directory}/rancher/k3s/registries.yaml`;
  const done = await installRegistriesYaml(nodeFileSystem, { path, text: NEW, expected: undefined, bundle: 'lumen' });
  assert.equal(done.backup, undefined);
  assert.equal(await readFile(path, 'utf8'), NEW);
});

test('the same text is not written: not even the time of the file changes', async (t) => {
  const { directory, path } = await node(t, OLD);
  const before = await stat(path);
  const done = await installRegistriesYaml(nodeFileSystem, { path, text: OLD, expected: OLD, bundle: 'lumen' });
  assert.equal(done.changed, false);
  const after = await stat(path);
  assert.deepEqual([after.mtimeMs, after.ino, after.mode], [before.mtimeMs, before.ino, before.mode]);
  assert.deepEqual(await readdir(directory), ['registries.yaml']);
});

test('a dry run shows the difference and writes nothing', async (t) => {
  const { directory, path } = await node(t, OLD);
  const done = await installRegistriesYaml(nodeFileSystem, { path, text: NEW, expected: OLD, bundle: 'lumen', dryRun: true });
  assert.match(done.diff, /^-.*https:\/\/a\]\}\n\+.*https:\/\/b\]\}$/m);
  assert.equal(await readFile(path, 'utf8'), OLD);
  assert.deepEqual(await readdir(directory), ['registries.yaml']);
});

test('restore puts the old bytes back, or takes a first file away', async (t) => {
  const { path } = await node(t, OLD);
  await (await installRegistriesYaml(nodeFileSystem, { path, text: NEW, expected: OLD, bundle: 'x' })).restore();
  assert.equal(await readFile(path, 'utf8'), OLD);
  const fresh = await node(t);
  const done = await installRegistriesYaml(nodeFileSystem, { path: fresh.path, text: NEW, expected: undefined, bundle: 'x' });
  await done.restore();
  assert.deepEqual(await readdir(fresh.directory), []);
});

test('text that k3s could not read is not written', async (t) => {
  const { directory, path } = await node(t, OLD);
  await rejectsWith(
    installRegistriesYaml(nodeFileSystem, { path, text: 'config: {', expected: OLD, bundle: 'lumen' }),
    'E_MIRRORS',
  );
  assert.deepEqual(await readdir(directory), ['registries.yaml']);
});

test('a file that changed after the merge read it is not overwritten', async (t) => {
  const { path } = await node(t, '# changed since\n');
  await rejectsWith(
    installRegistriesYaml(nodeFileSystem, { path, text: NEW, expected: OLD, bundle: 'lumen' }),
    'E_MIRRORS_CONFLICT',
  );
  assert.equal(await readFile(path, 'utf8'), '# changed since\n');
});

for (const bundle of ['../x', 'a/b', '', 'A', 'a\n', '.x']) {
  test(`the bundle name ${JSON.stringify(bundle)} never becomes part of a path`, async (t) => {
    const { path } = await node(t, OLD);
    await rejectsWith(installRegistriesYaml(nodeFileSystem, { path, text: NEW, expected: OLD, bundle }), 'E_USAGE');
  });
}

test('a link, a folder, too many bytes and bytes that are no text are refused', async (t) => {
  const { directory } = await node(t);
  await symlink('/etc/hostname', `${directory}/link`);
  await mkdir(`${directory}/folder`);
  await writeFile(`${directory}/big`, Buffer.alloc(LIMITS.registriesYamlBytes + 1, 0x23));
  await writeFile(`${directory}/latin1`, Buffer.from([0x23, 0xe9, 0x0a]));
  await rejectsWith(readRegistriesFile(nodeFileSystem, `${directory}/link`), 'E_NOT_REGULAR');
  await rejectsWith(readRegistriesFile(nodeFileSystem, `${directory}/folder`), 'E_NOT_REGULAR');
  await rejectsWith(readRegistriesFile(nodeFileSystem, `${directory}/big`), 'E_LIMIT');
  await rejectsWith(readRegistriesFile(nodeFileSystem, `${directory}/latin1`), 'E_MIRRORS', /UTF-8/);
  assert.equal(await readRegistriesFile(nodeFileSystem, `${directory}/none`), undefined);
});

test('killed or failing before any step, the file is whole: old or new, never anything else', async (t) => {
  let done = false;
  for (let step = 1; !done; step++) {
    const { path } = await node(t, OLD);
    let count = 0;
    const failing = new Proxy(nodeFileSystem, {
      get(target, name: keyof FileSystem) {
        if (!['mkdir', 'create', 'rename', 'syncDir'].includes(name)) return target[name];
        return (...args: never[]) => {
          if (++count === step) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
          return (target[name] as (...args: never[]) => unknown)(...args);
        };
      },
    });
    const run = installRegistriesYaml(failing, { path, text: NEW, expected: OLD, bundle: 'lumen' });
    try {
      await run;
      done = true;
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'E_DISK_FULL', String(error));
    }
    assert.ok([OLD, NEW].includes(await readFile(path, 'utf8')), `after step ${step}`);
    assert.ok(step < 20);
  }
});

test('a difference shows that a password changed, and neither password', () => {
  const yaml = (password: string): string =>
    `configs:\n  h: {auth: {username: u, password: ${password}, auth: dXNlcg, identity_token: tok}}\n`;
  const diff = registriesDiff(yaml('"one"'), yaml('two'), 'r');
  assert.doesNotMatch(diff, /one|two|dXNlcg|tok\b/);
  assert.match(diff, /^-.*hidden/m);
  assert.match(diff, /^\+.*hidden/m);
  assert.equal(registriesDiff(yaml('same'), yaml('"same"'), 'r'), '', 'only the quotes changed');
});
