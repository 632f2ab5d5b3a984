import { BundleError } from '../../core/errors.ts';
import type { Args } from '../options.ts';
import { isLoopback, type ListenAddress } from './listen-address.ts';

export type Exposure = Readonly<{ address: ListenAddress; writable: boolean; users: boolean; tls: boolean }>;

/** What must not happen by leaving a flag out: pushes by anybody, passwords in the clear. @throws BundleError E_USAGE */
export function checkExposure(args: Args, { address, writable, users, tls }: Exposure): void {
  if (isLoopback(address)) return;
  const at = args.listen ?? '';
  if (writable && !users && !args['insecure-anonymous-push'])
    throw new BundleError('E_USAGE', `whoever reaches ${at} could push and delete: there is no --htpasswd`, {
      hint: 'make users with "bundle serve --htpasswd FILE --add-user NAME" and name the file, or say --insecure-anonymous-push',
    });
  if (users && !tls && !args['insecure-http'])
    throw new BundleError('E_USAGE', `passwords would cross the network to ${at} unencrypted: there is no TLS`, {
      hint: 'say --tls self, or --tls-cert and --tls-key; behind a proxy that does TLS listen on 127.0.0.1, or say --insecure-http',
    });
}
