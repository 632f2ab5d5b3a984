import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { FileSystem } from '../files/file-system.ts';

/** Asks a person, without echo. Only there when a terminal is. */
export type PasswordPrompt = (question: string) => Promise<string>;

export type PasswordOptions = Readonly<{
  passwordFile?: string | undefined;
  env: Readonly<Record<string, string | undefined>>;
  prompt?: PasswordPrompt | undefined;
}>;

/** Ours first; COSIGN_PASSWORD so that a key of cosign's works where cosign's does. An empty one is a password, as for cosign. */
export const PASSWORD_VARIABLES: readonly string[] = ['BUNDLE_KEY_PASSWORD', 'COSIGN_PASSWORD'];

/**
 * The password of a key: from --key-password-file (one trailing newline is not part of it), else the environment, else the prompt.
 * @throws BundleError E_KEY_PASSWORD
 */
export async function readPassword(fs: FileSystem, options: PasswordOptions, question: string): Promise<string> {
  const given = await givenPassword(fs, options);
  if (given !== undefined) return given;
  if (options.prompt !== undefined) return options.prompt(question);
  throw new BundleError('E_KEY_PASSWORD', 'the key needs a password, and there is no terminal to ask on', {
    hint: 'give --key-password-file FILE or set BUNDLE_KEY_PASSWORD',
  });
}

/**
 * The password for a new key: as {@link readPassword}, but a person types it twice.
 * @throws BundleError E_KEY_PASSWORD
 */
export async function readNewPassword(fs: FileSystem, options: PasswordOptions): Promise<string> {
  const first = await readPassword(fs, options, 'Password for the new key: ');
  if (options.prompt === undefined || (await givenPassword(fs, options)) !== undefined) return first;
  if ((await options.prompt('The same again: ')) === first) return first;
  throw new BundleError('E_KEY_PASSWORD', 'the two passwords differ; no key was made');
}

async function givenPassword(fs: FileSystem, { passwordFile, env }: PasswordOptions): Promise<string | undefined> {
  if (passwordFile !== undefined) return passwordFromFile(fs, passwordFile);
  return PASSWORD_VARIABLES.map((name) => env[name]).find((value) => value !== undefined);
}

async function passwordFromFile(fs: FileSystem, path: string): Promise<string> {
  try {
    const bytes = await fs.readUserFile(path, LIMITS.keyFileBytes);
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes).replace(/\r?\n$/, '');
  } catch (error) {
    const why = error instanceof TypeError ? 'it is not UTF-8' : error instanceof Error ? error.message : String(error);
    throw new BundleError('E_KEY_PASSWORD', `password file ${path}: can't be read: ${why}`, { cause: error });
  }
}
