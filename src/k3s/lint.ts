import { byteOrder } from '../core/json.ts';
import { type Endpoint, normalizeEndpoint, portOf } from './endpoint.ts';
import type { Mirror, Registries } from './registries.ts';

/** Something that k3s accepts and that does not do what it seems to. `entry` is as in the file: `configs.docker.io`. */
export type LintWarning = Readonly<{ entry: string; message: string }>;

const HUB_ALIASES = new Set(['index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com']);

function lintName(section: string, name: string): string[] {
  if (name.includes('://'))
    return [`the name has a scheme; k3s compares it with the bare host: write ${name.replace(/^.*:\/\//, '')}`];
  if (name.includes('/')) return ['the name has a path; registries are told apart by host and port only'];
  if (name !== name.toLowerCase()) return ['the name has upper-case letters; image references are compared exactly'];
  if (section === 'mirrors' && HUB_ALIASES.has(name)) return ['containerd calls Docker Hub docker.io: this entry is never used'];
  if (name.startsWith('[') && portOf(name) === '') return ['containerd mangles an IPv6 name without a port: write it with one'];
  if (/^[0-9a-fA-F]*:[0-9a-fA-F:]*:/.test(name)) return ['an IPv6 address needs brackets and a port'];
  return [];
}

/** Go's ReplaceAllString: `$1x` is the group named `1x`, which there is none of. */
function lintRewrite(rules: Readonly<Record<string, string>>): string[] {
  const names = Object.keys(rules);
  const found = [
    "rewrite works in k3s's own containerd only; an endpoint with a path (https://node-1:5000/v2/docker.io) works everywhere",
  ];
  if (names.length > 1)
    found.push('several rewrite rules: their order is not kept, so another one than meant may be applied (rke2#3227)');
  for (const [from, to] of Object.entries(rules)) {
    const groups = from.match(/(?<!\\)\((?!\?(?!P?<))/g)?.length ?? 0;
    for (const [, number, tail] of to.matchAll(/\$(\d+)(\w?)/g)) {
      if (tail !== '')
        found.push(`rewrite "${to}": $${number}${tail} is read as a group named "${number}${tail}"; write \${${number}}`);
      else if (Number(number) > groups)
        found.push(`rewrite "${from}": "${to}" names group ${number}, which the pattern does not have`);
    }
  }
  return found;
}

function lintEndpoint(text: string, endpoint: Endpoint | undefined): string[] {
  if (endpoint === undefined) return [`endpoint ${JSON.stringify(text)} is not a URL: k3s skips it`];
  const found: string[] = [];
  if (!text.includes('://')) found.push(`endpoint ${JSON.stringify(text)} has no scheme: write ${endpoint.url} (k3s#9322)`);
  if (endpoint.scheme !== 'http' && endpoint.scheme !== 'https')
    found.push(`endpoint scheme ${endpoint.scheme} is not one of http, https`);
  if (endpoint.url.split('/', 3)[2]?.includes('@')) found.push('an endpoint has a login in its URL; put it under configs');
  if (endpoint.overridePath && !/^\/v2(?:\/|$)/.test(endpoint.path)) {
    found.push(
      `endpoint path ${endpoint.path} takes the place of /v2: most registries answer below /v2 only (${endpoint.host}/v2${endpoint.path})`,
    );
  }
  return found;
}

function lintMirror(name: string, mirror: Mirror, endpoints: readonly (Endpoint | undefined)[]): string[] {
  const found = mirror.endpoint.flatMap((text, i) => lintEndpoint(text, endpoints[i]));
  const urls = endpoints.flatMap((endpoint) => endpoint?.url ?? []);
  for (const url of new Set(urls.filter((item, i) => urls.indexOf(item) !== i)))
    found.push(`${url} is listed twice: k3s skips the second`);
  if (mirror.endpoint.length === 0) found.push('there is no endpoint: it has no effect unless the embedded registry is on');
  if (name === '*') {
    found.push(
      '"*" is not used for registries that have an entry, and k3s broke it twice (k3s#9728, k3s#11857): name each registry',
    );
    if (endpoints.some((endpoint) => endpoint?.overridePath))
      found.push('"*" with a path in the endpoint: all registries share one path there');
  }
  if (mirror.rewrite !== undefined) found.push(...lintRewrite(mirror.rewrite));
  return found;
}

function lintConfig(
  name: string,
  registries: Registries,
  parsed: ReadonlyMap<string, readonly (Endpoint | undefined)[]>,
): string[] {
  const found: string[] = [];
  const all = [...parsed.values()].flat().filter((endpoint) => endpoint !== undefined);
  const uses = all.filter((endpoint) => endpoint.registry === name || endpoint.host === name);
  const mirrored = parsed.get(name);
  if (name === '*') return ['k3s does not fall back to configs "*" for the endpoints of mirrors: name each host (k3s#13215)'];
  if (registries.configs.get(name)?.tls !== undefined && uses.some((endpoint) => endpoint.scheme === 'http')) {
    found.push(
      'there is tls for an http:// endpoint: containerd then tries https first; insecure_skip_verify does not mean plain HTTP',
    );
  }
  if (mirrored?.some((endpoint) => endpoint !== undefined && endpoint.registry !== name)) {
    found.push(
      'the same name is under mirrors: with this entry --disable-default-registry-endpoint does not close the way to the registry itself' +
        (uses.length === 0 ? "; settings for the mirror belong under the mirror's host and port" : ''),
    );
  }
  if (uses.length === 0 && mirrored === undefined && all.length > 0 && !name.includes('://')) {
    const near = all.find((endpoint) => endpoint.host.replace(/:\d+$/, '') === name.replace(/:\d+$/, ''));
    found.push(`no endpoint has this host and port${near === undefined ? '' : `; did you mean ${near.registry}?`}`);
  }
  return found;
}

/** Registries that share an endpoint without a path of their own: the first image of a name is taken for all (measured, no error). */
function lintCollisions(parsed: ReadonlyMap<string, readonly (Endpoint | undefined)[]>, registries: Registries): LintWarning[] {
  const namesByUrl = new Map<string, string[]>();
  for (const [name, endpoints] of parsed) {
    if (name === '*' || registries.mirrors.get(name)?.rewrite !== undefined) continue;
    for (const url of new Set(endpoints.flatMap((endpoint) => (endpoint && endpoint.registry !== name ? endpoint.url : [])))) {
      namesByUrl.set(url, [...(namesByUrl.get(url) ?? []), name]);
    }
  }
  return [...namesByUrl]
    .filter(([, names]) => names.length > 1)
    .map(([url, names]) => ({
      entry: `mirrors.${names[0]}`,
      message: `${names.join(', ')} share ${url}: equal repository names become the same image, without an error`,
    }));
}

/** What k3s takes without a word although it does not work as written (field notes: k3s#145, #1802, #9322, #11191, #13215, ...). */
export function lintRegistries(registries: Registries): LintWarning[] {
  const parsed = new Map([...registries.mirrors].map(([name, mirror]) => [name, mirror.endpoint.map(normalizeEndpoint)]));
  const found: LintWarning[] = [];
  const add = (entry: string, messages: readonly string[]): void => {
    found.push(...messages.map((message) => ({ entry, message })));
  };
  for (const [name, mirror] of registries.mirrors) {
    add(`mirrors.${name}`, [...lintName('mirrors', name), ...lintMirror(name, mirror, parsed.get(name) ?? [])]);
  }
  for (const name of registries.configs.keys()) {
    add(`configs.${name}`, [...lintName('configs', name), ...lintConfig(name, registries, parsed)]);
  }
  found.push(...lintCollisions(parsed, registries));
  return found.sort((a, b) => byteOrder(a.entry, b.entry));
}
