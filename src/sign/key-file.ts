import { randomBytes, scrypt } from 'node:crypto';
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js';
import { BundleError } from '../core/errors.ts';
import { isObject, type JsonObject, parseStrictJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { type PemBlock, pemBlocks, strictBase64, toPem } from './pem.ts';
import { type PrivateKey, privateKeyFromDer } from './private-key.ts';

// cosign's key file (cosign pkg/cosign/keys.go, go-securesystemslib/encrypted): PEM around JSON, scrypt, NaCl secretbox, PKCS#8 inside.
const LABEL = 'ENCRYPTED SIGSTORE PRIVATE KEY';
const OLD_LABEL = 'ENCRYPTED COSIGN PRIVATE KEY';
type Scrypt = Readonly<{ N: number; r: number; p: number }>;
/** cosign's own default. */
const WRITTEN: Scrypt = { N: 65536, r: 8, p: 1 };
/** What cosign's readers take. More would let a key file ask for gigabytes of memory (128·N·r bytes). */
const ACCEPTED_N = [32768, 65536, 131072];
const SALT_BYTES = 32;
const NONCE_BYTES = 24;

/**
 * Writes a private key (PKCS#8 DER) in cosign's encrypted form. An empty password is allowed, as cosign allows it.
 * Takes about 0.2 s and 64 MiB, off the main thread.
 */
export async function encryptPrivateKey(pkcs8Der: Uint8Array, password: Uint8Array | string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const nonce = randomBytes(NONCE_BYTES);
  const key = await deriveKey(password, salt, WRITTEN);
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
  const envelope = {
    kdf: { name: 'scrypt', params: WRITTEN, salt: base64(salt) },
    cipher: { name: 'nacl/secretbox', nonce: base64(nonce) },
    ciphertext: base64(xsalsa20poly1305(key, nonce).encrypt(pkcs8Der)),
  };
  return toPem(LABEL, Buffer.from(JSON.stringify(envelope)));
}

/**
 * Reads cosign's encrypted form, new or old label, and plain PKCS#8 or SEC 1; P-256 only.
 * @param password asked only when the key is encrypted
 * @throws BundleError E_KEY_FILE; E_KEY_PASSWORD when the password does not fit
 */
export async function readPrivateKey(pem: string, password: () => Promise<string>, what = 'private key'): Promise<PrivateKey> {
  if (pem.length > LIMITS.keyFileBytes) {
    throw new BundleError('E_KEY_FILE', `${what}: longer than the limit of ${LIMITS.keyFileBytes} bytes`);
  }
  const block = onePrivateBlock(pem, what);
  if (block.label === 'PRIVATE KEY') return privateKeyFromDer(block.bytes, 'pkcs8', what);
  if (block.label === 'EC PRIVATE KEY') return privateKeyFromDer(block.bytes, 'sec1', what);
  const envelope = parseEnvelope(block.bytes, what);
  const der = await decrypt(envelope, await password(), what);
  return privateKeyFromDer(der, 'pkcs8', what);
}

function onePrivateBlock(pem: string, what: string): PemBlock {
  if (pem.includes('Proc-Type:')) throw unsupported(what, 'an OpenSSL-encrypted key');
  // `openssl ecparam -genkey` puts the curve's name into a block of its own.
  const blocks = pemBlocks(pem, what, 'E_KEY_FILE').filter((block) => block.label !== 'EC PARAMETERS');
  const [block] = blocks;
  if (block === undefined || blocks.length !== 1) {
    throw new BundleError('E_KEY_FILE', `${what}: got ${blocks.length} PEM blocks, want one private key`);
  }
  if ([LABEL, OLD_LABEL, 'PRIVATE KEY', 'EC PRIVATE KEY'].includes(block.label)) return block;
  if (block.label === 'PUBLIC KEY') {
    throw new BundleError('E_KEY_FILE', `${what}: it holds a public key, want the private one`, {
      hint: 'give the .key file of the pair',
    });
  }
  throw unsupported(what, `a block ${block.label}`);
}

const unsupported = (what: string, got: string): BundleError =>
  new BundleError('E_KEY_FILE', `${what}: got ${got}, want ${LABEL}, PRIVATE KEY or EC PRIVATE KEY`, {
    hint: "turn it into cosign's form with `cosign import-key-pair --key FILE`",
  });

type Envelope = Readonly<{ scrypt: Scrypt; salt: Buffer; nonce: Buffer; ciphertext: Buffer }>;

function parseEnvelope(bytes: Uint8Array, what: string): Envelope {
  const json = parseStrictJson(bytes, `${what}: the encrypted part`, 'E_KEY_FILE');
  const kdf = objectIn(json, 'kdf', what);
  const cipher = objectIn(json, 'cipher', what);
  if (kdf.name !== 'scrypt' || cipher.name !== 'nacl/secretbox') {
    throw new BundleError('E_KEY_FILE', `${what}: encrypted by other means than scrypt and nacl/secretbox`);
  }
  const { N, r, p } = objectIn(kdf, 'params', what);
  if (typeof N !== 'number' || !ACCEPTED_N.includes(N) || r !== 8 || p !== 1) {
    const got = JSON.stringify({ N, r, p }).slice(0, 100);
    throw new BundleError(
      'E_KEY_FILE',
      `${what}: scrypt parameters ${got} are refused, want N of ${ACCEPTED_N.join(', ')}, r 8, p 1`,
    );
  }
  const salt = bytesIn(kdf, 'salt', what, SALT_BYTES);
  return {
    scrypt: { N, r, p },
    salt,
    nonce: bytesIn(cipher, 'nonce', what, NONCE_BYTES),
    ciphertext: bytesIn(json, 'ciphertext', what),
  };
}

function objectIn(json: JsonObject, name: string, what: string): JsonObject {
  const value = json[name];
  if (isObject(value)) return value;
  throw new BundleError('E_KEY_FILE', `${what}: ${name} is missing from the encrypted part`);
}

function bytesIn(json: JsonObject, name: string, what: string, length?: number): Buffer {
  const value = json[name];
  const bytes = typeof value === 'string' ? strictBase64(value) : undefined;
  if (bytes === undefined || (length !== undefined && bytes.length !== length)) {
    throw new BundleError('E_KEY_FILE', `${what}: ${name} is not base64${length === undefined ? '' : ` of ${length} bytes`}`);
  }
  return bytes;
}

async function decrypt(envelope: Envelope, password: string, what: string): Promise<Uint8Array> {
  const key = await deriveKey(password, envelope.salt, envelope.scrypt);
  try {
    return xsalsa20poly1305(key, envelope.nonce).decrypt(envelope.ciphertext);
  } catch {
    // The authenticator can't tell a wrong password from damage. No cause: nothing derived from the password leaves here.
    throw new BundleError('E_KEY_PASSWORD', `${what}: the password does not open it (or the file is damaged)`, {
      hint: 'check --key-password-file, BUNDLE_KEY_PASSWORD or COSIGN_PASSWORD',
    });
  }
}

function deriveKey(password: Uint8Array | string, salt: Uint8Array, { N, r, p }: Scrypt): Promise<Buffer> {
  // Node's default maxmem (32 MiB) is below what cosign's parameters need: 128·N·r, here doubled for the small rest.
  return new Promise((resolve, reject) => {
    scrypt(password, salt, 32, { N, r, p, maxmem: 256 * N * r }, (error, key) => (error ? reject(error) : resolve(key)));
  });
}
