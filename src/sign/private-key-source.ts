import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { FileSystem } from '../files/file-system.ts';
import { isExecKey, loadExecKey } from './exec-signer.ts';
import { readPrivateKey } from './key-file.ts';
import { type PasswordOptions, readPassword } from './password.ts';
import type { PrivateKey } from './private-key.ts';
import { type SigningKey, signingKeyOf } from './signing-key.ts';

export type SigningKeyOptions = PasswordOptions & Readonly<{ signal?: AbortSignal | undefined }>;

/**
 * What several `--key` name, each key once. A program that holds one of them does not get the variables that hold others.
 * @throws BundleError E_KEY_FILE, E_KEY_PASSWORD, E_INTERRUPTED; E_USAGE for another kind of name
 */
export async function loadSigningKeys(
  fs: FileSystem,
  specs: readonly string[],
  options: SigningKeyOptions,
): Promise<SigningKey[]> {
  const secrets = new Set(specs.map((spec) => VARIABLE.exec(spec)?.[1]));
  const env = Object.fromEntries(Object.entries(options.env).filter(([name]) => !secrets.has(name)));
  const keys = new Map<string, SigningKey>();
  for (const spec of specs) {
    const key = await loadSigningKey(fs, spec, isExecKey(spec) ? { ...options, env } : options);
    keys.set(key.publicKey.keyid, key);
  }
  return [...keys.values()];
}

/**
 * What one `--key` names: a file, `env://NAME`, or `exec:PROGRAM ARG…` for a program that holds the key.
 * @throws as {@link loadSigningKeys}
 */
export async function loadSigningKey(fs: FileSystem, spec: string, options: SigningKeyOptions): Promise<SigningKey> {
  if (isExecKey(spec)) return loadExecKey(spec, { env: options.env, signal: options.signal });
  return signingKeyOf(await loadPrivateKey(fs, spec, options));
}

const VARIABLE = /^env:\/\/([A-Za-z_][A-Za-z0-9_]*)$/;

/**
 * A private key by its name: a file, or `env://NAME` for a variable that holds the PEM text.
 * @throws BundleError E_KEY_FILE, E_KEY_PASSWORD; E_USAGE for another kind of name
 */
export async function loadPrivateKey(fs: FileSystem, spec: string, options: PasswordOptions): Promise<PrivateKey> {
  const pem = spec.includes('://') ? fromEnvironment(spec, options.env) : await fromFile(fs, spec);
  return readPrivateKey(pem, () => readPassword(fs, options, `Password for ${spec}: `), spec);
}

function fromEnvironment(spec: string, env: PasswordOptions['env']): string {
  const name = VARIABLE.exec(spec)?.[1];
  if (name === undefined) {
    throw new BundleError('E_USAGE', `--key ${spec}: want a file, env://NAME or exec:PROGRAM`, {
      hint: 'a key in a KMS or on a token is reached by a program: docs/signer-protocol.md',
    });
  }
  const pem = env[name];
  if (pem !== undefined && pem !== '') return pem;
  throw new BundleError('E_KEY_FILE', `--key ${spec}: the variable ${name} is ${pem === '' ? 'empty' : 'not set'}`, {
    hint: `put the text of the .key file into ${name}`,
  });
}

async function fromFile(fs: FileSystem, path: string): Promise<string> {
  try {
    return (await fs.readUserFile(path, LIMITS.keyFileBytes)).toString('latin1');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new BundleError('E_KEY_FILE', `key file ${path}: can't be read: ${why}`, { cause: error });
  }
}
