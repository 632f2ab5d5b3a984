import { type Endpoint, normalizeEndpoint } from './endpoint.ts';
import type { Registries, RegistryConfig } from './registries.ts';

export type HostEndpoint = Endpoint & Readonly<{ config: RegistryConfig; rewrite: Readonly<Record<string, string>> }>;

/** What containerd will know of one registry. `fallback` is asked last: the registry itself, unless switched off. */
export type HostPlan = Readonly<{
  endpoints: readonly HostEndpoint[];
  /** `url` is empty for `*`, where containerd puts in the registry that is asked for. */
  fallback: Readonly<{ url: string | undefined; config: RegistryConfig; overridePath: boolean }> | undefined;
}>;

/** `--disable-default-registry-endpoint` of k3s. */
export type HostOptions = Readonly<{ disableDefaultEndpoint?: boolean }>;

const NO_CONFIG: RegistryConfig = {};

/** k3s configForHost: by the exact host; Docker Hub's API name before its image name. Never `*`. */
function configFor(registries: Registries, host: string): RegistryConfig {
  const hub = host === 'docker.io' ? registries.configs.get('registry-1.docker.io') : undefined;
  return hub ?? registries.configs.get(host) ?? NO_CONFIG;
}

type Draft = { endpoints: HostEndpoint[]; fallback: HostPlan['fallback'] };

function draftFor(host: string, config: RegistryConfig): Draft | undefined {
  if (host === '*') return { endpoints: [], fallback: { url: undefined, config, overridePath: false } };
  const url = normalizeEndpoint(host)?.url;
  return url === undefined ? undefined : { endpoints: [], fallback: { url, config, overridePath: false } };
}

const hasConfig = (fallback: HostPlan['fallback']): boolean =>
  fallback !== undefined && (fallback.overridePath || fallback.config.auth !== undefined || fallback.config.tls !== undefined);

function addEndpoints(draft: Draft, registries: Registries, name: string): void {
  const mirror = registries.mirrors.get(name);
  const list = mirror?.endpoint ?? [];
  const seen = new Set<string>();
  list.forEach((text, i) => {
    const endpoint = normalizeEndpoint(text);
    if (endpoint === undefined || seen.has(endpoint.url)) return;
    seen.add(endpoint.url);
    const config = configFor(registries, endpoint.registry);
    // The last one, where it is the registry itself, becomes the fallback.
    if (i + 1 === list.length && draft.fallback !== undefined && draft.fallback.url === endpoint.url) {
      draft.fallback = { url: endpoint.url, config, overridePath: endpoint.overridePath };
    } else draft.endpoints.push({ ...endpoint, config, rewrite: mirror?.rewrite ?? {} });
  });
}

/**
 * k3s pkg/agent/containerd/config.go getHostConfigs, August 2026, without the embedded registry: registry name (`_default` for `*`) to
 * what containerd will ask. Registries for which nothing but the default would be said have no entry.
 */
export function planHosts(registries: Registries, options: HostOptions = {}): Map<string, HostPlan> {
  const drafts = new Map<string, Draft>();
  for (const [host, config] of registries.configs) {
    const draft = draftFor(host, config);
    if (draft !== undefined) drafts.set(host === '*' ? '_default' : host, draft);
  }
  for (const name of registries.mirrors.keys()) {
    let draft = drafts.get(name);
    if (draft === undefined) {
      draft = draftFor(name, configFor(registries, name));
      if (draft === undefined) continue;
      // Only here: an entry of the same name in `configs` keeps the default endpoint open in spite of the option.
      if (options.disableDefaultEndpoint) draft.fallback = undefined;
      else if (name === '*') draft.fallback = { url: '', config: NO_CONFIG, overridePath: false };
    }
    addEndpoints(draft, registries, name);
    drafts.set(name === '*' ? '_default' : name, draft);
  }
  return new Map([...drafts].filter(([, draft]) => draft.endpoints.length > 0 || hasConfig(draft.fallback)));
}

/** Directory below certs.d, as k3s and containerd name it: `host:5000` is `host_5000_`. */
export function hostDirectory(registry: string): string {
  const colon = registry.lastIndexOf(':');
  return colon > 0 ? `${registry.slice(0, colon)}_${registry.slice(colon + 1)}_` : registry;
}
