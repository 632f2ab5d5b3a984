/** What registries.yaml says, as k3s reads it (rancher/wharfie pkg/registries/types.go). Field names are those of the file. */

export type Mirror = Readonly<{ endpoint: readonly string[]; rewrite?: Readonly<Record<string, string>> }>;

export type RegistryAuth = Readonly<{ username?: string; password?: string; auth?: string; identity_token?: string }>;

export type RegistryTls = Readonly<{
  ca_file?: string;
  cert_file?: string;
  key_file?: string;
  insecure_skip_verify?: boolean;
}>;

export type RegistryConfig = Readonly<{ auth?: RegistryAuth; tls?: RegistryTls }>;

/** `mirrors` by registry name as in image references, `configs` by the host[:port] of an endpoint. Maps, because names come from outside. */
export type Registries = Readonly<{
  mirrors: ReadonlyMap<string, Mirror>;
  configs: ReadonlyMap<string, RegistryConfig>;
}>;

export const NO_REGISTRIES: Registries = { mirrors: new Map(), configs: new Map() };

/** Equal values give equal strings: keys sorted, absent and empty fields left out. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined && field !== false)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonical(field)}`).join(',')}}`;
}

export const sameValue = (a: unknown, b: unknown): boolean => canonical(a) === canonical(b);

const byName = <T>(map: ReadonlyMap<string, T>): [string, T][] => [...map].sort(([a], [b]) => (a < b ? -1 : 1));

export const sameRegistries = (a: Registries, b: Registries): boolean =>
  sameValue(byName(a.mirrors), byName(b.mirrors)) && sameValue(byName(a.configs), byName(b.configs));
