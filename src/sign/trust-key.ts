import { byteOrder } from '../core/json.ts';
import { type PublicKey, shortKeyid } from './public-key.ts';

/**
 * What limits a trusted key; nothing given is no limit. Times are `2026-11-21T08:00:00Z`. `from` is the first moment at which it counts, `until` the
 * first at which it no longer does. `bundles`: it counts for statements of these names alone. `revoked`: since when; it never counts again.
 */
export type KeyTerms = Readonly<{
  name?: string | undefined;
  from?: string | undefined;
  until?: string | undefined;
  bundles?: readonly string[] | undefined;
  revoked?: string | undefined;
}>;

export type TrustedKey = PublicKey & KeyTerms;

/** What a signature is asked to count for. `name`: of the bundle; undefined: for trust itself, a rotation. `now`: milliseconds since 1970. */
export type Occasion = Readonly<{ name: string | undefined; now: number }>;

/** `alice (0123456789abcdef…)` for people. */
export const keyLabel = (key: Pick<TrustedKey, 'keyid' | 'name'>): string =>
  key.name === undefined ? shortKeyid(key.keyid) : `${key.name} (${shortKeyid(key.keyid)})`;

/**
 * Why a key does not count on this occasion; undefined: it counts. The time is that of the check and not that of the signature, which nobody here can
 * know. A revocation counts whatever its time says, so that no clock brings the key back.
 */
export function whyNotCounted({ from, until, bundles, revoked }: KeyTerms, { name, now }: Occasion): string | undefined {
  if (revoked !== undefined) return `revoked since ${revoked}`;
  // Written so that a time that is no number (NaN) fails.
  if (from !== undefined && !(now >= Date.parse(from))) return `not valid before ${from}`;
  if (until !== undefined && !(now < Date.parse(until))) return `expired since ${until}`;
  if (bundles === undefined || (name !== undefined && bundles.includes(name))) return undefined;
  const bound = `bound to ${bundles.length === 1 ? 'the bundle' : 'the bundles'} ${bundles.join(', ')}`;
  return name === undefined ? `${bound}, so it does not decide about trust` : `${bound}, and this is "${name}"`;
}

/** The distinct keys that count on an occasion. Given by several documents under several terms a key counts if any of them lets it. */
export const countingKeyids = (keys: readonly TrustedKey[], occasion: Occasion): ReadonlySet<string> =>
  new Set(keys.filter((key) => whyNotCounted(key, occasion) === undefined).map((key) => key.keyid));

/** How many keys count for the bundle for which most do: fewer than the threshold, and nothing could ever be accepted. */
export function mostThatCount(keys: readonly TrustedKey[], now: number): number {
  const names = [undefined, ...new Set(keys.flatMap((key) => key.bundles ?? []))];
  return Math.max(...names.map((name) => countingKeyids(keys, { name, now }).size));
}

/** A key that one document revokes is revoked, whichever other lists it too. */
export function withRevocations(keys: readonly TrustedKey[]): TrustedKey[] {
  const revoked = new Map(keys.flatMap((key) => (key.revoked === undefined ? [] : [[key.keyid, key.revoked] as const])));
  return keys.map((key) =>
    key.revoked === undefined && revoked.has(key.keyid) ? { ...key, revoked: revoked.get(key.keyid) } : key,
  );
}

/** Each key once for each set of terms, in the order of first appearance. */
export function distinctTerms(keys: readonly TrustedKey[]): TrustedKey[] {
  const spelled = ({ keyid, name, from, until, bundles, revoked }: TrustedKey): string =>
    JSON.stringify([keyid, name, from, until, bundles === undefined ? undefined : [...bundles].sort(byteOrder), revoked]);
  const found = new Map<string, TrustedKey>();
  for (const key of keys) if (!found.has(spelled(key))) found.set(spelled(key), key);
  return [...found.values()];
}
