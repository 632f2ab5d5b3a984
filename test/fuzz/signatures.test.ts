/** Signature files, key files and trust: what was changed never verifies as something else, and nothing that is no key is taken for one. */
import assert from 'node:assert/strict';
import { createPrivateKey, sign, verify } from 'node:crypto';
import fc from 'fast-check';
import { encryptPrivateKey, readPrivateKey } from '../../src/sign/key-file.ts';
import { toPem } from '../../src/sign/pem.ts';
import type { PrivateKey } from '../../src/sign/private-key.ts';
import { parsePublicKeys, toKeyObject } from '../../src/sign/public-key.ts';
import { loadTrust } from '../../src/sign/trust.ts';
import { countTrustedSignatures, verifyStatementSignature } from '../../src/sign/verify-statement.ts';
import { freshKey, OCCASION, STATEMENT, signWith } from '../unit/sign/test-keys.ts';
import { attempt, fuzz } from './budget.ts';
import { memoryFiles } from './memory-files.ts';
import { changedBytes, changedJsonBytes, changedText } from './mutate.ts';

const [key, second] = [freshKey(), freshKey()];
const good = await signWith(key);
const goodJson = JSON.parse(Buffer.from(good).toString());
const fromCosign = structuredClone(goodJson);
fromCosign.mediaType = 'application/vnd.dev.sigstore.bundle+json;version=0.3';
fromCosign.verificationMaterial.tlogEntries = [];
fromCosign.verificationMaterial.timestampVerificationData = { rfc3161Timestamps: [] };

const signature = fc.oneof(changedJsonBytes([goodJson, fromCosign]), changedBytes([good]));

fuzz('a changed signature file verifies only where payload and signature are as they were signed', signature, async (bytes) => {
  const got = await attempt(
    () => verifyStatementSignature(bytes, STATEMENT, [second.publicKey, key.publicKey]),
    'E_SIGNATURE',
    'E_UNTRUSTED',
  );
  if (got === undefined) return 'refused';
  assert.equal(got[0], key.publicKey.keyid);
  const { payload, payloadType, signatures } = JSON.parse(bytes.toString()).dsseEnvelope;
  const was = goodJson.dsseEnvelope;
  assert.deepEqual(
    [payload, payloadType, signatures.length, signatures[0].sig],
    [was.payload, was.payloadType, 1, was.signatures[0].sig],
  );
  return 'taken';
});

fuzz(
  'a good signature does not verify over a changed statement, nor with another key',
  changedBytes([STATEMENT]),
  async (statement) => {
    const trust = { keys: [key.publicKey], threshold: 1 };
    const { signers } = await countTrustedSignatures({
      statementBytes: statement,
      signatures: [{ name: 'x', bytes: good }],
      trust,
      ...OCCASION,
    });
    assert.equal(signers.length, statement.equals(STATEMENT) ? 1 : 0);
    const others = { keys: [second.publicKey], threshold: 1 };
    assert.equal(
      (
        await countTrustedSignatures({
          statementBytes: STATEMENT,
          signatures: [{ name: 'x', bytes: good }],
          trust: others,
          ...OCCASION,
        })
      ).signers.length,
      0,
    );
    return signers.length === 1 ? 'taken' : 'refused';
  },
  20,
);

// --- private keys ---

const pkcs8 = key.keyObject.export({ format: 'der', type: 'pkcs8' });
const sec1 = key.keyObject.export({ format: 'der', type: 'sec1' });
const encrypted = await encryptPrivateKey(pkcs8, 'pw');
const envelope = JSON.parse(Buffer.from(encrypted.replaceAll(/-----.*-----|\s/g, ''), 'base64').toString());

function requireWorking({ keyObject, publicKey }: PrivateKey): void {
  const made = sign('sha256', STATEMENT, keyObject);
  assert.ok(verify('sha256', STATEMENT, toKeyObject(publicKey), made), 'signs with one key and names another');
}
const never = (): Promise<string> => Promise.reject(new Error('a password is asked'));

const der = fc.oneof(
  changedBytes([pkcs8]).map((bytes) => toPem('PRIVATE KEY', bytes)),
  changedBytes([sec1]).map((bytes) => toPem('EC PRIVATE KEY', bytes)),
  changedText(
    [toPem('PRIVATE KEY', pkcs8), toPem('EC PRIVATE KEY', sec1)],
    [
      '-----BEGIN ',
      '-----END ',
      'PRIVATE KEY-----',
      '=',
      '\n',
      'Proc-Type: 4,ENCRYPTED\n',
      toPem('PUBLIC KEY', key.publicKey.spkiDer),
      '-',
    ],
  ),
);
fuzz('a plain key file is refused, or its two halves belong together', der, async (pem) => {
  const got = await attempt(() => readPrivateKey(pem, never), 'E_KEY_FILE');
  if (got === undefined) return 'refused';
  requireWorking(got[0]);
  return 'taken';
});

fuzz(
  'an encrypted key file is refused before a password is asked, or is of the one form that is read',
  changedJsonBytes([envelope]),
  async (bytes) => {
    let asked = false;
    const password = (): Promise<string> => {
      asked = true;
      return Promise.reject(new Error('enough'));
    };
    try {
      await attempt(() => readPrivateKey(toPem('ENCRYPTED SIGSTORE PRIVATE KEY', bytes), password), 'E_KEY_FILE');
      return 'refused';
    } catch (error) {
      if (!asked) throw error;
      const { kdf, cipher, ciphertext } = JSON.parse(bytes.toString());
      assert.ok([32768, 65536, 131072].includes(kdf.params.N) && kdf.params.r === 8 && kdf.params.p === 1);
      assert.deepEqual([kdf.name, cipher.name, typeof ciphertext], ['scrypt', 'nacl/secretbox', 'string']);
      return 'taken';
    }
  },
);

// Each one costs a key derivation of 0.2 s.
const inner = (name: 'ciphertext' | 'salt' | 'nonce') =>
  changedBytes(
    [
      Buffer.from(
        name === 'ciphertext' ? envelope.ciphertext : name === 'salt' ? envelope.kdf.salt : envelope.cipher.nonce,
        'base64',
      ),
    ],
    0,
    2,
  ).map((bytes) => {
    const changed = structuredClone(envelope);
    const holder = name === 'ciphertext' ? changed : name === 'salt' ? changed.kdf : changed.cipher;
    holder[name] = bytes.toString('base64');
    return Buffer.from(JSON.stringify(changed));
  });
fuzz(
  'an encrypted key that was changed does not open',
  fc.oneof(inner('ciphertext'), inner('salt'), inner('nonce')),
  async (bytes) => {
    const got = await attempt(
      () => readPrivateKey(toPem('ENCRYPTED SIGSTORE PRIVATE KEY', bytes), async () => 'pw'),
      'E_KEY_FILE',
      'E_KEY_PASSWORD',
    );
    if (got === undefined) return 'refused';
    assert.deepEqual(JSON.parse(bytes.toString()), envelope);
    assert.ok(got[0].keyObject.equals(createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })));
    return 'taken';
  },
  2,
);

// --- trust ---

const pub = (of: PrivateKey): string => of.publicKey.pem;
const publicText = fc.oneof(
  changedText(
    [pub(key), pub(key) + pub(second), `a note\n${pub(key)}`],
    [
      '-----BEGIN ',
      '-----END PUBLIC KEY-----\n',
      'PRIVATE KEY-----',
      '=',
      '\r\n',
      ' ',
      '-',
      pub(second),
      toPem('CERTIFICATE', pkcs8),
    ],
  ),
  changedBytes([key.publicKey.spkiDer]).map((bytes) => toPem('PUBLIC KEY', bytes)),
);

fuzz('a file of public keys is refused, or each of its keys is one under its own name', publicText, async (text) => {
  const got = await attempt(() => parsePublicKeys(text, 'k.pub'), 'E_TRUST_FILE');
  if (got === undefined) return 'refused';
  assert.equal(new Set(got[0].map((found) => found.keyid)).size, got[0].length);
  for (const found of got[0]) {
    assert.deepEqual(parsePublicKeys(found.pem, 'again'), [found]);
    assert.equal(toKeyObject(found).asymmetricKeyDetails?.namedCurve, 'prime256v1');
  }
  return 'taken';
});

fuzz(
  'a trust directory is refused, or its threshold can be met and is not below one',
  fc.tuple(publicText, fc.option(changedJsonBytes([{ threshold: 1 }, { threshold: 2 }])), fc.boolean()),
  async ([text, settings, both]) => {
    const files = new Map<string, Uint8Array>([['/t/a.pub', Buffer.from(text)]]);
    if (both) files.set('/t/b.pub', Buffer.from(pub(second)));
    if (settings !== null) files.set('/t/trust.json', settings);
    const got = await attempt(() => loadTrust(memoryFiles(files), ['/t']), 'E_TRUST_FILE');
    if (got === undefined) return 'refused';
    const { keys, threshold } = got[0];
    assert.ok(Number.isInteger(threshold) && threshold >= 1 && threshold <= keys.length, `${threshold} of ${keys.length}`);
    if (settings !== null) assert.equal(threshold, JSON.parse(settings.toString()).threshold);
    return 'taken';
  },
);
