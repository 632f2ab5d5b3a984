/** skopeo, crane and oras as a user of a registry starts them, with the login and the CA of that registry and nothing of this machine. */

import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tool } from '../tools.ts';
import { type Environment, must } from './programs.ts';
import type { Login, Registry } from './registries.ts';

export type Clients = Readonly<{
  env: Environment;
  crane(...args: string[]): Promise<string>;
  /** The bytes that the registry has under a name (`127.0.0.1:4242/a/b:1`). */
  skopeoRaw(name: string): Promise<Buffer>;
  orasManifest(name: string): Promise<Buffer>;
  /** Downloads an image with its layers; skopeo throws when one is not what its digest says. */
  fetchWhole(name: string): Promise<void>;
  oras(registry: Pick<Registry, 'tls'>, command: readonly string[], args: readonly string[], cwd?: string): Promise<string>;
  skopeo(...args: string[]): Promise<string>;
}>;

export type ClientsOptions = Readonly<{ directory: string; caFile?: string | undefined; registries: readonly Registry[] }>;

/** docker's config.json for these registries. */
export const dockerConfig = (logins: readonly Readonly<{ host: string; login: Login | undefined }>[]): string =>
  JSON.stringify({
    auths: Object.fromEntries(
      logins.flatMap(({ host, login }) =>
        login === undefined ? [] : [[host, { auth: Buffer.from(`${login.user}:${login.password}`).toString('base64') }]],
      ),
    ),
  });

/** Clients that know the logins of `registries`. Their home is `directory`. */
export async function createClients(options: ClientsOptions): Promise<Clients> {
  const { directory, caFile, registries } = options;
  await mkdir(directory, { recursive: true });
  const authFile = join(directory, 'config.json');
  await writeFile(authFile, dockerConfig(registries));
  const env = {
    HOME: directory,
    TMPDIR: directory,
    XDG_RUNTIME_DIR: directory,
    DOCKER_CONFIG: directory,
    REGISTRY_AUTH_FILE: authFile,
    ...(caFile === undefined ? {} : { SSL_CERT_FILE: caFile }),
  };
  const plain = (name: string): boolean => registries.some((r) => !r.tls && name.startsWith(`${r.host}/`));
  const oras: Clients['oras'] = async ({ tls }, command, args, cwd) => {
    // Said in both cases: left to itself oras takes plain HTTP for localhost.
    const all = [...command, '--registry-config', authFile, `--plain-http=${!tls}`, ...args];
    return (await must(tool('oras'), all, { env, ...(cwd === undefined ? {} : { cwd }) })).toString('utf8');
  };
  return {
    env,
    oras,
    crane: async (...args) => (await must(tool('crane'), args, { env })).toString('utf8').trim(),
    skopeo: async (...args) => (await must(tool('skopeo'), args, { env })).toString('utf8'),
    skopeoRaw: (name) =>
      must(tool('skopeo'), ['inspect', '--raw', `--tls-verify=${!plain(name)}`, '--authfile', authFile, `docker://${name}`], {
        env,
      }),
    fetchWhole: async (name) => {
      const to = await mkdtemp(join(directory, 'fetched-'));
      const flags = ['-q', `--src-tls-verify=${!plain(name)}`, '--src-authfile', authFile];
      await must(tool('skopeo'), ['copy', ...flags, `docker://${name}`, `dir:${to}`], { env });
    },
    orasManifest: (name) =>
      must(tool('oras'), ['manifest', 'fetch', '--registry-config', authFile, `--plain-http=${plain(name)}`, name], {
        env,
      }),
  };
}

export const sha256Of = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
