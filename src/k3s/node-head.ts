import { BundleError, isBundleError } from '../core/errors.ts';
import { createRegistryClient, type RegistryClient } from '../registry/client.ts';
import type { Credential, CredentialStore } from '../registry/credentials.ts';
import type { Head } from './check.ts';
import type { HostEndpoint } from './hosts.ts';
import type { RegistryAuth } from './registries.ts';

/** What a node logs in with: the entry in registries.yaml and nothing else. */
function credentialOf(auth: RegistryAuth | undefined): Credential | undefined {
  const from = 'registries.yaml';
  if (auth?.username !== undefined) return { kind: 'basic', from, username: auth.username, password: auth.password ?? '' };
  if (auth?.auth !== undefined) {
    const [username = '', ...rest] = Buffer.from(auth.auth, 'base64').toString('utf8').split(':');
    return { kind: 'basic', from, username, password: rest.join(':') };
  }
  return auth?.identity_token === undefined ? undefined : { kind: 'identity', from, token: auth.identity_token };
}

function clientOf({ scheme, host, config }: HostEndpoint, env: Env): RegistryClient {
  const { tls, auth } = config;
  if (tls?.cert_file !== undefined) {
    throw new BundleError('E_USAGE', 'a client certificate of the nodes can be tried with ctr only', { hint: 'add --ctr' });
  }
  const credentials: CredentialStore = { find: async () => credentialOf(auth) };
  return createRegistryClient({
    credentials,
    environment: env,
    plainHttp: scheme === 'http' ? [host] : [],
    caFiles: tls?.ca_file === undefined ? [] : [tls.ca_file],
    anyCertificate: tls?.insecure_skip_verify ?? false,
  });
}

type Env = Readonly<Record<string, string | undefined>>;

/**
 * Asks as a node would: with the scheme, the CA and the login that registries.yaml has for the endpoint, never with those of whoever pushes,
 * or a check would pass that no node passes.
 */
export function createNodeHead(env: Env): { head: Head; close(): Promise<void> } {
  const clients = new Map<HostEndpoint, RegistryClient>();
  return {
    async head(url, endpoint) {
      const [, repository, reference] = /^\/v2\/(.+)\/manifests\/([^/]+)$/.exec(new URL(url).pathname) ?? [];
      if (repository === undefined || reference === undefined)
        throw new BundleError('E_USAGE', 'the path of the endpoint does not begin with /v2: it can be tried with ctr only');
      const client = clients.get(endpoint) ?? clientOf(endpoint, env);
      clients.set(endpoint, client);
      try {
        const head = await client.headManifest(endpoint.host, repository, reference);
        return { status: 200, digest: head?.digest ?? (await client.getManifest(endpoint.host, repository, reference)).digest };
      } catch (error) {
        if (!isBundleError(error) || typeof error.detail.status !== 'number') throw error;
        return { status: error.detail.status, digest: undefined };
      }
    },
    async close() {
      for (const client of clients.values()) await client.close();
    },
  };
}
