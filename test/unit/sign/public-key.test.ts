import assert from 'node:assert/strict';
import { createECDH, createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, it } from 'node:test';
import { toPem } from '../../../src/sign/pem.ts';
import { parsePublicKeys, publicKeyFromSpki } from '../../../src/sign/public-key.ts';
import { throwsWith } from '../../support/assert-code.ts';
import { freshKey } from './test-keys.ts';

const spkiPem = ({ publicKey }: { publicKey: KeyObject }) => publicKey.export({ format: 'pem', type: 'spki' }) as string;

describe('public keys', () => {
  it('are known by the SHA-256 of their SPKI: hex as the keyid, base64 as the hint', () => {
    const { publicKey } = freshKey();
    const [parsed] = parsePublicKeys(publicKey.pem, 'a.pub');
    const sum = createHash('sha256').update(publicKey.spkiDer).digest();
    assert.deepEqual([parsed?.keyid, parsed?.hint, parsed?.pem], [sum.toString('hex'), sum.toString('base64'), publicKey.pem]);
  });

  it('may stand several in a file, with text around them; the same one twice is one', () => {
    const [a, b] = [freshKey().publicKey, freshKey().publicKey];
    const text = `# first\n${a.pem}second:\r\n${b.pem.replaceAll('\n', '\r\n')}again\n${a.pem}`;
    assert.deepEqual(
      parsePublicKeys(text, 'x').map((key) => key.keyid),
      [a.keyid, b.keyid],
    );
  });

  it('of other kinds than P-256 are refused by name', () => {
    throwsWith(
      () => parsePublicKeys(spkiPem(generateKeyPairSync('ec', { namedCurve: 'P-384' })), 'a.pub'),
      'E_TRUST_FILE',
      /secp384r1.*P-256/,
    );
    throwsWith(() => parsePublicKeys(spkiPem(generateKeyPairSync('ed25519')), 'a.pub'), 'E_TRUST_FILE', /ed25519.*P-256/);
    throwsWith(
      () => parsePublicKeys(spkiPem(generateKeyPairSync('rsa', { modulusLength: 2048 })), 'a.pub'),
      'E_TRUST_FILE',
      /rsa.*P-256/,
    );
  });

  it('have one encoding only: a compressed point of a good key is refused, or one signer could count as two', () => {
    const { spkiDer } = freshKey().publicKey;
    const point = createECDH('prime256v1');
    point.generateKeys();
    const compressed = Buffer.concat([
      Buffer.from('3039301306072a8648ce3d020106082a8648ce3d030107032200', 'hex'),
      point.getPublicKey(null, 'compressed'),
    ]);
    throwsWith(() => publicKeyFromSpki(compressed, 'a.pub'), 'E_TRUST_FILE', /unusual encoding/);
    throwsWith(() => publicKeyFromSpki(Buffer.concat([spkiDer, Buffer.from([0])]), 'a.pub'), 'E_TRUST_FILE');
  });

  it('that are private keys, certificates, cut, damaged or nothing at all are refused with the reason', () => {
    const { keyObject, publicKey } = freshKey();
    const cases: [string, RegExp][] = [
      [keyObject.export({ format: 'pem', type: 'pkcs8' }) as string, /private key/],
      [toPem('ENCRYPTED SIGSTORE PRIVATE KEY', Buffer.from('{}')), /private key/],
      [toPem('CERTIFICATE', publicKey.spkiDer), /CERTIFICATE/],
      [publicKey.pem.slice(0, -30), /cut off/],
      [publicKey.pem + publicKey.pem.slice(0, 90), /cut off/],
      [publicKey.pem.replace('M', '*'), /not base64/],
      [toPem('PUBLIC KEY', publicKey.spkiDer.subarray(1)), /not a public key/],
      ['', /no PEM block/],
      [publicKey.keyid, /no PEM block/],
      ['x'.repeat(70_000), /limit/],
    ];
    for (const [text, why] of cases) throwsWith(() => parsePublicKeys(text, 'a.pub'), 'E_TRUST_FILE', why);
  });

  it('whose point is not on the curve are refused', () => {
    const der = Buffer.from(freshKey().publicKey.spkiDer);
    der[90] = (der[90] as number) ^ 1;
    throwsWith(() => publicKeyFromSpki(der, 'a.pub'), 'E_TRUST_FILE');
  });
});
