import assert from 'node:assert/strict';
import { symlink, writeFile } from 'node:fs/promises';
import { before, describe, it } from 'node:test';
import { nodeFileSystem as fs } from '../../../src/files/node-file-system.ts';
import { encryptPrivateKey } from '../../../src/sign/key-file.ts';
import { readNewPassword, readPassword } from '../../../src/sign/password.ts';
import { loadPrivateKey } from '../../../src/sign/private-key-source.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { freshKey, temporaryDirectory } from './test-keys.ts';

const key = freshKey();
const plain = key.keyObject.export({ format: 'pem', type: 'pkcs8' }) as string;
let encrypted = '';
before(async () => {
  encrypted = await encryptPrivateKey(key.keyObject.export({ format: 'der', type: 'pkcs8' }), 'pw');
});

describe('the signing key', () => {
  it('comes from a file or from a variable', async (t) => {
    const path = `${await temporaryDirectory(t)}/a.key`;
    await writeFile(path, encrypted);
    assert.equal((await loadPrivateKey(fs, path, { env: { BUNDLE_KEY_PASSWORD: 'pw' } })).publicKey.keyid, key.publicKey.keyid);
    const env = { SIGNING_KEY: encrypted, COSIGN_PASSWORD: 'pw' };
    assert.equal((await loadPrivateKey(fs, 'env://SIGNING_KEY', { env })).publicKey.keyid, key.publicKey.keyid);
    assert.equal((await loadPrivateKey(fs, 'env://K', { env: { K: plain } })).publicKey.keyid, key.publicKey.keyid);
  });

  it('that is missing, a directory, huge or an empty variable is an error about the key', async (t) => {
    const root = await temporaryDirectory(t);
    await writeFile(`${root}/huge`, 'x'.repeat(70_000));
    for (const path of [`${root}/gone`, root, `${root}/huge`, '/dev/zero']) {
      await rejectsWith(loadPrivateKey(fs, path, { env: {} }), 'E_KEY_FILE');
    }
    await rejectsWith(loadPrivateKey(fs, 'env://K', { env: {} }), 'E_KEY_FILE', /not set/);
    await rejectsWith(loadPrivateKey(fs, 'env://K', { env: { K: '' } }), 'E_KEY_FILE', /empty/);
  });

  it('may be named by a link, as mounted secrets are', async (t) => {
    const root = await temporaryDirectory(t);
    await writeFile(`${root}/real`, freshKey().keyObject.export({ format: 'pem', type: 'pkcs8' }) as string);
    await symlink(`${root}/real`, `${root}/link`);
    assert.ok((await loadPrivateKey(fs, `${root}/link`, { env: {} })).publicKey.keyid);
  });

  it('of a kind that is not supported is a usage error', async () => {
    for (const spec of ['env://', 'env://A B', 'env://A/B', 'awskms://x', 'https://x/key']) {
      await rejectsWith(loadPrivateKey(fs, spec, { env: {} }), 'E_USAGE');
    }
  });
});

describe('its password', () => {
  const prompt = async () => 'typed';

  it("comes from the file first, then ours, then cosign's variable, then the terminal", async (t) => {
    const passwordFile = `${await temporaryDirectory(t)}/pw`;
    await writeFile(passwordFile, 'from file\n');
    const env = { BUNDLE_KEY_PASSWORD: 'ours', COSIGN_PASSWORD: 'cosign' };
    assert.equal(await readPassword(fs, { passwordFile, env, prompt }, '?'), 'from file');
    assert.equal(await readPassword(fs, { env, prompt }, '?'), 'ours');
    assert.equal(await readPassword(fs, { env: { COSIGN_PASSWORD: 'cosign' }, prompt }, '?'), 'cosign');
    assert.equal(await readPassword(fs, { env: { BUNDLE_KEY_PASSWORD: '' }, prompt }, '?'), '');
    assert.equal(await readPassword(fs, { env: {}, prompt }, '?'), 'typed');
  });

  it('in a file loses one newline at the end and nothing else', async (t) => {
    const passwordFile = `${await temporaryDirectory(t)}/pw`;
    for (const [text, want] of [
      ['pw', 'pw'],
      ['pw\n', 'pw'],
      ['pw\r\n', 'pw'],
      [' p w \n\n', ' p w \n'],
      ['', ''],
    ] as const) {
      await writeFile(passwordFile, text);
      assert.equal(await readPassword(fs, { passwordFile, env: {} }, '?'), want);
    }
  });

  it('that can not be had is an error with what to do, not a fallback to something else', async (t) => {
    const root = await temporaryDirectory(t);
    const env = { BUNDLE_KEY_PASSWORD: 'pw' };
    await rejectsWith(readPassword(fs, { passwordFile: `${root}/gone`, env, prompt }, '?'), 'E_KEY_PASSWORD', /gone/);
    await writeFile(`${root}/bad`, Buffer.from([0xff, 0xfe]));
    await rejectsWith(readPassword(fs, { passwordFile: `${root}/bad`, env }, '?'), 'E_KEY_PASSWORD', /UTF-8/);
    await writeFile(`${root}/huge`, 'x'.repeat(70_000));
    await rejectsWith(readPassword(fs, { passwordFile: `${root}/huge`, env }, '?'), 'E_KEY_PASSWORD', /limit/);
    const error = await rejectsWith(readPassword(fs, { env: {} }, '?'), 'E_KEY_PASSWORD', /no terminal/);
    assert.match(error.hint ?? '', /--key-password-file/);
  });

  it('for a new key is typed twice, alike; from a file or variable it is taken as it is', async () => {
    const typing =
      (...answers: string[]) =>
      async () =>
        answers.shift() ?? assert.fail('asked too often');
    assert.equal(await readNewPassword(fs, { env: {}, prompt: typing('a', 'a') }), 'a');
    await rejectsWith(readNewPassword(fs, { env: {}, prompt: typing('a', 'b') }), 'E_KEY_PASSWORD', /differ/);
    assert.equal(await readNewPassword(fs, { env: { COSIGN_PASSWORD: 'c' }, prompt: typing() }), 'c');
    await rejectsWith(readNewPassword(fs, { env: {} }), 'E_KEY_PASSWORD');
  });
});
