import { type LookupAddress, lookup as systemLookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { BundleError } from '../core/errors.ts';
import { isPrivateHost } from './network-policy.ts';
import { isLinkLocalAddress, isPrivateAddress } from './special-addresses.ts';

/** All addresses of a name. Rejects with the system's error. */
export type Resolve = (hostname: string) => Promise<readonly LookupAddress[]>;

/** What the system says of a name, as connections ask it. */
export const systemResolve: Resolve = (hostname) =>
  new Promise((resolve, reject) => {
    systemLookup(hostname, { all: true }, (error, found) => (error === null ? resolve(found) : reject(error)));
  });

/**
 * The `lookup` of connections to a host that the host `from` sent us to: the addresses that were checked are the ones connected to, so a
 * name can't mean another address a moment later. A private address is refused unless `from` is at one too (a registry and its storage inside
 * a company). Hosts written as addresses never come here: {@link checkRedirect} has seen them. Gives E_REDIRECT.
 */
export function lookupFor(from: string, resolve: Resolve = systemResolve): LookupFunction {
  return (hostname, options, callback) => {
    checked(from, hostname, resolve).then(
      (found) => {
        const family = options.family === 'IPv4' ? 4 : options.family === 'IPv6' ? 6 : (options.family ?? 0);
        const fitting = family === 0 ? found : found.filter((a) => a.family === family);
        const first = fitting[0];
        if (first === undefined) callback(Object.assign(new Error(`no address of ${hostname}`), { code: 'ENOTFOUND' }), '');
        else if (options.all) callback(null, [...fitting]);
        else callback(null, first.address, first.family);
      },
      (error) => callback(error, ''),
    );
  };
}

/** @throws BundleError E_REDIRECT, and the system's errors */
async function checked(from: string, hostname: string, resolve: Resolve): Promise<readonly LookupAddress[]> {
  const found = await resolve(hostname);
  const refuse = (address: string, what: string): never => {
    throw new BundleError('E_REDIRECT', `${from} sends us to ${hostname}, which is at ${address}: ${what}`);
  };
  for (const { address } of found) {
    if (isLinkLocalAddress(address)) refuse(address, 'a link-local address, where clouds keep their secrets');
  }
  const inside = found.find(({ address }) => isPrivateAddress(address));
  if (inside !== undefined && (await isPublic(from, resolve))) refuse(inside.address, 'from a public host to a private address');
  return found;
}

/** A name that can't be resolved here counts as public: nothing then says that it is inside. */
async function isPublic(host: string, resolve: Resolve): Promise<boolean> {
  if (isPrivateHost(host)) return false;
  if (isIP(host.replace(/^\[|\]$/g, '')) !== 0) return true;
  const found = await resolve(host).catch(() => []);
  return !found.some(({ address }) => isPrivateAddress(address));
}
