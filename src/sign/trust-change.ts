import { BundleError } from '../core/errors.ts';
import { byteOrder } from '../core/json.ts';
import type { PublicKey } from './public-key.ts';
import {
  checkTrustDocument,
  encodeTrustDocument,
  type TrustDocument,
  type TrustDocumentKey,
  trustedKeysOf,
} from './trust-document.ts';
import { keyLabel, mostThatCount } from './trust-key.ts';

export type KeyToAdd = Readonly<{
  name: string;
  key: PublicKey;
  from?: string | undefined;
  until?: string | undefined;
  bundles?: readonly string[] | undefined;
}>;

/** `remove`: names. `revoke`: what is removed stays listed as revoked, so that it can't come back. */
export type TrustChange = Readonly<{
  add: readonly KeyToAdd[];
  remove: readonly string[];
  revoke: boolean;
  threshold?: number | undefined;
}>;

const listed = ({ name, key, from, until, bundles }: KeyToAdd): TrustDocumentKey => ({
  name,
  keyid: key.keyid,
  pem: key.pem,
  from,
  until,
  bundles: bundles === undefined ? undefined : [...bundles].sort(byteOrder),
});

/** Version 1. The same keys and threshold give the same bytes on every machine. @throws BundleError E_TRUST_FILE */
export function firstTrust(add: readonly KeyToAdd[], threshold: number, now: number): TrustDocument {
  return checked({ trustVersion: 1, version: 1, threshold, keys: add.map(listed) }, now);
}

/**
 * The next version; the document itself when it says all that already.
 * @param now milliseconds since 1970
 * @throws BundleError E_USAGE for a name that is not there, E_TRUST_FILE for trust that could accept nothing
 */
export function changedTrust(document: TrustDocument, change: TrustChange, now: number): TrustDocument {
  for (const name of change.remove) requireListed(document, name);
  for (const { key, name } of change.add) requireNotRevoked(document, key, name);
  const at = `${new Date(now).toISOString().slice(0, 19)}Z`;
  const removed = (key: TrustDocumentKey): boolean => change.remove.includes(key.name);
  const kept = document.keys.flatMap((key) => {
    if (!removed(key)) return [key];
    return change.revoke ? [{ ...key, revoked: key.revoked ?? at }] : [];
  });
  const added = change.add.map(listed).filter((key) => !kept.some((there) => sameKey(there, key)));
  const next = { ...document, threshold: change.threshold ?? document.threshold, keys: [...kept, ...added] };
  if (Buffer.compare(encodeTrustDocument(next), encodeTrustDocument(document)) === 0) return document;
  return checked({ ...next, version: document.version + 1 }, now);
}

const sameKey = (a: TrustDocumentKey, b: TrustDocumentKey): boolean => {
  const alone = (key: TrustDocumentKey) => encodeTrustDocument({ trustVersion: 1, version: 1, threshold: 1, keys: [key] });
  return Buffer.compare(alone(a), alone(b)) === 0;
};

function requireListed(document: TrustDocument, name: string): void {
  if (document.keys.some((key) => key.name === name)) return;
  const names = document.keys.map((key) => key.name).sort(byteOrder);
  throw new BundleError('E_USAGE', `trust has no key named ${JSON.stringify(name).slice(0, 80)}; it has ${names.join(', ')}`);
}

function requireNotRevoked(document: TrustDocument, { keyid }: PublicKey, name: string): void {
  const there = document.keys.find((key) => key.keyid === keyid);
  if (there?.revoked === undefined) return;
  throw new BundleError('E_TRUST_FILE', `${name}: this key is revoked here as ${there.name} since ${there.revoked}`, {
    hint: 'a revoked key is not taken back: let its owner make a new one',
  });
}

function checked(document: TrustDocument, now: number): TrustDocument {
  checkTrustDocument(document, 'the new trust');
  const most = mostThatCount(trustedKeysOf(document), now);
  if (most >= document.threshold) return document;
  throw new BundleError(
    'E_TRUST_FILE',
    `the new trust: at most ${most} of its keys count together now (others are revoked, out of their time or bound to other bundles), ` +
      `and the threshold is ${document.threshold}`,
    { hint: 'nothing could be accepted: add a key in the same step, or lower the threshold' },
  );
}

/** The terms of a key, for people: `until 2027-01-01T00:00:00Z, only lumen`. Empty without any. */
export function describeTerms({ from, until, bundles, revoked }: TrustDocumentKey): string {
  const terms = [
    revoked === undefined ? undefined : `revoked since ${revoked}`,
    from === undefined ? undefined : `from ${from}`,
    until === undefined ? undefined : `until ${until}`,
    bundles === undefined ? undefined : `only ${bundles.join(', ')}`,
  ];
  return terms.filter((term) => term !== undefined).join(', ');
}

/** What differs, a line each, for people. */
export function trustDifference(before: TrustDocument, after: TrustDocument): string[] {
  const told = (key: TrustDocumentKey): string => [keyLabel(key), describeTerms(key)].filter((text) => text !== '').join(' ');
  const was = new Map(before.keys.map((key) => [key.keyid, key]));
  const is = new Set(after.keys.map((key) => key.keyid));
  const lines = before.keys.filter(({ keyid }) => !is.has(keyid)).map((key) => `- ${told(key)}`);
  for (const key of after.keys) {
    const old = was.get(key.keyid);
    if (old === undefined) lines.push(`+ ${told(key)}`);
    else if (!sameKey(old, key)) lines.push(`~ ${told(key)}, was ${told(old)}`);
  }
  if (before.threshold !== after.threshold) lines.push(`threshold ${before.threshold} -> ${after.threshold}`);
  return lines;
}
