import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type PrivateKey, privateKeyFromDer } from '../../../src/sign/private-key.ts';
import { createKeySigner } from '../../../src/sign/signer.ts';
import { type SigningKey, signingKeyOf } from '../../../src/sign/signing-key.ts';
import { signStatement } from '../../../src/sign/statement-signature.ts';

/** A fresh P-256 key, without the slow encryption. */
export function freshKey(): PrivateKey & SigningKey {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = privateKeyFromDer(privateKey.export({ format: 'der', type: 'pkcs8' }), 'pkcs8', 'test key');
  return { ...key, ...signingKeyOf(key) };
}

export const STATEMENT = Buffer.from('{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicate":{"name":"lumen"}}');

/** For which bundle and when a signature is checked, where neither matters: keys without terms count always. */
export const OCCASION = { name: 'lumen', now: 0 } as const;

export const signWith = (key: PrivateKey, bytes: Uint8Array = STATEMENT): Promise<Uint8Array> =>
  signStatement(createKeySigner(key), bytes);

/** What a bundle looks like as an object, open to any change. */
export type Loose = Record<string, unknown>;
type LooseBundle = Loose & { verificationMaterial: Loose; dsseEnvelope: Loose & { signatures: Loose[] } };

/** The signature file with one thing in it changed. */
export function changed(bytes: Uint8Array, change: (bundle: LooseBundle) => void): Uint8Array {
  const bundle = JSON.parse(Buffer.from(bytes).toString()) as LooseBundle;
  change(bundle);
  return Buffer.from(JSON.stringify(bundle));
}

/** A directory that is gone when the test is over. */
export async function temporaryDirectory(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'bundle-sign-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}
