/** Runs real programs: to their end, or as servers that end with the test. */

import { type ChildProcess, spawn } from 'node:child_process';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Ending } from '../temp-dir.ts';

export type Environment = Readonly<Record<string, string>>;
export type RunOptions = Readonly<{ env?: Environment; cwd?: string; input?: string; timeoutMs?: number }>;
export type Finished = Readonly<{ code: number | null; stdout: Buffer; stderr: string }>;

/** Nothing of the machine's own settings reaches a program but where to find others. */
const environment = (own: Environment = {}): NodeJS.ProcessEnv => ({ PATH: process.env.PATH, ...own });

/** Runs a program to its end, whatever its exit code. Killed after `timeoutMs` (default 60 s): then `code` is null. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: environment(options.env),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      timeout: options.timeoutMs ?? 60_000,
      killSignal: 'SIGKILL',
    });
    const out: Buffer[] = [];
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString('utf8');
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout: Buffer.concat(out), stderr }));
    child.stdin.on('error', () => undefined); // it may end without reading
    child.stdin.end(options.input ?? '');
  });
}

/** The same, and throws with the program's words unless it ends with 0. @returns standard output */
export async function must(program: string, args: readonly string[], options: RunOptions = {}): Promise<Buffer> {
  const { code, stdout, stderr } = await run(program, args, options);
  if (code === 0) return stdout;
  const name = program.split('/').at(-1);
  throw new Error(`${name} ${args.join(' ')} ended with ${code}:\n${stderr.slice(-2000)}${stdout.toString('utf8').slice(-500)}`);
}

export type Server = Readonly<{
  port: number;
  /** What it has printed so far, both streams. */
  output(): string;
  /** Ends it and waits until it is gone. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}>;

/** A port of 127.0.0.1 that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts a server and waits until it takes connections on `port`. Throws with its words when it ends before. */
export async function startServer(
  t: Ending,
  port: number,
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Server> {
  const child = spawn(program, args, {
    env: environment(options.env),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const keep = (chunk: Buffer): void => {
    output += chunk.toString('utf8');
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const ended = new Promise<void>((resolve) => {
    child.on('close', () => resolve());
    child.on('error', (error) => {
      output += error.message;
      resolve();
    });
  });
  const stop = async (signal: NodeJS.Signals = 'SIGKILL'): Promise<void> => {
    if (isAlive(child)) child.kill(signal);
    await ended;
  };
  t.after(() => stop());
  await waitForPort(port, child, () => output);
  return { port, output: () => output, stop };
}

const isAlive = (child: ChildProcess): boolean => child.pid !== undefined && child.exitCode === null && child.signalCode === null;

/** There is no event for "listens now" across processes: asking every few milliseconds is the only way. */
async function waitForPort(port: number, child: ChildProcess, output: () => string): Promise<void> {
  for (const end = Date.now() + 20_000; Date.now() < end; await sleep(15)) {
    if (!isAlive(child)) break;
    if (await answers(port)) return;
  }
  throw new Error(`${child.spawnfile} does not listen on ${port}:\n${output().slice(-2000)}`);
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const done = (yes: boolean): void => {
      socket.destroy();
      resolve(yes);
    };
    socket.on('connect', () => done(true));
    socket.on('error', () => done(false));
  });
