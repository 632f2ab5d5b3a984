/** Keys and signed statements against the real cosign, from `.cache/tools/bin` (cosign 3; cosign-2 too when it is there). No network. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, generateKeyPairSync, verify as verifyBytes } from 'node:crypto';
import { accessSync, existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { nodeFileSystem as fs } from '../../src/files/node-file-system.ts';
import { generateKeyPair } from '../../src/sign/generate.ts';
import { loadPrivateKey } from '../../src/sign/private-key-source.ts';
import { toKeyObject } from '../../src/sign/public-key.ts';
import { createKeySigner } from '../../src/sign/signer.ts';
import { signStatement } from '../../src/sign/statement-signature.ts';
import { loadTrust } from '../../src/sign/trust.ts';
import { requireThreshold } from '../../src/sign/verify-statement.ts';
import { rejectsWith } from '../support/assert-code.ts';

const TOOLS = join(resolve(process.env.BUNDLE_TOOLS_DIR ?? join(import.meta.dirname, '../../.cache/tools')), 'bin');
const PASSWORD = 'interop only';
const TYPE = 'https://example.test/bundle/v1';
const env = { BUNDLE_KEY_PASSWORD: PASSWORD };
const run = promisify(execFile);

describe('cosign is there', () => {
  it('as the interop setup brings it', () => {
    assert.ok(existsSync(`${TOOLS}/cosign`), `${TOOLS}/cosign is missing: get Debian sid's cosign as the interop setup does`);
  });
});

for (const name of ['cosign', 'cosign-2'].filter((tool) => existsSync(`${TOOLS}/${tool}`))) {
  describe(`${name} and our keys`, () => {
    let directory = '';
    let statement = Buffer.alloc(0);
    const at = (file: string) => join(directory, file);
    const cosignBy = (password: string, ...args: string[]) =>
      run(`${TOOLS}/${name}`, args, {
        cwd: directory,
        // TUF and caches must have nowhere else to go; the password only by environment.
        env: { HOME: directory, COSIGN_PASSWORD: password },
        timeout: 60_000,
      });
    const cosign = (...args: string[]) => cosignBy(PASSWORD, ...args);
    // Named in full, 2.5 needs --new-bundle-format and a root; 3 knows both still.
    const verify = (file: string, bundle: string, pub: string) =>
      cosign(
        ...['verify-blob-attestation', '--key', at(pub), '--bundle', at(bundle), '--type', TYPE, '--insecure-ignore-tlog'],
        ...['--new-bundle-format', '--trusted-root', at('root.json'), at(file)],
      );

    /** A bare signature over the statement: base64 of DER. 3 has other defaults, which want a log. */
    const signBlob = (password: string, key: string, output: string) =>
      cosignBy(
        password,
        ...['sign-blob', '--yes', '--key', at(key), '--tlog-upload=false', '--output-signature', at(output)],
        ...(name === 'cosign' ? ['--use-signing-config=false', '--new-bundle-format=false'] : []),
        at('bundle.json'),
      );

    before(async () => {
      accessSync(`${TOOLS}/${name}`);
      directory = await mkdtemp(join(tmpdir(), 'bundle-cosign-'));
      const index = Buffer.from('{"schemaVersion":2,"manifests":[]}');
      const digest = { sha256: createHash('sha256').update(index).digest('hex') };
      const content = {
        _type: 'https://in-toto.io/Statement/v1',
        subject: [{ name: 'index.json', digest }],
        predicateType: TYPE,
      };
      statement = Buffer.from(`${JSON.stringify({ ...content, predicate: { name: 'lumen', sequence: 1 } }, null, 2)}\n`);
      await writeFile(at('index.json'), index);
      await writeFile(at('other.json'), '{}');
      await writeFile(at('bundle.json'), statement);
      await writeFile(at('root.json'), '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}');
      await generateKeyPair(fs, at('ours'), PASSWORD);
      await cosign('generate-key-pair', '--output-key-prefix', 'theirs');
      for (const key of ['ours', 'theirs']) {
        const signer = createKeySigner(await loadPrivateKey(fs, at(`${key}.key`), { env }));
        await writeFile(at(`${key}.sigstore.json`), await signStatement(signer, statement));
      }
    });
    after(() => rm(directory, { recursive: true, force: true }));

    it('opens a key file that we wrote and finds the same public key in it', async () => {
      const { stdout } = await cosign('public-key', '--key', at('ours.key'));
      assert.equal(stdout, readFileSync(at('ours.pub'), 'utf8'));
    });

    it('makes a key file that we open, with the public key that it wrote', async () => {
      const key = await loadPrivateKey(fs, at('theirs.key'), { env });
      const trust = await loadTrust(fs, [at('theirs.pub')]);
      assert.deepEqual(
        trust.keys.map((item) => item.keyid),
        [key.publicKey.keyid],
      );
      assert.equal(readFileSync(at('theirs.pub'), 'utf8'), key.publicKey.pem);
    });

    it('signs with a key file that we wrote, what our public key then verifies, and ours what its own verifies', async () => {
      const { signature } = await createKeySigner(await loadPrivateKey(fs, at('theirs.key'), { env })).sign(statement);
      await writeFile(at('by-us.sig'), signature.toString('base64'));
      await signBlob(PASSWORD, 'ours.key', 'by-cosign.sig');
      const ours = await loadTrust(fs, [at('ours.pub')]);
      const bytes = Buffer.from(readFileSync(at('by-cosign.sig'), 'utf8'), 'base64');
      assert.ok(ours.keys.every((key) => verifyBytes('sha256', statement, toKeyObject(key), bytes)));
      const checked = await cosign(
        ...[
          'verify-blob',
          '--key',
          at('theirs.pub'),
          '--signature',
          at('by-us.sig'),
          '--insecure-ignore-tlog',
          at('bundle.json'),
        ],
      );
      assert.match(checked.stdout + checked.stderr, /Verified OK/);
    });

    it('and we refuse each other the wrong password, and an empty one where there is one', async () => {
      for (const password of ['wrong', '', ` ${PASSWORD}`]) {
        await assert.rejects(signBlob(password, 'ours.key', 'never.sig'));
        assert.ok(!existsSync(at('never.sig')));
        const options = { env: { COSIGN_PASSWORD: password } };
        await rejectsWith(loadPrivateKey(fs, at('theirs.key'), options), 'E_KEY_PASSWORD');
      }
    });

    it('and we open keys whose password is empty, and not with another one', async () => {
      await generateKeyPair(fs, at('ours-empty'), '');
      await cosignBy('', 'generate-key-pair', '--output-key-prefix', 'theirs-empty');
      await signBlob('', 'ours-empty.key', 'empty.sig');
      await assert.rejects(signBlob(PASSWORD, 'ours-empty.key', 'never.sig'));
      const key = await loadPrivateKey(fs, at('theirs-empty.key'), { env: { COSIGN_PASSWORD: '' } });
      assert.equal(key.publicKey.pem, readFileSync(at('theirs-empty.pub'), 'utf8'));
      await rejectsWith(loadPrivateKey(fs, at('theirs-empty.key'), { env }), 'E_KEY_PASSWORD');
    });

    // 2.5.0 imports no EC key at all: "unsupported public key type".
    it('takes a plain key of OpenSSL into a file that we open (import-key-pair)', { skip: name === 'cosign-2' }, async () => {
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      await writeFile(at('plain.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
      await cosign('import-key-pair', '--key', at('plain.pem'), '--output-key-prefix', 'imported');
      const key = await loadPrivateKey(fs, at('imported.key'), { env });
      assert.deepEqual(Buffer.from(key.publicKey.spkiDer), publicKey.export({ format: 'der', type: 'spki' }));
    });

    it('verifies the statement that we signed, with our key and with its own', async () => {
      for (const key of ['ours', 'theirs']) {
        const { stdout, stderr } = await verify('index.json', `${key}.sigstore.json`, `${key}.pub`);
        assert.match(stdout + stderr, /Verified OK/);
      }
    });

    it('refuses it for another file and with another key', async () => {
      await assert.rejects(verify('other.json', 'ours.sigstore.json', 'ours.pub'));
      await assert.rejects(verify('index.json', 'ours.sigstore.json', 'theirs.pub'));
    });

    it('approves a statement that we accept, its signature counting beside ours', { skip: name === 'cosign-2' }, async () => {
      await cosign(
        ...['attest-blob', '--yes', '--statement', at('bundle.json'), '--key', at('theirs.key'), '--bundle', at('approved.json')],
        ...['--use-signing-config=false', '--tlog-upload=false', at('index.json')],
      );
      const trust = { ...(await loadTrust(fs, [at('ours.pub'), at('theirs.pub')])), threshold: 2 };
      const signatures = ['ours.sigstore.json', 'approved.json'].map((file) => ({ name: file, bytes: readFileSync(at(file)) }));
      const { signers } = await requireThreshold({ statementBytes: statement, signatures, trust, name: 'lumen', now: 0 });
      assert.deepEqual(signers, trust.keys.map((key) => key.keyid).sort());
    });
  });
}
