import { type ChildProcess, spawn } from 'node:child_process';
import { BundleError, isSystemError } from '../core/errors.ts';

export type SpawnResult = Readonly<{
  /** undefined when a signal ended it or the time was over */
  status: number | undefined;
  stdout: Buffer;
  /** the last 16 KiB */
  stderr: string;
}>;

/**
 * Runs a program without a shell and waits for its end.
 * @throws BundleError E_NOT_FOUND when there is no such program, E_LIMIT when it prints more than `maxBytes`
 */
export type Spawn = (
  command: readonly string[],
  options: Readonly<{ timeoutMs: number; maxBytes?: number }>,
) => Promise<SpawnResult>;

const STDERR_BYTES = 16 * 1024;
const STDOUT_BYTES = 64 * 1024;

function collect(child: ChildProcess, command: string, maxBytes: number): Promise<SpawnResult> {
  const chunks: Buffer[] = [];
  let length = 0;
  let stderr = Buffer.alloc(0);
  return new Promise((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length <= maxBytes) chunks.push(chunk);
      else child.kill('SIGKILL');
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr = Buffer.concat([stderr, chunk]).subarray(-STDERR_BYTES);
    });
    child.once('error', (error) => {
      const missing = isSystemError(error, 'ENOENT', 'EACCES');
      reject(missing ? new BundleError('E_NOT_FOUND', `${command} can't be run here`, { cause: error, origin: 'host' }) : error);
    });
    child.once('close', (status) => {
      if (length > maxBytes)
        reject(new BundleError('E_LIMIT', `${command} printed more than ${maxBytes} bytes`, { origin: 'host' }));
      else resolve({ status: status ?? undefined, stdout: Buffer.concat(chunks), stderr: stderr.toString() });
    });
  });
}

/** @param env of the programs; the process's own by default */
export const createSpawn =
  (env: NodeJS.ProcessEnv = process.env): Spawn =>
  async ([program = '', ...args], { timeoutMs, maxBytes = STDOUT_BYTES }) => {
    const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutMs, killSignal: 'SIGKILL' });
    return collect(child, program, maxBytes);
  };
