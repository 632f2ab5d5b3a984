import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { BundleError } from '../core/errors.ts';

/** PEM, the key in PKCS #8. */
export type Pair = Readonly<{ key: string; cert: string }>;

/** Milliseconds since 1970; a certificate holds whole seconds. */
export type Validity = Readonly<{ from: number; to: number }>;

const CURVE = 'P-256';
const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' } as const;

/**
 * A CA that signs itself and may sign server certificates alone, no further CAs.
 * @param given its private key in PEM, EC P-256; undefined makes one
 * @throws BundleError E_TLS when the key is another kind, or unreadable
 */
export async function makeCa(given: string | undefined, { from, to }: Validity): Promise<Pair> {
  const key = given === undefined ? newKey() : caKeyOf(given);
  const spki = spkiOf(key);
  // Named after its key: OpenSSL looks for an issuer by its name, and a site may have several registries.
  const name = [{ CN: [`bundle registry CA ${createHash('sha256').update(spki).digest('hex').slice(0, 16)}`] }];
  const cert = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: name,
    issuer: name,
    notBefore: new Date(from),
    notAfter: new Date(to),
    publicKey: spki,
    signingKey: signingKey(key),
    signingAlgorithm: SIGNATURE,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await subjectKeyIdentifier(spki),
    ],
  });
  return pairOf(key, cert);
}

/**
 * A TLS server's certificate with a new key.
 * @param names DNS names and addresses; the first one is the subject's name too
 * @throws BundleError E_TLS when the CA's key is not EC P-256
 */
export async function makeServerCertificate(ca: Pair, names: readonly string[], { from, to }: Validity): Promise<Pair> {
  const issuer = new X509Certificate(ca.cert);
  const key = newKey();
  const spki = spkiOf(key);
  const [first = 'localhost'] = names;
  const cert = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [{ CN: [first.slice(0, 64)] }],
    // The parsed name, not its text: it has to be the CA's byte for byte.
    issuer: issuer.subjectName,
    notBefore: new Date(from),
    notAfter: new Date(to),
    publicKey: spki,
    signingKey: signingKey(caKeyOf(ca.key)),
    signingAlgorithm: SIGNATURE,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(names.map((value) => ({ type: isIP(value) ? 'ip' : 'dns', value }))),
      await subjectKeyIdentifier(spki),
      ...authorityKeyIdentifier(issuer),
    ],
  });
  return pairOf(key, cert);
}

const newKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: CURVE }).privateKey;
const spkiOf = (key: KeyObject): Buffer => createPublicKey(key).export({ format: 'der', type: 'spki' });

const pairOf = (key: KeyObject, cert: X509Certificate): Pair => ({
  key: key.export({ format: 'pem', type: 'pkcs8' }).toString(),
  cert: `${cert.toString('pem').trimEnd()}\n`,
});

/** The CA's own key, from before. */
function caKeyOf(pem: string): KeyObject {
  const hint = 'put the key that bundle made back, or name a certificate with --tls-cert';
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new BundleError('E_TLS', "the key of the CA can't be read", { origin: 'host', hint, cause });
  }
  const kind = key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType;
  if (kind !== 'prime256v1')
    throw new BundleError('E_TLS', `the key of the CA is ${kind}, want EC P-256`, { origin: 'host', hint });
  return key;
}

const signingKey = (key: KeyObject): CryptoKey => key.toCryptoKey({ name: 'ECDSA', namedCurve: CURVE }, false, ['sign']);

/** Hex of 16 octets, positive and without leading zeros to drop (RFC 5280 §4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes.writeUInt8((bytes.readUInt8(0) & 0x7f) | 0x40);
  return bytes.toString('hex');
}

/** The first 160 bits of the key's SHA-256 (RFC 7093 §2, method 1): hosts that refuse SHA-1 can make it too. */
async function subjectKeyIdentifier(spki: Buffer): Promise<SubjectKeyIdentifierExtension> {
  const hash = await new PublicKey(spki).getKeyIdentifier('SHA-256');
  return new SubjectKeyIdentifierExtension(Buffer.from(hash, 0, 20).toString('hex'));
}

/** What the issuer says about itself (RFC 5280 §4.2.1.1): a CA from before we wrote identifiers has none, and one worked out fits none. */
function authorityKeyIdentifier(issuer: X509Certificate): readonly AuthorityKeyIdentifierExtension[] {
  const found = issuer.getExtension(SubjectKeyIdentifierExtension);
  return found === null ? [] : [new AuthorityKeyIdentifierExtension(found.keyId)];
}
