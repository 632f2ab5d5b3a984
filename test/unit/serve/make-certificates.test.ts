import assert from 'node:assert/strict';
import { createHash, createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { describe, test } from 'node:test';
import { AuthorityKeyIdentifierExtension, X509Certificate as Parsed, SubjectKeyIdentifierExtension } from '@peculiar/x509';
import { makeCa, makeServerCertificate } from '../../../src/serve/make-certificates.ts';
import { rejectsWith } from '../../support/assert-code.ts';

const YEAR = { from: Date.UTC(2027, 0, 1), to: Date.UTC(2028, 0, 1) };
const NAMES = ['node-1', '192.0.2.7', '::1'];
const NUMBERS = { basicConstraints: '2.5.29.19', keyUsage: '2.5.29.15', extendedKeyUsage: '2.5.29.37' };

/** DER of an extension's value in hex, and whether it is critical. */
function extensionOf(pem: string, number: string): readonly [string, boolean] | undefined {
  const found = new Parsed(pem).getExtension(number);
  return found === null ? undefined : [Buffer.from(found.value).toString('hex'), found.critical];
}

const subjectKeyOf = (pem: string) => new Parsed(pem).getExtension(SubjectKeyIdentifierExtension)?.keyId;
const authorityKeyOf = (pem: string) => new Parsed(pem).getExtension(AuthorityKeyIdentifierExtension)?.keyId;

/** The first 160 bits of SHA-256 over the point, which are the last 65 bytes of the key's DER (RFC 7093 §2, method 1). */
function identifierOf(pem: string): string {
  const spki = new X509Certificate(pem).publicKey.export({ format: 'der', type: 'spki' });
  return createHash('sha256').update(spki.subarray(-65)).digest('hex').slice(0, 40);
}

describe('a CA', () => {
  test('may sign servers and lists alone, no further CAs, and both are critical', async () => {
    const { cert } = await makeCa(undefined, YEAR);
    // RFC 5280 §4.2.1.9 and §4.2.1.3: {TRUE, 0}, and the bits 5 and 6.
    assert.deepEqual(extensionOf(cert, NUMBERS.basicConstraints), ['30060101ff020100', true]);
    assert.deepEqual(extensionOf(cert, NUMBERS.keyUsage), ['03020106', true]);
    assert.ok(new X509Certificate(cert).verify(new X509Certificate(cert).publicKey));
  });

  test('is named and identified after its key: the same key gives the same', async () => {
    const first = await makeCa(undefined, YEAR);
    const again = await makeCa(first.key, { from: YEAR.from, to: YEAR.to + 1000 });
    assert.equal(again.key, first.key);
    assert.equal(new X509Certificate(again.cert).subject, new X509Certificate(first.cert).subject);
    assert.deepEqual([subjectKeyOf(first.cert), subjectKeyOf(again.cert)], [identifierOf(first.cert), identifierOf(first.cert)]);
    const other = await makeCa(undefined, YEAR);
    assert.notEqual(new X509Certificate(other.cert).subject, new X509Certificate(first.cert).subject);
  });
});

describe('a certificate of a server', () => {
  test('is no CA, signs handshakes only, and serves the names that were asked for', async () => {
    const ca = await makeCa(undefined, YEAR);
    const { cert, key } = await makeServerCertificate(ca, NAMES, YEAR);
    assert.deepEqual(extensionOf(cert, NUMBERS.basicConstraints), ['3000', true]);
    assert.deepEqual(extensionOf(cert, NUMBERS.keyUsage), ['03020780', true]);
    assert.equal(extensionOf(cert, NUMBERS.extendedKeyUsage)?.[1], false);
    const leaf = new X509Certificate(cert);
    assert.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1']);
    assert.equal(leaf.subjectAltName, 'DNS:node-1, IP Address:192.0.2.7, IP Address:0:0:0:0:0:0:0:1');
    assert.ok(leaf.checkPrivateKey(createPrivateKey(key)) && leaf.publicKey.asymmetricKeyDetails?.namedCurve === 'prime256v1');
  });

  test('identifies its own key and that of the CA', async () => {
    const ca = await makeCa(undefined, YEAR);
    const { cert } = await makeServerCertificate(ca, NAMES, YEAR);
    assert.equal(subjectKeyOf(cert), identifierOf(cert));
    assert.equal(authorityKeyOf(cert), identifierOf(ca.cert));
    assert.ok(new X509Certificate(cert).checkIssued(new X509Certificate(ca.cert)));
  });

  test('is refused of a CA with another kind of key', async () => {
    const { cert } = await makeCa(undefined, YEAR);
    for (const { privateKey } of [generateKeyPairSync('ec', { namedCurve: 'P-384' }), generateKeyPairSync('ed25519')]) {
      const key = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
      await rejectsWith(makeServerCertificate({ key, cert }, NAMES, YEAR), 'E_TLS', /secp384r1|ed25519/);
      await rejectsWith(makeCa(key, YEAR), 'E_TLS', /want EC P-256/);
    }
  });
});

test('every serial number is new, positive, and has 16 octets', async () => {
  const ca = await makeCa(undefined, YEAR);
  const pairs = await Promise.all(Array.from({ length: 32 }, () => makeServerCertificate(ca, NAMES, YEAR)));
  const serials = [ca, ...pairs].map(({ cert }) => new X509Certificate(cert).serialNumber);
  assert.equal(new Set(serials).size, serials.length);
  for (const serial of serials) assert.match(serial, /^[4-7][0-9A-F]{31}$/);
});

test('dates are whole seconds, in two digits of the year until 2049 and in four from 2050', async () => {
  const { cert } = await makeCa(undefined, { from: Date.UTC(2049, 11, 31, 23, 59, 59, 999), to: Date.UTC(2050, 0, 1) + 7 });
  const made = new X509Certificate(cert);
  assert.equal(made.validFromDate.toISOString(), '2049-12-31T23:59:59.000Z');
  assert.equal(made.validToDate.toISOString(), '2050-01-01T00:00:00.000Z');
  // RFC 5280 §4.1.2.5: UTCTime is tag 17 hex, GeneralizedTime 18 hex.
  assert.ok(made.raw.includes('\x17\x0d491231235959Z\x18\x0f20500101000000Z', 0, 'latin1'));
});
