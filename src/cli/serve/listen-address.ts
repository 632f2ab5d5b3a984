import { isIPv4 } from 'node:net';
import { BundleError } from '../../core/errors.ts';
import type { OptionName } from '../options.ts';

export type ListenAddress = Readonly<{ host: string; port: number }>;

/** `host:port`, `:port` for all addresses, `[::1]:5000`. @throws BundleError E_USAGE */
export function parseListen(text: string, flag: OptionName = 'listen'): ListenAddress {
  const match = /^(\[[0-9a-fA-F:]+\]|[^:[\]]*):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port > 65_535) throw new BundleError('E_USAGE', `--${flag} ${JSON.stringify(text)} is not host:port`);
  const host = (match[1] as string).replace(/^\[|\]$/g, '');
  return { host: host === '' ? '::' : host, port };
}

/** Only this machine can reach it. A name is believed when it is the one that RFC 6761 reserves. */
export const isLoopback = ({ host }: ListenAddress): boolean =>
  host === '::1' || host.toLowerCase() === 'localhost' || (isIPv4(host) && host.startsWith('127.'));
