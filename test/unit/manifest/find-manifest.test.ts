import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { nodeFileSystem as fs } from '../../../src/files/node-file-system.ts';
import { findManifest } from '../../../src/manifest/find-manifest.ts';
import { readManifest } from '../../../src/manifest/read-manifest.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { tempDir } from '../../support/temp-dir.ts';

const TEXT = 'apiVersion: bundle/v1\nname: x\nimages: [a:1]\n';

describe('findManifest', () => {
  test('the only YAML file is it; locks, lists, hidden files and folders do not count', async (t) => {
    const dir = await tempDir(t);
    for (const name of ['lumen.yml', 'lumen.lock.json', 'k3s-images.txt', '.tmp-1.yaml', '.yaml'])
      await writeFile(join(dir, name), TEXT);
    await mkdir(join(dir, 'old.yaml'));
    assert.equal(await findManifest(fs, undefined, dir), `${dir}/lumen.yml`);
  });

  test('two are a choice that the message lists', async (t) => {
    const dir = await tempDir(t);
    for (const name of ['a.yaml', 'b.yml']) await writeFile(join(dir, name), TEXT);
    const error = await rejectsWith(findManifest(fs, undefined, dir), 'E_USAGE', /2 manifests .*a\.yaml, .*b\.yml/);
    assert.match(error.hint ?? '', /-f FILE/);
  });

  test('none, or no folder at all, says what to write', async (t) => {
    const dir = await tempDir(t);
    for (const where of [dir, join(dir, 'manifests')]) {
      const error = await rejectsWith(findManifest(fs, undefined, where), 'E_USAGE', /^no manifest/);
      assert.match(error.hint ?? '', /example\.yaml/);
    }
  });

  test('-f wins over what the folder holds', async (t) => {
    const dir = await tempDir(t);
    for (const name of ['a.yaml', 'b.yaml']) await writeFile(join(dir, name), TEXT);
    assert.equal(await findManifest(fs, join(dir, 'b.yaml'), dir), join(dir, 'b.yaml'));
  });

  test('-f of something missing or of a folder is a usage error that lists what there is', async (t) => {
    const dir = await tempDir(t);
    await writeFile(join(dir, 'a.yaml'), TEXT);
    const error = await rejectsWith(findManifest(fs, join(dir, 'c.yaml'), dir), 'E_USAGE', /no such file/);
    assert.match(error.hint ?? '', /a\.yaml/);
    await rejectsWith(findManifest(fs, dir, dir), 'E_USAGE', /is a directory/);
  });
});

describe('readManifest', () => {
  test('reads a file', async (t) => {
    const path = join(await tempDir(t), 'x.yaml');
    await writeFile(path, TEXT);
    assert.equal((await readManifest(fs, path)).name, 'x');
  });

  const table: readonly [string, Uint8Array][] = [
    ['five mebibytes', Buffer.alloc(5 * 1024 * 1024, 'a')],
    ['UTF-16', Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(TEXT, 'utf16le')])],
    ['Latin-1', Buffer.from('name: \xe9', 'latin1')],
    ['nothing', Buffer.alloc(0)],
    ['zeros, as a power cut leaves them', Buffer.alloc(4096)],
  ];
  for (const [name, bytes] of table)
    test(`${name} is E_MANIFEST with a place`, async (t) => {
      const path = join(await tempDir(t), 'x.yaml');
      await writeFile(path, bytes);
      await rejectsWith(readManifest(fs, path), 'E_MANIFEST', /x\.yaml:1:1: /);
    });

  test('a folder or something that is no manifest is E_MANIFEST, a missing file E_DISK', async (t) => {
    const dir = await tempDir(t);
    await symlink('/etc/hostname', join(dir, 'l.yaml'));
    await rejectsWith(readManifest(fs, join(dir, 'l.yaml')), 'E_MANIFEST', /l\.yaml:1:1: /);
    await rejectsWith(readManifest(fs, dir), 'E_MANIFEST');
    await rejectsWith(readManifest(fs, join(dir, 'none.yaml')), 'E_DISK');
  });
});
