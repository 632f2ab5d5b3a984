import type { HostEndpoint } from './hosts.ts';
import { tlsLines, tomlString } from './hosts-toml.ts';
import type { RegistryAuth } from './registries.ts';

/** ctr does not read the logins of containerd's config.toml, and a flag would show in the list of processes. */
function loginLine(auth: RegistryAuth | undefined): string[] {
  const plain =
    auth?.username === undefined ? undefined : Buffer.from(`${auth.username}:${auth.password ?? ''}`).toString('base64');
  const token = plain ?? auth?.auth;
  return token === undefined ? [] : [`authorization = ${tomlString(`Basic ${token}`)}`];
}

function settings(endpoint: HostEndpoint, table: string): string[] {
  const login = loginLine(endpoint.config.auth);
  return [
    'capabilities = ["pull", "resolve"]',
    ...(endpoint.overridePath ? ['override_path = true'] : []),
    ...tlsLines(endpoint.config, ''),
    ...(login.length === 0 ? [] : [`[${table}header]`, ...login]),
  ];
}

/**
 * A hosts.toml for testing endpoints: the last one stands as `server`, so that containerd does not ask the registry itself when the mirror
 * fails. With logins in it, so never for a place that others can read.
 */
export function mirrorOnlyToml(endpoints: readonly HostEndpoint[]): string {
  const last = endpoints.at(-1) as HostEndpoint;
  const lines = [`server = ${tomlString(last.url)}`, ...settings(last, ''), '[host]'];
  for (const endpoint of endpoints.slice(0, -1)) {
    const table = `host.${tomlString(endpoint.url)}`;
    lines.push(`[${table}]`, ...settings(endpoint, `${table}.`));
  }
  return `${lines.join('\n')}\n`;
}
