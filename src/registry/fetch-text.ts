import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { readAll } from '../core/verified.ts';
import { checkRedirect } from './network-policy.ts';
import type { Transport } from './transport.ts';

/** GETs a small text by http(s), without credentials. @throws BundleError E_NETWORK, E_NOT_FOUND, E_REDIRECT, E_LIMIT */
export async function fetchText(transport: Transport, address: string, maxBytes: number, signal?: AbortSignal): Promise<string> {
  let url = new URL(address);
  for (let hop = 0; hop <= LIMITS.redirects; hop++) {
    const response = await transport.send({ method: 'GET', url, signal });
    const location = response.header('location');
    const what = `${url.origin}${url.pathname}`;
    if (response.status >= 300 && response.status < 400 && location !== undefined) {
      await response.discard();
      const next = new URL(location, url);
      checkRedirect(url, next);
      url = next;
      continue;
    }
    if (response.status !== 200) {
      await response.discard();
      throw new BundleError(response.status === 404 ? 'E_NOT_FOUND' : 'E_NETWORK', `${what}: HTTP ${response.status}`);
    }
    return (await readAll(response.body, maxBytes, what)).toString('utf8');
  }
  throw new BundleError('E_REDIRECT', `${new URL(address).host}: more than ${LIMITS.redirects} redirects`);
}
