import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';
import { encryptPrivateKey, readPrivateKey } from '../../../src/sign/key-file.ts';
import { parsePublicKeys } from '../../../src/sign/public-key.ts';
import { rejectsWith } from '../../support/assert-code.ts';

const fixture = (name: string): string => readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8');
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const pkcs8 = pair.privateKey.export({ format: 'der', type: 'pkcs8' });
const spki = pair.publicKey.export({ format: 'der', type: 'spki' });
const never = () => assert.fail('asked for a password');
const answer = (password: string) => async () => password;

describe('an encrypted key file', () => {
  it('comes back with its password, also an empty one and one that is no ASCII', async () => {
    for (const password of ['correct horse', '', 'Pässwörd🔑']) {
      const pem = await encryptPrivateKey(pkcs8, password);
      assert.match(pem, /^-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n(?:[A-Za-z0-9+/=]{1,64}\n)+-----END/);
      assert.deepEqual(Buffer.from((await readPrivateKey(pem, answer(password))).publicKey.spkiDer), spki);
    }
  });

  it('takes the password as bytes or as text alike', async () => {
    const pem = await encryptPrivateKey(pkcs8, Buffer.from('pw'));
    assert.deepEqual(Buffer.from((await readPrivateKey(pem, answer('pw'))).publicKey.spkiDer), spki);
  });

  it('never has the same salt, nonce and ciphertext twice', async () => {
    assert.notEqual(await encryptPrivateKey(pkcs8, 'pw'), await encryptPrivateKey(pkcs8, 'pw'));
  });

  it('refuses the wrong password, and the refusal holds neither password nor key', async () => {
    const secret = randomBytes(12).toString('hex');
    const error = await rejectsWith(
      readPrivateKey(fixture('cosign-3.1.1.key'), answer(secret), 'a.key'),
      'E_KEY_PASSWORD',
      /a\.key/,
    );
    assert.ok(!inspect(error, { depth: 5 }).includes(secret));
  });

  for (const version of ['3.1.1', '2.5.0']) {
    it(`of cosign ${version} is read, under its new and its old label`, async () => {
      const [want] = parsePublicKeys(fixture(`cosign-${version}.pub`), 'cosign.pub');
      const pem = fixture(`cosign-${version}.key`);
      assert.equal((await readPrivateKey(pem, answer('pw'))).publicKey.keyid, want?.keyid);
      const old = pem.replaceAll('SIGSTORE', 'COSIGN');
      assert.notEqual(old, pem);
      assert.equal((await readPrivateKey(old, answer('pw'))).publicKey.keyid, want?.keyid);
    });
  }
});

describe('a plain key file', () => {
  it('in PKCS#8 and SEC 1 form is read without asking for a password', async () => {
    for (const type of ['pkcs8', 'sec1'] as const) {
      const pem = pair.privateKey.export({ format: 'pem', type }) as string;
      assert.deepEqual(Buffer.from((await readPrivateKey(pem, never)).publicKey.spkiDer), spki);
    }
  });

  it('as openssl ecparam writes it, with the curve in a block before, is read', async () => {
    const parameters = '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n';
    const pem = parameters + (pair.privateKey.export({ format: 'pem', type: 'sec1' }) as string).replaceAll('\n', '\r\n');
    assert.deepEqual(Buffer.from((await readPrivateKey(pem, never)).publicKey.spkiDer), spki);
  });

  it('shows no secret when it is printed or turned into JSON', async () => {
    const key = await readPrivateKey(pair.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string, never);
    const secret = Buffer.from(pair.privateKey.export({ format: 'jwk' }).d as string, 'base64url');
    for (const text of [inspect(key, { depth: 9 }), JSON.stringify(key)]) {
      for (const form of ['hex', 'base64', 'base64url'] as const) assert.ok(!text.includes(secret.toString(form)));
    }
  });
});
