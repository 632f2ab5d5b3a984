import { isIP } from 'node:net';
import { BundleError } from '../core/errors.ts';
import { isLinkLocalAddress, isPrivateAddress } from './special-addresses.ts';

/**
 * Whether a host as written in a URL is a loopback, private, link-local or other address that no public registry may point us at
 * (SSRF: oras-go CVE-2026-48978, regclient 2026-05). Other names are not looked up here: see public-lookup.ts.
 */
export function isPrivateHost(hostname: string): boolean {
  const host = plain(hostname);
  return host === 'localhost' || host.endsWith('.localhost') || isPrivateAddress(host);
}

/** `[::1]` and `localhost.` as the system understands them. */
const plain = (hostname: string): string =>
  hostname
    .replace(/^\[|\]$/g, '')
    .replace(/\.+$/, '')
    .toLowerCase();

const isLinkLocal = (hostname: string): boolean => isLinkLocalAddress(plain(hostname));

/** Same scheme, host and port: the only case in which an Authorization header may be sent again. `URL.host` leaves default ports out. */
export const isSameOrigin = (a: URL, b: URL): boolean => a.protocol === b.protocol && a.host === b.host;

/**
 * Whether a request at `from` may be continued at `to`.
 * @throws BundleError E_REDIRECT for another scheme than http(s), https to http, public to private addresses, or credentials in the URL
 */
export function checkRedirect(from: URL, to: URL): void {
  const refuse = (why: string): never => {
    throw new BundleError('E_REDIRECT', `${from.host} redirects to ${to.protocol}//${to.host}: ${why}`);
  };
  if (to.protocol !== 'https:' && to.protocol !== 'http:') refuse(`"${to.protocol}" is not http or https`);
  if (from.protocol === 'https:' && to.protocol === 'http:') refuse('from https to plain http');
  if (to.username !== '' || to.password !== '') refuse('the address carries credentials');
  if (isPrivateHost(to.hostname) && !isPrivateHost(from.hostname) && from.hostname !== to.hostname)
    refuse('from a public host to a private address');
  if (isLinkLocal(to.hostname) && from.hostname !== to.hostname) refuse('a link-local address, where clouds keep their secrets');
}

/** Token services that live under another domain than their registry, from their public answers (docs/design.md, "Credentials"). */
const KNOWN_REALMS: Readonly<Record<string, readonly string[]>> = {
  'registry-1.docker.io': ['auth.docker.io'],
  'dhi.io': ['auth.docker.io', 'dhi.io'],
  'nvcr.io': ['nvcr.io', 'authn.nvidia.com'],
  'registry.redhat.io': ['registry.redhat.io', 'sso.redhat.com'],
  'public.ecr.aws': ['ecr-public.aws.com'],
  'ecr-public.aws.com': ['public.ecr.aws'],
  'lscr.io': ['ghcr.io'],
};
const SHARED_SUFFIX = new Set(['ac', 'co', 'com', 'edu', 'gov', 'net', 'org']);

/** May credentials for `registry` go to `realm`? Its own host, its sister under the same domain, a known one, or one the user named. */
export function mayReceiveCredentials(registry: URL, realm: URL, allowed: readonly string[]): boolean {
  // What the user named comes first: it is also what the refusal of plain http on another port of the same host advises.
  if (allowed.includes(realm.host)) return true;
  if (registry.hostname === realm.hostname) return realm.protocol === 'https:' || registry.host === realm.host;
  if (KNOWN_REALMS[registry.hostname]?.includes(realm.hostname)) return true;
  if (isIP(registry.hostname) !== 0 || isIP(realm.hostname) !== 0) return false;
  const labels = registry.hostname.split('.').slice(1);
  if (labels.length < 2 || (labels.length === 2 && SHARED_SUFFIX.has(labels[0] as string))) return false;
  const parent = labels.join('.');
  return realm.hostname === parent || realm.hostname.endsWith(`.${parent}`);
}

/**
 * Whether a token may be asked for at `realm` at all, even anonymously.
 * @throws BundleError E_AUTH
 */
export function checkRealm(registry: URL, realm: URL): void {
  const refuse = (why: string): never => {
    throw new BundleError('E_AUTH', `${registry.host} names the token service ${realm.protocol}//${realm.host}: ${why}`);
  };
  if (realm.protocol !== 'https:' && realm.protocol !== 'http:') refuse('it is neither http nor https');
  if (realm.protocol === 'http:' && registry.protocol !== 'http:') refuse('plain http for a registry that is reached by https');
  if (realm.username !== '' || realm.password !== '') refuse('the address carries credentials');
  if (isPrivateHost(realm.hostname) && realm.hostname !== registry.hostname)
    refuse('a private address that is not the registry itself');
}
