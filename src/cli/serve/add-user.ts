import { BundleError, isSystemError } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { writeFileDurable } from '../../files/durable-write.ts';
import type { FileSystem } from '../../files/file-system.ts';
import { checkUserName, parseHtpasswd, withUser } from '../../serve/htpasswd.ts';
import type { Context } from '../context.ts';
import type { Args } from '../options.ts';
import { printJson } from '../render/failure.ts';
import { readHtpasswd } from './users.ts';

/** htpasswd -B takes 5, OpenBSD and others 10 or more: a tenth of a second on node-1. */
const COST = 10;
/** Hashes, even of bcrypt, are not for everybody to try passwords on. */
const MODE = 0o600;

/** `serve --htpasswd FILE --add-user NAME`: a bare node has no htpasswd program. @throws BundleError E_USAGE, E_DISK */
export async function addUser(args: Args, context: Context): Promise<number> {
  const { htpasswd: path, 'add-user': name } = args;
  if (path === undefined || name === undefined) throw new BundleError('E_USAGE', '--add-user needs --htpasswd FILE');
  checkUserName(name, (why) => new BundleError('E_USAGE', `--add-user: ${why}`));
  const { fs } = context;
  const before = (await exists(fs, path)) ? await readHtpasswd(fs, path) : '';
  const known = parseHtpasswd(before, path).has(name);
  const password = await readPassword(fs, args['password-file']);
  const { hash } = await import('bcryptjs');
  const mode = (await fs.stat(path))?.mode ?? MODE;
  await writeFileDurable(fs, path, Buffer.from(withUser(before, name, await hash(password, COST))), mode);
  const did = known ? 'replaced' : 'added';
  if (args.json) printJson(context, { htpasswd: path, user: name, outcome: did });
  else context.stdout(`${path}: ${did} ${JSON.stringify(name)}\n`);
  return 0;
}

async function exists(fs: FileSystem, path: string): Promise<boolean> {
  const kind = (await fs.stat(path))?.kind;
  // Replacing a link would leave what it points at, which is what the server reads, as it was.
  if (kind !== undefined && kind !== 'file') throw new BundleError('E_USAGE', `${path} is no regular file: name the file itself`);
  return kind === 'file';
}

/** One trailing newline is not part of it. */
async function readPassword(fs: FileSystem, file: string | undefined): Promise<string> {
  const bytes = file === undefined ? await fromStandardInput() : await fromFile(fs, file);
  const password = bytes.toString('utf8').replace(/\r?\n$/, '');
  const fail = (why: string): BundleError => new BundleError('E_USAGE', `the password ${why}`);
  if (password === '') throw fail('is empty');
  if (Buffer.byteLength(password) > LIMITS.passwordBytes)
    throw fail(`has more than ${LIMITS.passwordBytes} bytes, and bcrypt reads no further`);
  if (/[\u0000-\u001f\u007f\ufffd]/.test(password)) throw fail('has a control character or a line break in it, or is not UTF-8');
  return password;
}

async function fromFile(fs: FileSystem, file: string): Promise<Buffer> {
  try {
    return await fs.readUserFile(file, LIMITS.keyFileBytes);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new BundleError('E_USAGE', `--password-file ${file} can't be read: ${error.message}`, { cause: error });
  }
}

async function fromStandardInput(): Promise<Buffer> {
  if (process.stdin.isTTY) {
    const { terminalPrompt } = await import('../../sign/password-prompt.ts');
    const prompt = terminalPrompt(process.stdin, process.stderr);
    const first = (await prompt?.('Password: ')) ?? '';
    if (((await prompt?.('The same again: ')) ?? '') !== first) throw new BundleError('E_USAGE', 'the two passwords differ');
    return Buffer.from(first);
  }
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > LIMITS.keyFileBytes) throw new BundleError('E_USAGE', 'standard input is too long for a password');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
