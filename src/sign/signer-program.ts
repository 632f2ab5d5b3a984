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

/**
 * Runs the program once with `args` behind its own, hands it `input` and gives what it printed.
 * @throws BundleError E_KEY_FILE when it can't be started, fails, prints too much or does not end in time; E_INTERRUPTED
 */
export async function runSignerProgram(program: SignerProgram, args: readonly string[], input: string): Promise<string> {
  const [name = '', ...fixed] = program.command;
  const what = `signer ${printable(name, 200)} ${args.join(' ')}`;
  if (program.signal?.aborted) throw interrupted(what);
  // Where the system has no file descriptors left, it comes without streams.
  const child: ChildProcess = spawn(name, [...fixed, ...args], {
    env: { ...program.env, BUNDLE_SIGNER_PROTOCOL: '1' } as NodeJS.ProcessEnv,
    stdio: ['pipe', 'pipe', 'pipe'],
    // A process group of its own: a script's children end with it.
    detached: true,
  });
  child.stdin?.on('error', () => undefined); // a program that reads nothing may still answer
  child.stdin?.end(input);
  const limit = program.timeLimit ?? LIMITS.signerMs;
  const stop = new AbortController();
  const end = (why: Stop): void => stop.abort(why);
  const timer = setTimeout(() => end('time'), limit);
  const onAbort = (): void => end('signal');
  program.signal?.addEventListener('abort', onAbort, { once: true });
  child.once('exit', () => clearTimeout(timer));
  try {
    const { status, stdout, stderr } = await outcome(child, stop.signal, () => end('output'), what);
    const said = lastWords(stderr);
    const why: Stop | undefined = stop.signal.reason;
    if (why === 'signal') throw interrupted(what);
    if (why === 'time') throw failed(what, `no answer within ${limit / 1000} s; it was ended${said}`);
    if (why === 'output') throw failed(what, `it printed more than ${LIMITS.signerOutputBytes} bytes; it was ended`);
    if (status !== 0) throw failed(what, `it ended with ${status}${said}`);
    return stdout;
  } finally {
    clearTimeout(timer);
    program.signal?.removeEventListener('abort', onAbort);
  }
}

/** Why a program is ended before it ends by itself. */
type Stop = 'time' | 'output' | 'signal';

/** `status`: undefined for a program that is still there after SIGKILL. */
type Outcome = Readonly<{ status: number | NodeJS.Signals | undefined; stdout: string; stderr: string }>;

/**
 * What came of it: once it has ended and its pipes are closed. A process of another session may hold them open for ever, so that some time after its
 * end, or after it was killed, nobody waits for them.
 */
function outcome(child: ChildProcess, stop: AbortSignal, tooMuch: () => void, what: string): Promise<Outcome> {
  const chunks: Buffer[] = [];
  let length = 0;
  let stderr = Buffer.alloc(0);
  child.stdout?.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length <= LIMITS.signerOutputBytes) chunks.push(chunk);
    else tooMuch();
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr = Buffer.concat([stderr, chunk]).subarray(-LIMITS.signerOutputBytes);
  });
  return new Promise((resolve, reject) => {
    let last: NodeJS.Timeout | undefined;
    const settle = (): void => {
      clearTimeout(last);
      stop.removeEventListener('abort', endGroup);
      for (const stream of child.stdio) stream?.destroy();
      child.unref();
      const status = child.exitCode ?? child.signalCode ?? undefined;
      resolve({ status, stdout: Buffer.concat(chunks).toString('latin1'), stderr: stderr.toString() });
    };
    const settleSoon = (): void => {
      clearTimeout(last);
      last = setTimeout(() => {
        if (stop.aborted) signalGroup(child, 'SIGKILL');
        settle();
      }, LIMITS.signerGraceMs);
    };
    /** SIGTERM, and SIGKILL for what is still there a second later. */
    const endGroup = (): void => {
      signalGroup(child, 'SIGTERM');
      settleSoon();
    };
    stop.addEventListener('abort', endGroup, { once: true });
    child.once('exit', () => {
      if (!stop.aborted) settleSoon();
    });
    child.once('close', settle);
    child.once('error', (error) => {
      clearTimeout(last);
      reject(failed(what, `it can't be started: ${startFault(error)}`, error));
    });
  });
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if (!isSystemError(error, 'ESRCH', 'EPERM')) throw error;
  }
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
