import { type ChildProcess, spawn } from 'node:child_process';
import { BundleError, isSystemError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { printable } from '../core/printable.ts';

/** How a program is started: no shell, so that no character of a word means anything. */
export type SignerProgram = Readonly<{
  /** The program (a path, or a name on PATH) and its fixed arguments. */
  command: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  /** Ends a program that is running. */
  signal?: AbortSignal | undefined;
  /** Milliseconds; a test has no minute. */
  timeLimit?: number;
}>;

/** From SIGTERM to SIGKILL: less than what the command itself is given to end (main.ts). */
const GRACE_MS = 1000;

/**
 * Runs the program once with `args` behind its own, hands it `input` and gives what it printed.
 * @throws BundleError E_KEY_FILE when it can't be started, fails, prints too much or does not end in time; E_INTERRUPTED
 */
export async function runSignerProgram(program: SignerProgram, args: readonly string[], input: string): Promise<string> {
  const [name = '', ...fixed] = program.command;
  const what = `signer ${printable(name, 200)} ${args.join(' ')}`;
  if (program.signal?.aborted) throw interrupted(what);
  const child = spawn(name, [...fixed, ...args], {
    env: { ...program.env, BUNDLE_SIGNER_PROTOCOL: '1' } as NodeJS.ProcessEnv,
    stdio: ['pipe', 'pipe', 'pipe'],
    // A process group of its own: a script's children end with it.
    detached: true,
  });
  child.stdin?.on('error', () => undefined); // a program that reads nothing may still answer
  child.stdin?.end(input);
  const limit = program.timeLimit ?? LIMITS.signerMs;
  let stop: 'time' | 'output' | 'signal' | undefined;
  const end = (why: typeof stop): void => {
    if (stop !== undefined) return;
    stop = why;
    endGroup(child);
  };
  const timer = setTimeout(() => end('time'), limit);
  const onAbort = (): void => end('signal');
  program.signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const { status, stdout, stderr } = await outcome(child, () => end('output'), what);
    const said = lastWords(stderr);
    if (stop === 'signal') throw interrupted(what);
    if (stop === 'time') throw failed(what, `no answer within ${limit / 1000} s; it was ended${said}`);
    if (stop === 'output') throw failed(what, `it printed more than ${LIMITS.signerOutputBytes} bytes; it was ended`);
    if (status !== 0) throw failed(what, `it ended with ${status}${said}`);
    return stdout;
  } finally {
    clearTimeout(timer);
    program.signal?.removeEventListener('abort', onAbort);
  }
}

type Outcome = { status: number | NodeJS.Signals; stdout: string; stderr: string };

function outcome(child: ChildProcess, tooMuch: () => void, what: string): Promise<Outcome> {
  const chunks: Buffer[] = [];
  let length = 0;
  let stderr = Buffer.alloc(0);
  return new Promise((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length <= LIMITS.signerOutputBytes) chunks.push(chunk);
      else tooMuch();
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr = Buffer.concat([stderr, chunk]).subarray(-LIMITS.signerOutputBytes);
    });
    child.once('error', (error) => reject(failed(what, `it can't be started: ${startFault(error)}`, error)));
    child.once('close', (status, signal) =>
      resolve({ status: status ?? signal ?? 0, stdout: Buffer.concat(chunks).toString('latin1'), stderr: stderr.toString() }),
    );
  });
}

/** The whole group: SIGTERM, and SIGKILL for what is still there a second later. */
function endGroup(child: ChildProcess): void {
  const send = (signal: NodeJS.Signals): void => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, signal);
    } catch (error) {
      if (!isSystemError(error, 'ESRCH', 'EPERM')) throw error;
    }
  };
  send('SIGTERM');
  const last = setTimeout(() => send('SIGKILL'), GRACE_MS);
  child.once('close', () => clearTimeout(last));
}

const startFault = (error: Error): string =>
  isSystemError(error, 'ENOENT')
    ? 'there is no such program'
    : isSystemError(error, 'EACCES')
      ? 'it is not executable'
      : error.message;

const lastWords = (stderr: string): string => {
  const text = stderr.trim().replace(/\s*\n\s*/g, '; ');
  return text === '' ? '' : `, saying: ${printable(text.slice(-LIMITS.signerTalkChars), LIMITS.signerTalkChars)}`;
};

const failed = (what: string, why: string, cause?: unknown): BundleError =>
  new BundleError('E_KEY_FILE', `${what}: ${why}`, {
    cause,
    origin: 'host',
    hint: 'run it by hand as docs/signer-protocol.md shows',
  });

const interrupted = (what: string): BundleError => new BundleError('E_INTERRUPTED', `${what}: interrupted`);
