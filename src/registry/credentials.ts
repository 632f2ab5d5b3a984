import { homedir } from 'node:os';
import { join } from 'node:path';
import { BundleError, isSystemError } from '../core/errors.ts';
import { isObject, type JsonObject, parseStrictJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import type { FileSystem } from '../files/file-system.ts';
import { type HelperRunner, runCredentialHelper } from './credential-helper.ts';

/** What to log in with. `from` names the file or helper, so that a refusal can say which credential was refused; never the secret. */
export type Credential = Readonly<
  { from: string } & (
    | { kind: 'basic'; username: string; password: string }
    | { kind: 'identity'; token: string }
    | { kind: 'registry'; token: string }
  )
>;

export interface CredentialStore {
  /** @param origin `docker.io`, `host[:port]` @param repository for path keys (podman) @throws BundleError E_CREDENTIALS_FILE */
  find(origin: string, repository: string): Promise<Credential | undefined>;
}

type Env = Readonly<Record<string, string | undefined>>;
type Source = Readonly<{ path: string; json: JsonObject }>;

/**
 * Finds credentials where docker, podman, oras and skopeo leave them: `--authfile` or REGISTRY_AUTH_FILE alone when given; else DOCKER_AUTH_CONFIG,
 * `$XDG_RUNTIME_DIR/containers/auth.json`, `$XDG_CONFIG_HOME/containers/auth.json`, `$DOCKER_CONFIG/config.json`; first hit wins.
 * Sources: docker/cli configfile, containers-auth.json(5). A file that is there but broken is an error, never "no credentials".
 */
export function createCredentialStore(
  fs: FileSystem,
  env: Env,
  options: { authFile?: string | undefined; warn: (text: string) => void; run?: HelperRunner },
): CredentialStore {
  let sources: Promise<Source[]> | undefined;
  const answers = new Map<string, Promise<Credential | undefined>>();
  const helpers = new Map<string, Promise<Credential | undefined>>();
  /** Once per host: helpers unlock keychains, ask clouds, or wait for a person. */
  const askHelper = (name: string, server: string): Promise<Credential | undefined> => {
    const key = `${name} ${server}`;
    const asked = helpers.get(key) ?? runCredentialHelper(name, server, env, options.warn, options.run);
    helpers.set(key, asked);
    return asked;
  };
  return {
    find(origin, repository) {
      const key = `${origin}/${repository}`;
      let answer = answers.get(key);
      if (answer === undefined) {
        sources ??= readSources(fs, env, options.authFile);
        answer = sources.then((list) => search(list, origin, repository, askHelper));
        answers.set(key, answer);
      }
      return answer;
    },
  };
}

async function readSources(fs: FileSystem, env: Env, authFile: string | undefined): Promise<Source[]> {
  const explicit = authFile ?? env.REGISTRY_AUTH_FILE;
  if (explicit !== undefined && explicit !== '') {
    const json = await readConfig(fs, explicit);
    if (json === undefined) throw new BundleError('E_CREDENTIALS_FILE', `credentials file ${explicit} does not exist`);
    return [{ path: explicit, json }];
  }
  const home = env.HOME ?? homedir();
  const paths = [
    env.XDG_RUNTIME_DIR ? join(env.XDG_RUNTIME_DIR, 'containers/auth.json') : undefined,
    join(env.XDG_CONFIG_HOME ?? join(home, '.config'), 'containers/auth.json'),
    join(env.DOCKER_CONFIG ?? join(home, '.docker'), 'config.json'),
  ];
  const found: Source[] = [];
  if (env.DOCKER_AUTH_CONFIG) {
    found.push({
      path: 'DOCKER_AUTH_CONFIG',
      json: parseStrictJson(Buffer.from(env.DOCKER_AUTH_CONFIG), 'DOCKER_AUTH_CONFIG', 'E_CREDENTIALS_FILE'),
    });
  }
  for (const path of paths) {
    const json = path === undefined ? undefined : await readConfig(fs, path);
    if (json !== undefined) found.push({ path: path as string, json });
  }
  return found;
}

async function readConfig(fs: FileSystem, path: string): Promise<JsonObject | undefined> {
  let bytes: Buffer;
  try {
    bytes = await fs.readUserFile(path, LIMITS.credentialsFileBytes);
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw new BundleError('E_CREDENTIALS_FILE', `credentials file ${path} can't be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (bytes.length === 0) return undefined;
  return parseStrictJson(bytes, `credentials file ${path}`, 'E_CREDENTIALS_FILE');
}

async function search(
  sources: readonly Source[],
  origin: string,
  repository: string,
  askHelper: (name: string, server: string) => Promise<Credential | undefined>,
): Promise<Credential | undefined> {
  for (const { path, json } of sources) {
    const helper = helperFor(json, origin);
    if (helper !== undefined) {
      const server = origin === 'docker.io' ? DOCKER_HUB_KEY : origin;
      const answer = await askHelper(helper, server);
      if (answer !== undefined) return answer;
    }
    const entry = authEntry(json, origin, repository);
    const credential = entry === undefined ? undefined : fromEntry(entry, path);
    if (credential !== undefined) return credential;
  }
  return undefined;
}

const DOCKER_HUB_KEY = 'https://index.docker.io/v1/';

function helperFor(json: JsonObject, origin: string): string | undefined {
  const helpers = isObject(json.credHelpers) ? json.credHelpers : {};
  const keys = origin === 'docker.io' ? ['docker.io', 'index.docker.io', DOCKER_HUB_KEY] : [origin];
  for (const key of keys) if (Object.hasOwn(helpers, key) && typeof helpers[key] === 'string') return helpers[key];
  return typeof json.credsStore === 'string' && json.credsStore !== '' ? json.credsStore : undefined;
}

/** The longest path key first (podman), the host last; hosts are compared whole, never by substring (docker CLI CVE-2021-41092's family). */
function authEntry(json: JsonObject, origin: string, repository: string): JsonObject | undefined {
  if (!isObject(json.auths)) return undefined;
  const auths = json.auths;
  const parts = repository.split('/');
  for (let n = parts.length; n > 0; n--) {
    const key = `${origin}/${parts.slice(0, n).join('/')}`;
    if (Object.hasOwn(auths, key) && isObject(auths[key])) return auths[key];
  }
  for (const [key, value] of Object.entries(auths)) if (isObject(value) && hostOfKey(key) === origin) return value;
  return undefined;
}

/** `https://index.docker.io/v1/` → `docker.io`; `https://host:5000/v1/` → `host:5000`; a podman path key has no host form. */
function hostOfKey(key: string): string | undefined {
  const withoutScheme = key.replace(/^https?:\/\//i, '');
  const hasScheme = withoutScheme !== key;
  const [host, ...rest] = withoutScheme.split('/') as [string, ...string[]];
  if (!hasScheme && rest.some((part) => part !== '' && part !== 'v1' && part !== 'v2')) return undefined;
  const lower = host.toLowerCase();
  return lower === 'index.docker.io' || lower === 'registry-1.docker.io' ? 'docker.io' : lower;
}

function fromEntry(entry: JsonObject, path: string): Credential | undefined {
  if (typeof entry.identitytoken === 'string' && entry.identitytoken !== '')
    return { kind: 'identity', token: entry.identitytoken, from: path };
  if (typeof entry.registrytoken === 'string' && entry.registrytoken !== '')
    return { kind: 'registry', token: entry.registrytoken, from: path };
  if (typeof entry.auth === 'string' && entry.auth !== '') {
    const text = Buffer.from(entry.auth, 'base64').toString('utf8').replace(/\0+$/, '');
    const colon = text.indexOf(':'); // the first one: passwords may hold more
    if (colon < 1)
      throw new BundleError('E_CREDENTIALS_FILE', `credentials file ${path}: an "auth" entry is not base64 of user:password`);
    return { kind: 'basic', username: text.slice(0, colon), password: text.slice(colon + 1), from: path };
  }
  if (typeof entry.username === 'string' && typeof entry.password === 'string' && entry.username !== '') {
    return { kind: 'basic', username: entry.username, password: entry.password, from: path };
  }
  return undefined; // `{}` marks "in the store"
}
