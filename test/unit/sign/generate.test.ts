import assert from 'node:assert/strict';
import { readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import type { FileSystem } from '../../../src/files/file-system.ts';
import { nodeFileSystem as fs } from '../../../src/files/node-file-system.ts';
import { generateKeyPair } from '../../../src/sign/generate.ts';
import { loadPrivateKey } from '../../../src/sign/private-key-source.ts';
import { loadTrust } from '../../../src/sign/trust.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { temporaryDirectory } from './test-keys.ts';

const fails = (code: string) => async () => {
  throw Object.assign(new Error(`${code}: test`), { code });
};

describe('generating a key pair', () => {
  it('writes a private file for its owner alone and a public one that belongs to it, making the directory', async (t) => {
    const prefix = `${await temporaryDirectory(t)}/keys/release`;
    const made = await generateKeyPair(fs, prefix, 'pw');
    assert.equal((await stat(made.keyPath)).mode & 0o777, 0o600);
    assert.equal((await stat(made.pubPath)).mode & 0o077, 0o044);
    const key = await loadPrivateKey(fs, `${prefix}.key`, { env: { BUNDLE_KEY_PASSWORD: 'pw' } });
    const trust = await loadTrust(fs, [`${prefix}.pub`]);
    assert.deepEqual(
      [key.publicKey.keyid],
      trust.keys.map((item) => item.keyid),
    );
    assert.equal(made.publicKey.keyid, key.publicKey.keyid);
  });

  it('overwrites neither file, not even through a dangling link, and names the one that is there', async (t) => {
    const directory = await temporaryDirectory(t);
    for (const name of ['a.key', 'b.pub']) await writeFile(`${directory}/${name}`, 'mine');
    await symlink('/nonexistent', `${directory}/c.key`);
    for (const [prefix, name] of [
      ['a', /a\.key/],
      ['b', /b\.pub/],
      ['c', /c\.key/],
    ] as const) {
      await rejectsWith(generateKeyPair(fs, `${directory}/${prefix}`, 'pw'), 'E_USAGE', name);
    }
    assert.deepEqual(await readdir(directory), ['a.key', 'b.pub', 'c.key']);
    assert.equal(await readFile(`${directory}/a.key`, 'utf8'), 'mine');
  });

  it('keeps a key that another process makes at the same instant', async (t) => {
    const directory = await temporaryDirectory(t);
    // The look before the work sees nothing; the exclusive creation does.
    const blind: FileSystem = { ...fs, stat: async () => undefined };
    await writeFile(`${directory}/a.key`, 'theirs');
    await rejectsWith(generateKeyPair(blind, `${directory}/a`, 'pw'), 'E_USAGE', /a\.key/);
    await writeFile(`${directory}/b.pub`, 'theirs');
    await rejectsWith(generateKeyPair(blind, `${directory}/b`, 'pw'), 'E_USAGE', /b\.pub/);
    assert.deepEqual(await readdir(directory), ['a.key', 'b.pub']);
    assert.equal(await readFile(`${directory}/a.key`, 'utf8'), 'theirs');
    assert.equal(await readFile(`${directory}/b.pub`, 'utf8'), 'theirs');
  });

  it('leaves nothing behind when the disk is full or the directory can not be made durable', async (t) => {
    const directory = await temporaryDirectory(t);
    const full: FileSystem = {
      ...fs,
      create: async (path, mode) => ({ ...(await fs.create(path, mode)), write: fails('ENOSPC') }),
    };
    await rejectsWith(generateKeyPair(full, `${directory}/a`, 'pw'), 'E_DISK_FULL', /a\.key/);
    await rejectsWith(generateKeyPair({ ...fs, syncDir: fails('EIO') }, `${directory}/a`, 'pw'), 'E_DISK', /a\.key/);
    assert.deepEqual(await readdir(directory), []);
  });

  it('wants a file name in the prefix', async () => {
    for (const prefix of ['', 'keys/']) await rejectsWith(generateKeyPair(fs, prefix, 'pw'), 'E_USAGE');
  });
});
