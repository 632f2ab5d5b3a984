import assert from 'node:assert/strict';
import { generateKeyPairSync, verify } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { nodeFileSystem as fs } from '../../../src/files/node-file-system.ts';
import { loadExecKey, parseExecKey } from '../../../src/sign/exec-signer.ts';
import { loadSigningKey, loadSigningKeys } from '../../../src/sign/private-key-source.ts';
import { toKeyObject } from '../../../src/sign/public-key.ts';
import { signStatement } from '../../../src/sign/statement-signature.ts';
import { verifyStatementSignature } from '../../../src/sign/verify-statement.ts';
import { rejectsWith, throwsWith } from '../../support/assert-code.ts';
import { freshKey, STATEMENT, temporaryDirectory } from './test-keys.ts';

const DATA = Buffer.from('what is signed');
const env = { PATH: process.env.PATH };
const PEM = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'pem', type: 'pkcs8' });

/** The script that the documentation prints under a heading: what users copy is what runs here. */
function documented(heading: string): string {
  const text = readFileSync(join(import.meta.dirname, '../../../docs/signer-protocol.md'), 'utf8');
  const [, script] = /```bash\n(.*?)```/s.exec(text.slice(text.indexOf(`## ${heading}`))) ?? [];
  return script ?? assert.fail(`no script under ${heading}`);
}

/** A key file and a program beside it: `body` is bash, and may call the documented script as `honest`. */
async function program(t: TestContext, body = 'honest "$@"') {
  const root = await temporaryDirectory(t);
  const path = (name: string): string => join(root, name);
  await writeFile(path('key.pem'), PEM);
  await writeFile(path('honest'), documented('OpenSSL'));
  await writeFile(path('signer'), `#!/bin/bash\nhonest() { bash ${path('honest')} ${path('key.pem')} "$@"; }\n${body}\n`);
  for (const name of ['honest', 'signer']) await chmod(path(name), 0o755);
  return { path, spec: `exec:${path('signer')}` };
}

/** A program that starts another one outside its own process group, which outlives it and holds its output open until the test is over. */
async function escaping(t: TestContext, body: string) {
  let pids = '';
  t.after(() => {
    // Before the directory goes: this was registered first.
    for (const pid of readFileSync(pids, 'utf8').trim().split('\n')) process.kill(Number(pid), 'SIGKILL');
  });
  const made = await program(t, `setsid sleep 600 &\necho $! >> "$0.escaped"\n${body}`);
  pids = made.path('signer.escaped');
  return made;
}

describe('a key that a program holds', () => {
  it('signs a statement that verifies with the public key it names, by the documented openssl script', async (t) => {
    const { path } = await program(t);
    const key = await loadSigningKey(fs, `exec:${path('honest')} ${path('key.pem')}`, { env });
    const signed = await signStatement(key.signer, STATEMENT);
    assert.equal(await verifyStatementSignature(signed, STATEMENT, [key.publicKey]), key.publicKey.keyid);
  });

  it('is asked for a digest in lower-case hex on standard input, and for its public key without any', async (t) => {
    const { spec, path } = await program(t, `input=$(cat)\necho "$*|$input" >> "$0.log"\nhonest "$@" <<< "$input"`);
    const key = await loadExecKey(`${spec} --slot 0`, { env }).catch(() => undefined);
    assert.equal(key, undefined, 'the fixed arguments come first, and the honest script refuses them');
    const { signer } = await loadExecKey(spec, { env });
    await signer.sign(Buffer.from('abc'));
    assert.deepEqual(readFileSync(path('signer.log'), 'utf8').trim().split('\n'), [
      '--slot 0 public-key|',
      'public-key|',
      'sign sha256|ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    ]);
  });

  it('is asked one thing at a time, and goes on after a failure', async (t) => {
    const { spec } = await program(t, 'mkdir "$0.busy" || exit 3\nhonest "$@"; code=$?\nrmdir "$0.busy"; exit $code');
    const { signer, publicKey } = await loadExecKey(spec, { env });
    const made = await Promise.all([1, 2, 3].map((n) => signer.sign(Buffer.from([n]))));
    for (const [index, { signature }] of made.entries()) {
      assert.ok(verify('sha256', Buffer.from([index + 1]), toKeyObject(publicKey), signature));
    }
    const once = await program(t, 'if [ "$1" = sign ] && mkdir "$0.failed" 2>/dev/null; then exit 3; fi\nhonest "$@"');
    const key = await loadExecKey(once.spec, { env });
    const [first, second] = await Promise.allSettled([key.signer.sign(DATA), key.signer.sign(DATA)]);
    assert.deepEqual([first?.status, second?.status], ['rejected', 'fulfilled']);
  });

  it('does not see the passwords of our own key files, and learns the version of the protocol', async (t) => {
    const { spec, path } = await program(t, 'env > "$0.env"\nhonest "$@"');
    const secrets = { BUNDLE_KEY_PASSWORD: 'secret one', COSIGN_PASSWORD: 'secret two', TOKEN_PIN: '1234' };
    await loadExecKey(spec, { env: { ...env, ...secrets } });
    const seen = readFileSync(path('signer.env'), 'utf8');
    assert.doesNotMatch(seen, /secret|PASSWORD/);
    assert.match(seen, /^TOKEN_PIN=1234$/m);
    assert.match(seen, /^BUNDLE_SIGNER_PROTOCOL=1$/m);
  });

  it('does not see the private keys that other --key take from variables', async (t) => {
    const { spec, path } = await program(t, 'env > "$0.env"\nhonest "$@"');
    const pem = freshKey().keyObject.export({ format: 'pem', type: 'pkcs8' }) as string;
    const variables = { FIRST_KEY: pem, LAST_KEY: String(PEM), TOKEN_PIN: '1234' };
    const keys = await loadSigningKeys(fs, ['env://FIRST_KEY', spec, 'env://LAST_KEY'], { env: { ...env, ...variables } });
    assert.equal(keys.length, 2, 'the last is the same key as that of the program');
    const seen = readFileSync(path('signer.env'), 'utf8');
    assert.doesNotMatch(seen, /PRIVATE|_KEY/);
    assert.match(seen, /^TOKEN_PIN=1234$/m);
  });

  it('that fails is named with its exit code and its last words, which can not steer the terminal', async (t) => {
    const { spec } = await program(t, `printf 'no token\\n\\033[2Jin slot 0\\n' >&2; exit 7`);
    const error = await rejectsWith(
      loadExecKey(spec, { env }),
      'E_KEY_FILE',
      /ended with 7, saying: no token; \\u\{1b\}\[2Jin slot 0/,
    );
    assert.match(error.hint ?? '', /signer-protocol/);
    const chatty = await program(t, `yes 0123456789 | head -c 100000 >&2; exit 1`);
    const long = await rejectsWith(loadExecKey(chatty.spec, { env }), 'E_KEY_FILE');
    assert.ok(long.message.length < 1200, `${long.message.length} characters`);
    await rejectsWith(loadExecKey((await program(t, 'kill -9 $$')).spec, { env }), 'E_KEY_FILE', /SIGKILL/);
  });

  it('that is not there, is a directory or can not be run is an error about the key', async (t) => {
    const { path } = await program(t);
    await chmod(path('signer'), 0o644);
    for (const name of ['gone', '', 'signer'])
      await rejectsWith(loadExecKey(`exec:${path(name)}`, { env }), 'E_KEY_FILE', /started/);
    await rejectsWith(loadExecKey('exec:no-such-program-anywhere', { env }), 'E_KEY_FILE', /no such program/);
  });

  it('that prints without end is ended', async (t) => {
    await rejectsWith(loadExecKey((await program(t, 'yes')).spec, { env }), 'E_KEY_FILE', /more than 16384 bytes/);
  });

  it('answers also when it leaves a program of another session behind that holds its output open', {
    timeout: 20_000,
  }, async (t) => {
    const { spec } = await escaping(t, 'honest "$@"');
    const { signer, publicKey } = await loadExecKey(spec, { env });
    const { signature } = await signer.sign(DATA);
    assert.ok(verify('sha256', DATA, toKeyObject(publicKey), signature));
  });

  it('is given up in time, and on an interrupt, whoever holds its output open', { timeout: 20_000 }, async (t) => {
    const { spec, path } = await escaping(t, `trap '' TERM\ntouch "$0.started"\nsleep 600 & wait; sleep 600`);
    await rejectsWith(loadExecKey(spec, { env, timeLimit: 1500 }), 'E_KEY_FILE', /no answer within 1.5 s/);
    await rm(path('signer.started'), { force: true });
    const stop = new AbortController();
    const seen = setInterval(() => existsSync(path('signer.started')) && stop.abort('SIGINT'), 20);
    t.after(() => clearInterval(seen));
    await rejectsWith(loadExecKey(spec, { env, signal: stop.signal }), 'E_INTERRUPTED');
  });

  it('that does not answer in time is ended, with the programs that it started', { timeout: 60_000 }, async (t) => {
    // The child holds the pipes: only the end of the whole group lets the call return at all.
    const { spec } = await program(t, `(trap '' TERM; sleep 30) & wait`);
    await rejectsWith(loadExecKey(spec, { env, timeLimit: 1500 }), 'E_KEY_FILE', /no answer within 1.5 s/);
  });

  it('is ended by an interrupt, and not started after one', async (t) => {
    const { spec, path } = await program(t, '[ "$1" = sign ] || { honest "$@"; exit; }\ntouch "$0.started"\nsleep 30');
    const stop = new AbortController();
    const { signer } = await loadExecKey(spec, { env, signal: stop.signal });
    const signing = signer.sign(DATA);
    const waiting = signer.sign(DATA);
    const seen = setInterval(() => existsSync(path('signer.started')) && stop.abort('SIGINT'), 20);
    t.after(() => clearInterval(seen));
    await rejectsWith(signing, 'E_INTERRUPTED');
    await rejectsWith(waiting, 'E_INTERRUPTED');
  });

  it('that is no single P-256 key is refused', async (t) => {
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey.export({ format: 'pem', type: 'spki' });
    for (const [body, why] of [
      [`echo '${p384}'`, /secp384r1/],
      ['honest "$@"; openssl ecparam -name prime256v1 -genkey -noout | openssl pkey -pubout', /2 public keys/],
      ['cat "$(dirname $0)/key.pem"', /private key/],
      ['echo hello', /no PEM block/],
      [':', /no PEM block/],
    ] as const) {
      await rejectsWith(loadExecKey((await program(t, body)).spec, { env }), 'E_KEY_FILE', why);
    }
  });

  it('whose signature does not verify signs nothing: hashed twice, raw r and s, another key, garbage', async (t) => {
    const wrong = async (sign: string) => {
      const { spec } = await program(t, `[ "$1" = sign ] || { honest "$@"; exit; }\ncd "$(dirname $0)"\n${sign}`);
      return (await loadExecKey(spec, { env })).signer.sign(DATA);
    };
    const twice = 'tr a-f A-F | basenc --base16 -d | openssl dgst -sha256 -sign key.pem | base64 -w0';
    await rejectsWith(wrong(twice), 'E_SIGNATURE', /does not verify/);
    await rejectsWith(wrong('head -c 64 /dev/urandom | base64 -w0'), 'E_SIGNATURE', /does not verify/);
    const other = 'openssl ecparam -name prime256v1 -genkey -noout -out key.pem; honest "$@"';
    await rejectsWith(wrong(other), 'E_SIGNATURE', /does not verify/);
    for (const garbage of ['cat', 'echo "not base64!"', ':', 'head -c 70 /dev/zero']) {
      await rejectsWith(wrong(garbage), garbage === 'cat' ? 'E_SIGNATURE' : 'E_KEY_FILE');
    }
  });
});

describe('exec: in --key', () => {
  it('is split at spaces, or is a JSON array', () => {
    assert.deepEqual(parseExecKey('exec:sign-it'), ['sign-it']);
    assert.deepEqual(parseExecKey('exec:/opt/sign  --slot 0'), ['/opt/sign', '--slot', '0']);
    assert.deepEqual(parseExecKey('exec:["/opt/our tools/sign", "$HOME", ""]'), ['/opt/our tools/sign', '$HOME', '']);
  });

  it('that looks like a command of a shell is a usage error, since no shell reads it', () => {
    const specs = ['exec:', 'exec: ', 'exec:[]', 'exec:[""]', 'exec:["a", 1]', 'exec:["a"', 'exec:{"a":1}x"'];
    for (const spec of [
      ...specs,
      `exec:sign 'a b'`,
      'exec:sign "a"',
      'exec:sign $HOME',
      'exec:sign `id`',
      'exec:sign\ta',
      'exec:a\0',
    ]) {
      throwsWith(() => parseExecKey(spec), 'E_USAGE');
    }
    throwsWith(() => parseExecKey(`exec:sign${' a'.repeat(64)}`), 'E_USAGE', /64/);
  });
});
