/** Starts real registries on 127.0.0.1: CNCF distribution 2.8 and 3, olareg; open, with Basic or with bearer tokens; plain or with TLS. */

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CertificateAuthority } from '../certificates.ts';
import { type Ending, tempDir } from '../temp-dir.ts';
import { tool } from '../tools.ts';
import { freePort, must, type Server, startServer } from './programs.ts';
import { startTokenService, type TokenService } from './token-service.ts';

export type Kind = 'distribution 2.8' | 'distribution 3' | 'olareg';
export type Auth = 'open' | 'basic' | 'token';
export type Login = Readonly<{ user: string; password: string }>;

export type RegistryOptions = Readonly<{
  kind: Kind;
  auth?: Auth;
  /** Who signs its certificate (and that of its token service's keys); needed for TLS and for distribution's tokens. */
  ca?: CertificateAuthority | undefined;
  tls?: boolean;
  login?: Login;
  /** Start again on what an earlier one left, and where it was. */
  storage?: string;
  port?: number;
  /** olareg only: take an index although children are missing. */
  sparse?: boolean;
  /** Take deletes of blobs, manifests and tags; neither does by itself. */
  deletes?: boolean;
}>;

export type Registry = Readonly<{
  kind: Kind;
  auth: Auth;
  tls: boolean;
  /** `127.0.0.1:4242`; `localhost:4242` beside a token service, since crane takes no realm at the address of another port. */
  host: string;
  login: Login | undefined;
  storage: string;
  server: Server;
  tokens: TokenService | undefined;
}>;

const LOGIN: Login = { user: 'carrier', password: 'over:the gap' };
const SERVICE = 'test registry';
const ISSUER = 'test token service';

export async function startRegistry(t: Ending, options: RegistryOptions): Promise<Registry> {
  const { kind, auth = 'open', tls = false, login = LOGIN } = options;
  const directory = await tempDir(t, 'bundle-registry-');
  const storage = options.storage ?? join(directory, 'storage');
  await mkdir(storage, { recursive: true });
  const pair = tls ? await authority(options).server() : undefined;
  const files = { cert: join(directory, 'tls.crt'), key: join(directory, 'tls.key') };
  if (pair !== undefined) await Promise.all([writeFile(files.cert, pair.cert), writeFile(files.key, pair.key)]);
  const port = options.port ?? (await freePort());
  const setting: Setting = {
    directory,
    storage,
    port,
    auth,
    tls: tls ? files : undefined,
    login,
    sparse: options.sparse ?? false,
    deletes: options.deletes ?? false,
  };
  const tokens = auth === 'token' && kind !== 'olareg' ? await tokensFor(t, options, setting) : undefined;
  const [program, args] = kind === 'olareg' ? await olareg(setting) : await distribution(kind, setting, tokens);
  const server = await startServer(t, port, program, args, { env: { HOME: directory, OTEL_TRACES_EXPORTER: 'none' } });
  const host = `${tokens === undefined ? '127.0.0.1' : 'localhost'}:${port}`;
  return { kind, auth, tls, host, login: auth === 'open' ? undefined : login, storage, server, tokens };
}

type Setting = Readonly<{
  directory: string;
  storage: string;
  port: number;
  auth: Auth;
  tls: { cert: string; key: string } | undefined;
  login: Login;
  sparse: boolean;
  deletes: boolean;
}>;

function authority({ ca }: RegistryOptions): CertificateAuthority {
  if (ca === undefined) throw new Error('TLS and tokens need a certificate authority: give `ca`');
  return ca;
}

async function tokensFor(t: Ending, options: RegistryOptions, setting: Setting): Promise<TokenService> {
  const ca = authority(options);
  await writeFile(join(setting.directory, 'tokens.crt'), ca.cert);
  const signer = await ca.server();
  const tls = setting.tls === undefined ? undefined : await ca.server();
  return startTokenService(t, {
    signer,
    tls,
    service: SERVICE,
    issuer: ISSUER,
    users: { [setting.login.user]: setting.login.password },
  });
}

/** The lowest cost that bcrypt allows: the registries check it with every request, and that is not what is tested. */
async function bcrypted({ user, password }: Login): Promise<string> {
  const line = await must(tool('htpasswd'), ['-niB', '-C', '4', user], { input: password });
  return line.toString('utf8').trim();
}

async function distribution(kind: Kind, setting: Setting, tokens: TokenService | undefined): Promise<[string, string[]]> {
  const { directory, storage, port, auth, tls } = setting;
  const htpasswd = join(directory, 'htpasswd');
  if (auth === 'basic') await writeFile(htpasswd, `${await bcrypted(setting.login)}\n`);
  const access = {
    ...(auth === 'basic' ? { htpasswd: { realm: 'test registry', path: htpasswd } } : {}),
    ...(tokens === undefined
      ? {}
      : { token: { realm: tokens.realm, service: SERVICE, issuer: ISSUER, rootcertbundle: join(directory, 'tokens.crt') } }),
  };
  const config = {
    version: '0.1',
    log: { level: 'info' },
    storage: { filesystem: { rootdirectory: storage }, delete: { enabled: setting.deletes } },
    http: {
      addr: `127.0.0.1:${port}`,
      secret: 'the same after a restart',
      ...(tls === undefined ? {} : { tls: { certificate: tls.cert, key: tls.key } }),
    },
    ...(auth === 'open' ? {} : { auth: access }),
  };
  const file = join(directory, 'config.yml');
  await writeFile(file, JSON.stringify(config)); // JSON is YAML
  return [tool(kind === 'distribution 3' ? 'registry-3' : 'docker-registry'), ['serve', file]];
}

async function olareg(setting: Setting): Promise<[string, string[]]> {
  const { directory, storage, port, auth, tls, login } = setting;
  const file = join(directory, 'auth.json');
  if (auth !== 'open') {
    const cred = (await bcrypted(login)).slice(login.user.length + 1);
    const acls = [{ repo: '*', access: ['*'], members: [login.user] }];
    await writeFile(file, JSON.stringify({ users: { [login.user]: { cred } }, acls }));
  }
  const scheme = tls === undefined ? 'http' : 'https';
  return [
    tool('olareg'),
    [
      ...['serve', '--addr', '127.0.0.1', '--port', String(port), '--dir', storage, '--gc-frequency', '-1s'],
      ...(setting.sparse ? ['--api-sparse-index'] : []),
      ...(setting.deletes ? ['--api-delete', '--api-blob-delete'] : []),
      ...(tls === undefined ? [] : ['--tls-cert', tls.cert, '--tls-key', tls.key]),
      ...(auth === 'basic' ? ['--auth-basic', file] : []),
      ...(auth === 'token' ? ['--auth-token-opaque', file, '--external-url', `${scheme}://127.0.0.1:${port}`] : []),
    ],
  ];
}
