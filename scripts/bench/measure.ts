/** What a command costs: wall time, CPU of it and its children, and the largest resident set of any one of its processes. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

export type Cost = Readonly<{ wallMs: number; cpuMs: number; rssMiB: number }>;
export type Command = Readonly<{
  argv: readonly string[];
  cwd?: string;
  env?: Readonly<Record<string, string>>;
  status?: number;
}>;

/** POSIX sh counts the time of its children, whatever `time` the machine lacks. */
const TIMED = '"$@"; code=$?; times >&3; exit $code';
const POLL_MS = 10;

/** @throws Error with the command's words when it ends with another status than `command.status` (default 0) */
export async function measure(command: Command): Promise<Cost> {
  const started = performance.now();
  const child = spawn('sh', ['-c', TIMED, 'sh', ...command.argv], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, HOME: command.cwd ?? '/nonexistent', ...command.env },
    ...(command.cwd === undefined ? {} : { cwd: command.cwd }),
  });
  let said = '';
  let times = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-4000);
    });
  (child.stdio[3] as NodeJS.ReadableStream).on('data', (chunk: Buffer) => {
    times += chunk.toString();
  });
  let rss = 0;
  const poll = setInterval(() => {
    for (const pid of descendants(child.pid as number)) rss = Math.max(rss, peakOf(pid));
  }, POLL_MS);
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  clearInterval(poll);
  const wallMs = performance.now() - started;
  if (status !== (command.status ?? 0)) throw new Error(`${command.argv.join(' ').slice(0, 500)} ended with ${status}:\n${said}`);
  return { wallMs, cpuMs: childTimes(times), rssMiB: rss / 1024 };
}

/** The second line of `times`: user and system time of the children, `0m1.23s 0m0.45s`. */
function childTimes(text: string): number {
  const [, line = ''] = text.trim().split('\n');
  let ms = 0;
  for (const [, minutes, seconds] of line.matchAll(/(\d+)m([\d.]+)s/g)) ms += Number(minutes) * 60_000 + Number(seconds) * 1000;
  return ms;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // it ended meanwhile
  }
}

function descendants(pid: number): number[] {
  const children = read(`/proc/${pid}/task/${pid}/children`)
    .split(' ')
    .filter((part) => part !== '')
    .map(Number);
  return [...children, ...children.flatMap(descendants)];
}

/** KiB */
const peakOf = (pid: number): number => Number(/VmHWM:\s+(\d+) kB/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0);
