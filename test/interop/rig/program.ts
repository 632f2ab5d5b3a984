/** Real programs as child processes: run to their end, or kept up while a test uses them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';

export type RunOptions = Readonly<{
  cwd?: string;
  /** Added to a bare environment: nothing of the machine's proxies, logins or registries gets in. */
  env?: Readonly<Record<string, string>>;
  timeoutMs?: number;
}>;
export type Ran = Readonly<{ status: number | null; stdout: string; stderr: string }>;

const environment = (env: RunOptions['env']): Record<string, string> => ({
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: tmpdir(),
  LANG: 'C.UTF-8',
  ...env,
});

const launch = (program: string, args: readonly string[], { cwd, env }: RunOptions): ChildProcess =>
  spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: environment(env), ...(cwd === undefined ? {} : { cwd }) });

/** Runs a program to its end, whatever its exit code. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const child = launch(program, args, options);
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => err.push(chunk));
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 60_000);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => {
      clearTimeout(timer);
      resolve({ status, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() });
    });
  });
}

/** Runs a program that must succeed. @returns its standard output */
export async function succeed(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { status, stdout, stderr } = await run(program, args, options);
  if (status === 0) return stdout;
  throw new Error(`${program} ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
}

export type Running = Readonly<{ pid: number; output(): string; close(): Promise<void> }>;

/** Starts a program that stays, and waits until `ready` is true of it. @throws when it ends before, or after ten seconds */
export async function start(
  program: string,
  args: readonly string[],
  options: RunOptions & Readonly<{ ready: (output: string) => Promise<boolean> | boolean }>,
): Promise<Running> {
  const child = launch(program, args, options);
  let output = '';
  let ended: string | undefined;
  const over = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      ended = error.message;
      resolve();
    });
    child.once('close', (code, signal) => {
      ended ??= `ended with ${code ?? signal}`;
      resolve();
    });
  });
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-200_000);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  const close = async (): Promise<void> => {
    child.kill('SIGTERM');
    const cut = setTimeout(() => child.kill('SIGKILL'), 5000);
    await over;
    clearTimeout(cut);
  };
  for (const deadline = Date.now() + 10_000; ; ) {
    if (ended !== undefined) throw new Error(`${program} ${args.join(' ')}: ${ended}\n${output}`);
    if (await options.ready(output)) return { pid: child.pid as number, output: () => output, close };
    if (Date.now() > deadline) {
      await close();
      throw new Error(`${program} ${args.join(' ')} is not ready after 10 s:\n${output}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A port that nobody listens on now, for programs that can't choose one themselves. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve((address as { port: number }).port));
    });
  });
}
