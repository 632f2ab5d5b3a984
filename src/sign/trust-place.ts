import { relative, resolve } from 'node:path';
import { BundleError } from '../core/errors.ts';

/**
 * Trust that lies in the bundle was written by whoever wrote the bundle: it would let anything pass. By names alone, so a link into the medium is not
 * seen, nor is a key that lies on it beside the bundle.
 * @throws BundleError E_TRUST_FILE
 */
export function requireTrustOutside(paths: readonly string[], bundle: string): void {
  const inside = paths.find((path) => {
    const way = relative(resolve(bundle), resolve(path));
    return way === '' || (way !== '..' && !way.startsWith('../'));
  });
  if (inside === undefined) return;
  throw new BundleError('E_TRUST_FILE', `--trust ${inside} lies in the bundle ${bundle}: whoever made the one made the other`, {
    hint: 'get the keys from their owners by another way than the medium, and keep them on this machine',
  });
}
