import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { LIMITS } from '../../../src/core/limits.ts';
import { nodeFileSystem } from '../../../src/files/node-file-system.ts';
import { loadPolicy, wantsSigstoreRoot } from '../../../src/upstream/policy.ts';
import { parseUpstreamKeys } from '../../../src/upstream/upstream-key.ts';
import { rejectsWith, throwsWith } from '../../support/assert-code.ts';
import { pemOf } from './evidence.ts';
import { ecPair } from './fake-sigstore.ts';

async function fileOf(t: TestContext, text: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'bundle-policy-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  await writeFile(`${directory}/up.pub`, text);
  return `${directory}/up.pub`;
}

describe('loadPolicy', () => {
  test('reads every key of every file, each with the end of its file', async (t) => {
    const pairs = [ecPair(), ecPair('P-384')] as const;
    const path = await fileOf(t, `two keys\n${pairs.map((pair) => pemOf(pair.publicKey)).join('\n')}`);
    const policy = await loadPolicy(nodeFileSystem, { kind: 'key', keys: [{ path, until: 7 }], attestation: 'https://a.test/b' });
    assert.ok(policy.kind === 'key');
    assert.deepEqual(
      policy.keys.map(({ keyid, until, source }) => ({ keyid, until, source })),
      pairs.map(({ spki }) => ({ keyid: createHash('sha256').update(spki).digest('hex'), until: 7, source: path })),
    );
    assert.equal(policy.attestation, 'https://a.test/b');
  });

  test('a file that is not there or is no key is named', async (t) => {
    const load = (path: string) => loadPolicy(nodeFileSystem, { kind: 'key', keys: [{ path }] });
    await rejectsWith(load('/nowhere/up.pub'), 'E_TRUST_FILE', /\/nowhere\/up\.pub: can't be read/);
    await rejectsWith(load(await fileOf(t, '')), 'E_TRUST_FILE', /up\.pub/);
    await rejectsWith(load(await fileOf(t, 'x'.repeat(LIMITS.keyFileBytes + 1))), 'E_TRUST_FILE', /up\.pub/);
  });

  test('more keys than anybody has are refused', async (t) => {
    const path = await fileOf(t, pemOf(ecPair().publicKey).repeat(LIMITS.policyKeys + 1));
    await rejectsWith(loadPolicy(nodeFileSystem, { kind: 'key', keys: [{ path }] }), 'E_TRUST_FILE', /65 keys/);
  });

  test('a root is wanted for keyless, and for keys that end', async (t) => {
    const path = await fileOf(t, pemOf(ecPair().publicKey));
    assert.equal(wantsSigstoreRoot(await loadPolicy(nodeFileSystem, { kind: 'key', keys: [{ path }] })), false);
    assert.equal(wantsSigstoreRoot(await loadPolicy(nodeFileSystem, { kind: 'key', keys: [{ path, until: 7 }] })), true);
    assert.equal(wantsSigstoreRoot({ kind: 'keyless', issuer: 'https://a.test', identity: 'b' }), true);
    assert.equal(wantsSigstoreRoot({ kind: 'unsigned' }), false);
  });
});

describe('kinds of keys', () => {
  const refuses = (key: KeyObject, message: RegExp) =>
    throwsWith(() => parseUpstreamKeys(pemOf(key), 'up.pub'), 'E_TRUST_FILE', message);

  test('what can not be verified by rightly is refused, and the message names the file and the kind', () => {
    refuses(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey, /up\.pub: is an RSA key of 1024 bits/);
    refuses(generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }).publicKey, /exponent 3/);
    refuses(generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey, /type rsa-pss/);
    refuses(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey, /secp256k1/);
    refuses(generateKeyPairSync('ed448').publicKey, /type ed448/);
    refuses(generateKeyPairSync('x25519').publicKey, /type x25519/);
  });

  test('a private key, a certificate and a damaged block are refused', () => {
    const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
    throwsWith(() => parseUpstreamKeys(pem, 'up.pub'), 'E_TRUST_FILE', /PRIVATE KEY/);
    const certificate = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
    assert.match(
      throwsWith(() => parseUpstreamKeys(certificate, 'up.pub'), 'E_TRUST_FILE', /CERTIFICATE/).hint ?? '',
      /openssl x509/,
    );
    throwsWith(
      () => parseUpstreamKeys(certificate.replaceAll('CERTIFICATE', 'PUBLIC KEY'), 'up.pub'),
      'E_TRUST_FILE',
      /no public key/,
    );
    throwsWith(() => parseUpstreamKeys('no key', 'up.pub'), 'E_TRUST_FILE', /PEM/);
  });
});
