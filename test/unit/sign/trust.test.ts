import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describe, it } from 'node:test';
import type { FileSystem } from '../../../src/files/file-system.ts';
import { nodeFileSystem as fs } from '../../../src/files/node-file-system.ts';
import { loadTrust } from '../../../src/sign/trust.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { freshKey, temporaryDirectory } from './test-keys.ts';

const [a, b] = [freshKey().publicKey, freshKey().publicKey];

/** Writes `files` (names may have a directory) and gives the place. */
async function place(t: Parameters<typeof temporaryDirectory>[0], files: Record<string, string>): Promise<string> {
  const root = await temporaryDirectory(t);
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(`${root}/${name}`), { recursive: true });
    await writeFile(`${root}/${name}`, text);
  }
  return root;
}

describe('trust', () => {
  it('is a key file, whatever it is called', async (t) => {
    const root = await place(t, { 'signer.pem': a.pem });
    const { keys, threshold, sources } = await loadTrust(fs, [`${root}/signer.pem`]);
    assert.deepEqual([keys.map((key) => key.keyid), threshold], [[a.keyid], 1]);
    assert.deepEqual(sources, [{ path: `${root}/signer.pem`, keyids: [a.keyid] }]);
  });

  it("is a directory's *.pub files and threshold; other files, hidden ones and the signer's own .key are left alone", async (t) => {
    const root = await place(t, {
      'd/a.pub': a.pem,
      'd/b.pub': b.pem,
      'd/._a.pub': '\0\x05\x16\x07',
      'd/notes.txt': 'x',
      'd/a.key': 'secret',
      'd/trust.json': '{"threshold": 2}',
    });
    const trust = await loadTrust(fs, [`${root}/d`]);
    assert.deepEqual([trust.keys.map((key) => key.keyid), trust.threshold], [[a.keyid, b.keyid], 2]);
  });

  it('of several paths adds up, each key once, and the highest threshold counts', async (t) => {
    const root = await place(t, { 'd/a.pub': a.pem, 'd/b.pub': b.pem, 'd/trust.json': '{"threshold":2}', 'again.pub': a.pem });
    const trust = await loadTrust(fs, [`${root}/again.pub`, `${root}/d`]);
    assert.deepEqual([trust.keys.map((key) => key.keyid), trust.threshold], [[a.keyid, b.keyid], 2]);
    assert.deepEqual(
      trust.sources.map((source) => source.keyids.length),
      [1, 2],
    );
  });

  it('that is missing, empty or without a key is an error, never no trust', async (t) => {
    const root = await place(t, { 'empty.pub': '', 'dir/readme': 'x', 'sub/x.pub/y': 'x' });
    await rejectsWith(loadTrust(fs, []), 'E_TRUST_FILE', /no trust/);
    await rejectsWith(loadTrust(fs, [`${root}/gone`]), 'E_TRUST_FILE', /no such file/);
    await rejectsWith(loadTrust(fs, [`${root}/empty.pub`]), 'E_TRUST_FILE', /empty/);
    await rejectsWith(loadTrust(fs, [`${root}/dir`]), 'E_TRUST_FILE', /no \*\.pub/);
    await rejectsWith(loadTrust(fs, [`${root}/sub`]), 'E_TRUST_FILE', /x\.pub/);
    await rejectsWith(loadTrust(fs, ['/dev/zero']), 'E_TRUST_FILE', /longer than the limit/);
  });

  it('that can not be read is an error', async (t) => {
    const root = await place(t, { 'd/a.pub': a.pem, 'd/trust.json': '{"threshold":1}' });
    const denied = (name: string): FileSystem => ({
      ...fs,
      readUserFile: (path, max) =>
        path.endsWith(name) ? Promise.reject(new Error('EACCES: denied')) : fs.readUserFile(path, max),
    });
    await rejectsWith(loadTrust(denied('a.pub'), [`${root}/d`]), 'E_TRUST_FILE', /a\.pub.*EACCES/);
    await rejectsWith(loadTrust(denied('trust.json'), [`${root}/d`]), 'E_TRUST_FILE', /trust\.json.*EACCES/);
  });

  it('given a private key by mistake says so, and does not print it', async (t) => {
    const pem = freshKey().keyObject.export({ format: 'pem', type: 'pkcs8' }) as string;
    const root = await place(t, { 'a.key': pem });
    const error = await rejectsWith(loadTrust(fs, [`${root}/a.key`]), 'E_TRUST_FILE', /private key/);
    assert.match(error.hint ?? '', /\.pub/);
    assert.ok(!error.message.includes(pem.split('\n')[1] as string));
  });

  it('refuses a trust.json that says anything but a threshold its keys can meet', async (t) => {
    const bad = [
      '',
      '[]',
      '2',
      '{}',
      '{"threshold":"1"}',
      '{"threshold":0}',
      '{"threshold":-1}',
      '{"threshold":1.5}',
      '{"threshold":null}',
    ];
    bad.push('{"threshold":3}', '{"threshold":1e400}', '{"threshold":1,"threshold":2}', '{"threshold":1,"keys":[]}');
    bad.push('{"treshold":1}', '{"threshold":1} x', '{"__proto__":{"threshold":1}}', '{"threshold":1e-400}');
    for (const text of bad) {
      // The same key in two files: two files are still no two signers.
      const root = await place(t, { 'd/a.pub': a.pem, 'd/a2.pub': a.pem, 'd/b.pub': b.pem, 'd/trust.json': text });
      await rejectsWith(loadTrust(fs, [`${root}/d`]), 'E_TRUST_FILE', /threshold|trust\.json/);
    }
  });

  it('stops at too many files and at huge ones', async (t) => {
    const files = Object.fromEntries(Array.from({ length: 257 }, (_, i) => [`d/${i}.pub`, a.pem]));
    const root = await place(t, { ...files, 'huge.pub': 'x'.repeat(70_000) });
    await rejectsWith(loadTrust(fs, [`${root}/d`]), 'E_TRUST_FILE', /257/);
    await rejectsWith(loadTrust(fs, [`${root}/huge.pub`]), 'E_TRUST_FILE', /limit/);
  });
});
