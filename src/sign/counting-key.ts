import { BundleError } from '../core/errors.ts';
import type { PublicKey } from './public-key.ts';
import { countingKeyids, keyLabel, type Occasion, type TrustedKey, whyNotCounted } from './trust-key.ts';

/**
 * Before a key signs: its signature must be one that counts, else people would carry one that helps nobody.
 * @param where completes "the key … is", when it is none of `keys`
 * @throws BundleError E_UNTRUSTED, with the names of those that count or the reason why this one does not
 */
export function requireCountingKey({ keyid }: PublicKey, keys: readonly TrustedKey[], occasion: Occasion, where: string): void {
  const own = keys.filter((key) => key.keyid === keyid);
  const counting = countingKeyids(keys, occasion);
  const [known] = own;
  if (known === undefined) {
    const names = [...new Set(keys.filter((key) => counting.has(key.keyid)).map(keyLabel))];
    const hint = names.length === 0 ? 'no key counts for it now' : `it wants one of ${names.slice(0, 8).join(', ')}`;
    throw new BundleError('E_UNTRUSTED', `the key ${keyid} is ${where}: nothing was signed`, { hint });
  }
  if (counting.has(keyid)) return;
  const why = [...new Set(own.map((key) => whyNotCounted(key, occasion)))].join('; ');
  throw new BundleError('E_UNTRUSTED', `nothing was signed: a signature by ${keyLabel(known)} would not count: ${why}`);
}
