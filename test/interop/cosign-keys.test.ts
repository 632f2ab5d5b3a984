/** Keys and signed statements against the real cosign, from `.cache/tools/bin` (cosign 3; cosign-2 too when it is there). No network. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { nodeFileSystem as fs } from '../../src/files/node-file-system.ts';
import { generateKeyPair } from '../../src/sign/generate.ts';
import { loadPrivateKey } from '../../src/sign/private-key-source.ts';
import { createKeySigner } from '../../src/sign/signer.ts';
import { signStatement } from '../../src/sign/statement-signature.ts';
import { loadTrust } from '../../src/sign/trust.ts';
import { requireThreshold } from '../../src/sign/verify-statement.ts';

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
    const cosign = (...args: string[]) =>
      run(`${TOOLS}/${name}`, args, {
        cwd: directory,
        // TUF and caches must have nowhere else to go; the password only by environment.
        env: { HOME: directory, COSIGN_PASSWORD: PASSWORD },
        timeout: 60_000,
      });
    // Named in full, 2.5 needs --new-bundle-format and a root; 3 knows both still.
    const verify = (file: string, bundle: string, pub: string) =>
      cosign(
        ...['verify-blob-attestation', '--key', at(pub), '--bundle', at(bundle), '--type', TYPE, '--insecure-ignore-tlog'],
        ...['--new-bundle-format', '--trusted-root', at('root.json'), at(file)],
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
      const { signers } = await requireThreshold({ statementBytes: statement, signatures, trust });
      assert.deepEqual(signers, trust.keys.map((key) => key.keyid).sort());
    });
  });
}
