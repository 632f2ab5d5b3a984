/** Key files that are wrong in every way: one named error, no memory spent, no password asked for nothing. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { before, describe, it } from 'node:test';
import { encryptPrivateKey, readPrivateKey } from '../../src/sign/key-file.ts';
import { toPem } from '../../src/sign/pem.ts';
import { rejectsWith } from '../support/assert-code.ts';
import { freshKey } from '../unit/sign/test-keys.ts';

const LABEL = 'ENCRYPTED SIGSTORE PRIVATE KEY';
const key = freshKey();
const never = () => assert.fail('asked for a password');
let good = '';
before(async () => {
  good = await encryptPrivateKey(key.keyObject.export({ format: 'der', type: 'pkcs8' }), 'pw');
});

type Inner = { kdf: Record<string, unknown>; cipher: Record<string, unknown>; ciphertext: unknown };
/** The encrypted key with something in its JSON changed. */
function altered(change: (inner: Inner) => void): string {
  const body = good.replaceAll(/-----.*-----|\s/g, '');
  const inner = JSON.parse(Buffer.from(body, 'base64').toString()) as Inner;
  change(inner);
  return toPem(LABEL, Buffer.from(JSON.stringify(inner)));
}

describe('an encrypted key file', () => {
  it('can not ask for more memory or less work than cosign does', async () => {
    const good = { N: 65536, r: 8, p: 1 };
    const bad: unknown[] = [16384, 1, 0, -65536, 65537, 262144, 2 ** 30, 2 ** 53, '65536', null, [65536]].map((N) => ({
      ...good,
      N,
    }));
    bad.push({ ...good, r: 1 }, { ...good, r: 1024 }, { ...good, p: 0 }, { ...good, p: 1024 }, { N: 65536 }, null, []);
    for (const params of bad) {
      await rejectsWith(
        readPrivateKey(
          altered((inner) => void Object.assign(inner.kdf, { params })),
          never,
        ),
        'E_KEY_FILE',
      );
    }
  });

  it('of another cipher or kdf, or with parts missing or of another size, is refused before a password is asked', async () => {
    const changes: ((inner: Inner) => void)[] = [
      (inner) => void Object.assign(inner.kdf, { name: 'pbkdf2' }),
      (inner) => void Object.assign(inner.cipher, { name: 'none' }),
      (inner) => void Object.assign(inner, { kdf: undefined }),
      (inner) => void Object.assign(inner, { cipher: 'nacl/secretbox' }),
      (inner) => void Object.assign(inner, { ciphertext: 5 }),
      (inner) => void Object.assign(inner, { ciphertext: 'not base64!' }),
      (inner) => void Object.assign(inner.kdf, { salt: '' }),
      (inner) => void Object.assign(inner.kdf, { salt: Buffer.alloc(33).toString('base64') }),
      (inner) => void Object.assign(inner.cipher, { nonce: Buffer.alloc(12).toString('base64') }),
    ];
    for (const change of changes) await rejectsWith(readPrivateKey(altered(change), never), 'E_KEY_FILE');
  });

  it('with changed or missing ciphertext does not open', async () => {
    const flip = altered((inner) => {
      const bytes = Buffer.from(String(inner.ciphertext), 'base64');
      bytes[20] = (bytes[20] as number) ^ 1;
      inner.ciphertext = bytes.toString('base64');
    });
    const empty = altered((inner) => void Object.assign(inner, { ciphertext: '' }));
    for (const pem of [flip, empty])
      await rejectsWith(
        readPrivateKey(pem, async () => 'pw'),
        'E_KEY_PASSWORD',
      );
  });

  it('that hides something else than a P-256 key is refused after it is opened', async () => {
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey.export({ format: 'der', type: 'pkcs8' });
    for (const [content, why] of [
      [p384, /secp384r1/],
      [Buffer.from('garbage'), /PKCS#8/],
    ] as const) {
      const pem = await encryptPrivateKey(content, 'pw');
      await rejectsWith(
        readPrivateKey(pem, async () => 'pw'),
        'E_KEY_FILE',
        why,
      );
    }
  });
});

describe('a key file', () => {
  it('that is no private key, cut, doubled, huge or garbage is refused with the reason', async () => {
    const plain = key.keyObject.export({ format: 'pem', type: 'pkcs8' }) as string;
    const cases: [string, RegExp][] = [
      ['', /no PEM block/],
      ['\0\0\0', /no PEM block/],
      [key.publicKey.pem, /public key/],
      [plain + plain, /2 PEM blocks/],
      [plain + key.publicKey.pem, /2 PEM blocks/],
      [plain.slice(0, -20), /cut off/],
      [good.slice(0, 200), /cut off/],
      [good.replace(/\n[A-Za-z0-9+/]{64}\n/, '\n'), /./],
      [toPem(LABEL, Buffer.from('[]')), /not a JSON object/],
      [toPem(LABEL, Buffer.from('{"kdf":{},"kdf":{}}')), /twice/],
      [toPem('PRIVATE KEY', Buffer.from('garbage')), /PKCS#8/],
      [toPem('EC PRIVATE KEY', Buffer.from('garbage')), /SEC 1/],
      [toPem('ENCRYPTED PRIVATE KEY', Buffer.from('x')), /ENCRYPTED PRIVATE KEY/],
      [toPem('OPENSSH PRIVATE KEY', Buffer.from('x')), /OPENSSH/],
      [plain.replace('KEY-----\n', 'KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n'), /OpenSSL-encrypted/],
      [`${plain}${' '.repeat(70_000)}`, /limit/],
    ];
    for (const [pem, why] of cases) await rejectsWith(readPrivateKey(pem, never, 'a.key'), 'E_KEY_FILE', why);
  });

  it('of another kind or curve is refused by name', async () => {
    const pairs = [
      generateKeyPairSync('ec', { namedCurve: 'P-384' }),
      generateKeyPairSync('ec', { namedCurve: 'secp256k1' }),
      generateKeyPairSync('ed25519'),
      generateKeyPairSync('rsa', { modulusLength: 2048 }),
    ];
    for (const { privateKey } of pairs) {
      const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
      await rejectsWith(readPrivateKey(pem, never), 'E_KEY_FILE', /want ECDSA P-256/);
    }
  });

  it('whose public half is of another key is refused: what it signs would verify nowhere', async () => {
    const der = key.keyObject.export({ format: 'der', type: 'pkcs8' });
    const other = Buffer.from(freshKey().publicKey.spkiDer).subarray(26);
    const mixed = Buffer.concat([der.subarray(0, der.length - 65), other]);
    await rejectsWith(readPrivateKey(toPem('PRIVATE KEY', mixed), never), 'E_KEY_FILE');
  });
});
