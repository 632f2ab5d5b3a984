import { isIP } from 'node:net';
import { BundleError } from '../core/errors.ts';

/** Loopback, private, link-local and other addresses that no public registry may point us at (SSRF: oras-go CVE-2026-48978, regclient 2026-05). */
export function isPrivateHost(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase();
  if (host === 'localhost' || host.endsWith('.localhost')) return true;
  const version = isIP(host);
  if (version === 4) return isPrivateV4(host);
  if (version === 6) {
    const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(host)?.[1];
    if (mapped !== undefined) return isPrivateV4(mapped);
    return host === '::' || host === '::1' || /^(fe[89ab]|f[cd])/.test(host) || host.startsWith('::ffff:');
  }
  return false;
}

/** 169.254.169.254 answers with credentials of the machine itself: no registry has business there, wherever it is. */
const isLinkLocal = (hostname: string): boolean =>
  /^(169\.254\.|\[?(::ffff:)?169\.254\.|\[?::ffff:a9fe:|\[?fe[89ab])/i.test(hostname);

function isPrivateV4(host: string): boolean {
  const [a, b] = host.split('.').map(Number) as [number, number];
  return (
    a === 0 ||
    a === 10 ||
    a === 127 ||
    (a === 169 && b === 254) ||
    (a === 172 && b >= 16 && b < 32) ||
    (a === 192 && b === 168) ||
    (a === 100 && b >= 64 && b < 128)
  );
}

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
