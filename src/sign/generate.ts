import { generateKeyPair as generate } from 'node:crypto';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { BundleError, diskError, isSystemError } from '../core/errors.ts';
import { removeQuietly } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import { encryptPrivateKey } from './key-file.ts';
import { type PublicKey, publicKeyFromSpki } from './public-key.ts';

export type KeyPairFiles = Readonly<{ keyPath: string; pubPath: string; publicKey: PublicKey }>;

/**
 * Makes a P-256 pair and writes PREFIX.key (cosign's encrypted form, mode 0600) and PREFIX.pub (0644). Neither is ever overwritten: both
 * are created under their final names, exclusively, so that not even a second run at the same instant can replace a key.
 * @throws BundleError E_USAGE when one of them is there; E_DISK, E_DISK_FULL
 */
export async function generateKeyPair(fs: FileSystem, prefix: string, password: Uint8Array | string): Promise<KeyPairFiles> {
  const keyPath = `${prefix}.key`;
  const pubPath = `${prefix}.pub`;
  if (prefix === '' || prefix.endsWith('/')) {
    throw new BundleError('E_USAGE', `the prefix ${JSON.stringify(prefix)} has no file name`, {
      hint: 'give one such as keys/release',
    });
  }
  for (const path of [keyPath, pubPath]) if ((await fs.stat(path)) !== undefined) throw exists(path);
  const pair = await promisify(generate)('ec', { namedCurve: 'P-256' });
  const encrypted = await encryptPrivateKey(pair.privateKey.export({ format: 'der', type: 'pkcs8' }), password);
  const publicKey = publicKeyFromSpki(pair.publicKey.export({ format: 'der', type: 'spki' }), pubPath, 'E_UNEXPECTED');
  try {
    await fs.mkdir(dirname(keyPath));
  } catch (error) {
    throw diskError(error, `making the directory of ${keyPath}`);
  }
  await createDurable(fs, keyPath, encrypted, 0o600);
  try {
    await createDurable(fs, pubPath, publicKey.pem, 0o644);
  } catch (error) {
    await removeQuietly(fs, keyPath); // nobody can have used it yet
    throw error;
  }
  return { keyPath, pubPath, publicKey };
}

async function createDurable(fs: FileSystem, path: string, text: string, mode: number): Promise<void> {
  let created = false;
  try {
    const handle = await fs.create(path, mode);
    created = true;
    try {
      await handle.write(Buffer.from(text));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await fs.syncDir(dirname(path));
  } catch (error) {
    if (created) await removeQuietly(fs, path);
    throw isSystemError(error, 'EEXIST') ? exists(path) : diskError(error, `writing ${path}`);
  }
}

const exists = (path: string): BundleError =>
  new BundleError('E_USAGE', `${path} is there already; keys are never overwritten`, {
    hint: 'choose another name with -o PREFIX, or remove the file yourself if it is left over from a run that was stopped',
  });
