import { spawn } from 'node:child_process';
import { BundleError } from '../core/errors.ts';
import { isObject } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import type { Credential } from './credentials.ts';

export type HelperResult = Readonly<{
  code: number | null;
  stdout: string;
  absent?: boolean;
  fault?: string;
  timedOut?: boolean;
}>;
export type HelperRunner = (
  program: string,
  stdin: string,
  env: Readonly<Record<string, string | undefined>>,
) => Promise<HelperResult>;

// docker-credential-helpers credentials/error.go: this exact text on stdout means "none", everything else is a fault.
const NOT_FOUND = 'credentials not found in native keychain';

/**
 * Asks `docker-credential-<name> get`. A helper that is absent, fails or hangs is a warning and means anonymous: one broken helper must not
 * stop pulls from other hosts. Its output is never shown: it can hold the secret.
 */
export async function runCredentialHelper(
  name: string,
  server: string,
  env: Readonly<Record<string, string | undefined>>,
  warn: (text: string) => void,
  run: HelperRunner = runProgram,
): Promise<Credential | undefined> {
  if (!/^[A-Za-z0-9._-]+$/.test(name))
    throw new BundleError('E_CREDENTIALS_FILE', `${JSON.stringify(name)} is not the name of a credential helper`);
  const program = `docker-credential-${name}`;
  const result = await run(program, server, env);
  const skip = (why: string): undefined => {
    warn(`${program} ${why}; going on without credentials for ${server}`);
    return undefined;
  };
  if (result.absent) return skip('is not installed');
  if (result.fault !== undefined) return skip(`could not be started (${result.fault})`);
  if (result.timedOut) return skip('did not answer in time');
  if (result.code !== 0) return result.stdout.trim() === NOT_FOUND ? undefined : skip(`failed with exit code ${result.code}`);
  let json: unknown;
  try {
    json = JSON.parse(result.stdout);
  } catch {
    return skip('did not answer with JSON');
  }
  if (!isObject(json) || typeof json.Username !== 'string' || typeof json.Secret !== 'string')
    return skip('answered without Username and Secret');
  if (json.Secret === '') return undefined;
  if (json.Username === '<token>') return { kind: 'identity', token: json.Secret, from: program };
  return { kind: 'basic', username: json.Username, password: json.Secret, from: program };
}

const runProgram: HelperRunner = (program, stdin, env) =>
  new Promise((resolve) => {
    const child = spawn(program, ['get'], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: env as NodeJS.ProcessEnv,
      timeout: LIMITS.credentialHelperMs,
      killSignal: 'SIGKILL',
    });
    const chunks: Buffer[] = [];
    let bytes = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > LIMITS.credentialHelperBytes) child.kill('SIGKILL');
      else chunks.push(chunk);
    });
    child.stdin.on('error', () => undefined); // a helper that does not read is no fault of ours
    child.on('error', (error: NodeJS.ErrnoException) =>
      resolve({ code: null, stdout: '', ...(error.code === 'ENOENT' ? { absent: true } : { fault: error.code ?? error.name }) }),
    );
    child.on('close', (code, signal) =>
      resolve({ code, stdout: Buffer.concat(chunks).toString('utf8'), timedOut: signal === 'SIGKILL' }),
    );
    child.stdin.end(`${server(stdin)}\n`);
  });

const server = (text: string): string => text.replace(/[\r\n]/g, '');
