import { isIP, isIPv6 } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { BundleError } from '../core/errors.ts';

const DNS_NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/i;

/** Names and addresses by which this machine may be dialled, those asked for first. @throws BundleError E_USAGE for one that is neither */
export function serverNames(
  asked: readonly string[],
  machine = { hostname: hostname(), interfaces: networkInterfaces() },
): string[] {
  for (const name of asked)
    if (!isIP(name) && !DNS_NAME.test(name))
      throw new BundleError('E_USAGE', `--tls-name ${JSON.stringify(name.slice(0, 300))} is neither a DNS name nor an address`);
  const host = machine.hostname.toLowerCase();
  const own = DNS_NAME.test(host) ? [host, host.split('.')[0] as string] : [];
  const addresses = Object.values(machine.interfaces)
    .flatMap((list) => list ?? [])
    .map(({ address }) => address)
    // Nobody dials a link-local address without saying on which link, and there is no way to write that into a certificate.
    .filter((address) => !(isIPv6(address) && /^fe[89ab]/i.test(address)));
  return [...new Set([...asked, ...own, 'localhost', '127.0.0.1', '::1', ...addresses.sort()])];
}
