import { isIPv4, isIPv6 } from 'node:net';
import { BundleError } from '../core/errors.ts';
import { originPath } from '../core/reference.ts';

/**
 * An endpoint as k3s reads it. `registry` is the key under which `configs` is searched; `url` goes into hosts.toml; with `overridePath`
 * containerd takes the URL's path as the API root instead of putting `/v2` behind it.
 */
export type Endpoint = Readonly<{
  registry: string;
  scheme: string;
  host: string;
  path: string;
  url: string;
  overridePath: boolean;
}>;

// RFC 3986 appendix B, with the scheme required to be one.
const URL_FORM = /^(?:([A-Za-z][A-Za-z0-9+.-]*):)?\/\/([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?$/s;
const HOST_FORM = /^(?:\[([0-9A-Fa-f:.]+)(?:%25[A-Za-z0-9._~-]+)?\]|[A-Za-z0-9._~!$&'()*+,;=-]+)(?::([0-9]*))?$/;

/** The host without its port and brackets. */
export const bareHost = (host: string): string => host.replace(/:\d*$/, '').replace(/^\[(.*)\]$/, '$1');

export const portOf = (host: string): string => /:(\d*)$/.exec(host.replace(/^\[.*\]/, ''))?.[1] ?? '';

/** containerd core/remotes/docker IsLocalhost: the name, 127.0.0.0/8 and ::1. */
export function isLoopback(host: string): boolean {
  const name = bareHost(host);
  if (name === 'localhost') return true;
  return (isIPv4(name) && name.startsWith('127.')) || (isIPv6(name) && /^[0:]*:0*1$/.test(name));
}

/**
 * k3s pkg/agent/containerd/config.go normalizeEndpointAddress, August 2026: https unless it is loopback on a port other than 443; Docker
 * Hub's API has another name than its images; the paths "", "/" and "/v2" are the default, any other is kept and overrides.
 * @returns undefined where k3s skips the endpoint with a warning
 */
export function normalizeEndpoint(text: string): Endpoint | undefined {
  const match = URL_FORM.exec(text.includes('://') ? text : `//${text}`);
  if (match === null || /[\u0000-\u0020\u007f]/.test(text)) return undefined;
  const [, givenScheme, authority = '', givenPath = '', query = '', fragment = ''] = match;
  const userEnd = authority.lastIndexOf('@') + 1;
  const given = authority.slice(userEnd);
  if (given !== '' && !HOST_FORM.test(given)) return undefined;
  const port = portOf(given);
  const http = isLoopback(given) && port !== '' && port !== '443';
  const scheme = givenScheme?.toLowerCase() ?? (http ? 'http' : 'https');
  const host = given === 'docker.io' ? 'registry-1.docker.io' : given;
  const registry = host === 'registry-1.docker.io' ? 'docker.io' : given;
  const byDefault = givenPath === '' || givenPath === '/' || givenPath === '/v2';
  const path = byDefault ? '/v2' : givenPath;
  const url = `${scheme}://${authority.slice(0, userEnd)}${host}${path}${query}${fragment}`;
  return { registry, scheme, host, path, url, overridePath: !byDefault };
}

const bad = (text: string, why: string, hint: string): BundleError =>
  new BundleError('E_USAGE', `endpoint ${JSON.stringify(text.slice(0, 200))}: ${why}`, { hint });

const EXAMPLE = 'write it as https://node-1:5000';

/** `127.1` and `0x7f.1` are 127.0.0.1 to one reader of URLs and names to another, `a.1` is no host at all to some. */
const dialsAsWritten = (name: string): boolean => URL.canParse(`http://${name}`) && new URL(`http://${name}`).hostname === name;

/**
 * An endpoint that we would write ourselves: with a scheme (k3s#9322), a plain host, and a path that keeps the registry API reachable.
 * @throws BundleError E_USAGE
 */
export function parseEndpoint(text: string): Endpoint {
  if (!/^https?:\/\//.test(text)) throw bad(text, 'has no http:// or https:// in front', EXAMPLE);
  const endpoint = normalizeEndpoint(text);
  const host = endpoint?.host ?? '';
  const name = /^\[([0-9a-f:.]+)\](?::\d+)?$/.exec(host)?.[1];
  const label = '[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?';
  const isName = new RegExp(`^${label}(?:\\.${label})*(?::[0-9]+)?$`).test(host) && dialsAsWritten(bareHost(host));
  if (endpoint === undefined || /@/.test(text) || !(name === undefined ? isName : isIPv6(name))) {
    throw bad(text, 'its host is not a lower-case name or address with an optional port', EXAMPLE);
  }
  const port = portOf(host);
  if (host.endsWith(':') || (port !== '' && (Number(port) < 1 || Number(port) > 65_535))) {
    throw bad(text, `port ${JSON.stringify(port)} is not between 1 and 65535`, EXAMPLE);
  }
  if (name !== undefined && port === '') {
    throw bad(text, 'containerd mangles an IPv6 address without a port', `write the port: ${endpoint.scheme}://[${name}]:443`);
  }
  if (!/^\/v2(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*$/.test(endpoint.path) || /[?#]/.test(text)) {
    throw bad(text, 'its path is not /v2 with repository components behind it', `${EXAMPLE} or https://harbor.corp/v2/airgap`);
  }
  return endpoint;
}

/**
 * What `mirrors.<originName>.endpoint` holds: `https://node-1:5000/v2/docker.io`. The origin is in the path, because without it two
 * registries' `library/x` would be one image (docs/design.md, "The target").
 * @throws BundleError E_USAGE
 */
export function endpointFor(originName: string, endpointUrl: string): string {
  const { scheme, host, path } = parseEndpoint(endpointUrl);
  return `${scheme}://${host}${path}/${originPath(originName)}`;
}
