import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What a `docker-credential-<name> get` does (public-registries.md section 4). */
export type HelperKind = 'ok' | 'token' | 'notfound' | 'error' | 'hang' | 'garbage' | 'flood';

export type HelperOptions = Readonly<{ kind: HelperKind; username?: string; secret?: string }>;

export type CredentialHelper = Readonly<{
  /** What stands in `credsStore` or `credHelpers`. */
  name: string;
  path: string;
  /** One `<action> <server key>` per run, in order. */
  calls(): Promise<string[]>;
}>;

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

function answer({ kind, username = 'helper-user', secret = 'helper-secret' }: HelperOptions): string {
  const json = (user: string): string =>
    `printf '{"ServerURL":"%s","Username":"%s","Secret":"%s"}\\n' "$server" ${quoted(user)} ${quoted(secret)}`;
  switch (kind) {
    case 'ok':
      return json(username);
    case 'token':
      return json('<token>');
    case 'notfound':
      return "printf 'credentials not found in native keychain\\n'; exit 1";
    case 'error':
      // Docker's helpers complain on stdout; the secret in it is a canary: stdout must never be shown.
      return `printf 'the keychain is locked, last secret was %s\\n' ${quoted(secret)}; exit 1`;
    case 'hang':
      return 'exec sleep 600';
    case 'garbage':
      return `printf 'Welcome! {not json %s\\n' ${quoted(secret)}`;
    case 'flood':
      return 'head -c 10485760 /dev/zero';
  }
}

/** Writes an executable `docker-credential-<name>` into `directory`, which the test puts first in PATH. */
export async function writeCredentialHelper(directory: string, name: string, options: HelperOptions): Promise<CredentialHelper> {
  const path = join(directory, `docker-credential-${name}`);
  const log = `${path}.calls`;
  const script = ['#!/bin/sh', 'read -r server', `printf '%s %s\\n' "$1" "$server" >> ${quoted(log)}`, answer(options), ''];
  await writeFile(path, script.join('\n'));
  await chmod(path, 0o755);
  return {
    name,
    path,
    calls: async () => (await readFile(log, 'utf8').catch(() => '')).split('\n').filter((line) => line !== ''),
  };
}
