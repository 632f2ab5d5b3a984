import { BundleError } from '../core/errors.ts';
import { byteOrder } from '../core/json.ts';
import type { PublicKey } from './public-key.ts';
import {
  checkTrustDocument,
  encodeTrustDocument,
  parseTrustDocument,
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
 * The next version; the document itself when it says all that already. A key that is there under the same name gets the terms it is added with, and
 * no others.
 * @param now milliseconds since 1970
 * @throws BundleError E_USAGE for a name to remove that is not there or revoked; E_TRUST_FILE for a name of another key, a key that is revoked or has another
 * name, and for trust that could accept nothing
 */
export function changedTrust(document: TrustDocument, change: TrustChange, now: number): TrustDocument {
  for (const name of change.remove) requireListed(document, name);
  const at = `${new Date(now).toISOString().slice(0, 19)}Z`;
  const removed = (key: TrustDocumentKey): boolean => change.remove.includes(key.name);
  const kept = document.keys.flatMap((key) => {
    if (!removed(key)) return [key];
    if (!change.revoke && key.revoked !== undefined) throw staysListed(key);
    return change.revoke ? [{ ...key, revoked: key.revoked ?? at }] : [];
  });
  for (const add of change.add) {
    requireNotRevoked([...document.keys, ...kept], add);
    requireOneName(kept, add);
  }
  const terms = new Set(change.add.map(({ key }) => key.keyid));
  const keys = [...kept.filter(({ keyid }) => !terms.has(keyid)), ...change.add.map(listed)];
  const next = { ...document, threshold: change.threshold ?? document.threshold, keys };
  if (Buffer.compare(encodeTrustDocument(next), encodeTrustDocument(document)) === 0) return document;
  return checked({ ...next, version: document.version + 1 }, now);
}

/** Gone from the list it could be added again. */
const staysListed = (key: TrustDocumentKey): BundleError =>
  new BundleError('E_USAGE', `${key.name} is revoked since ${key.revoked}, and what is revoked stays listed`, {
    hint: 'it never counts again; nothing needs to be removed',
  });

function requireListed(document: TrustDocument, name: string): void {
  if (document.keys.some((key) => key.name === name)) return;
  const names = document.keys.map((key) => key.name).sort(byteOrder);
  throw new BundleError('E_USAGE', `trust has no key named ${JSON.stringify(name).slice(0, 80)}; it has ${names.join(', ')}`);
}

function requireNotRevoked(keys: readonly TrustDocumentKey[], { key, name }: KeyToAdd): void {
  const there = keys.find(({ keyid, revoked }) => keyid === key.keyid && revoked !== undefined);
  if (there === undefined) return;
  throw new BundleError('E_TRUST_FILE', `${name}: this key is revoked here as ${there.name} since ${there.revoked}`, {
    hint: 'a revoked key is not taken back: let its owner make a new one',
  });
}

/** One name, one key. Without regard to case, as in the document. */
function requireOneName(kept: readonly TrustDocumentKey[], { key, name }: KeyToAdd): void {
  for (const there of kept) {
    if (there.keyid === key.keyid && there.name !== name) {
      throw new BundleError('E_TRUST_FILE', `${name}: this key is here already as ${there.name}`, {
        hint: `use that name; another one in place of it: bundle trust rotate, --remove ${there.name} --add ${name}=FILE.pub`,
      });
    }
    if (there.keyid === key.keyid || there.name.toLowerCase() !== name.toLowerCase()) continue;
    const since = there.revoked === undefined ? '' : `, revoked since ${there.revoked}`;
    throw new BundleError('E_TRUST_FILE', `the name ${name} is that of another key here, ${keyLabel(there)}${since}`, {
      hint:
        there.revoked === undefined
          ? `choose another name, or remove ${there.name} first`
          : 'choose another name: what is revoked stays listed',
    });
  }
}

/** As a file would be read: in one order, and with nothing in it that could not be read. */
function checked(made: TrustDocument, now: number): TrustDocument {
  checkTrustDocument(made, 'the new trust');
  const document = readBack(made);
  const most = mostThatCount(trustedKeysOf(document), now);
  if (most >= document.threshold) return document;
  throw new BundleError(
    'E_TRUST_FILE',
    `the new trust: at most ${most} of its keys count together now (others are revoked, out of their time or bound to other bundles), ` +
      `and the threshold is ${document.threshold}`,
    { hint: 'nothing could be accepted: add a key in the same step, or lower the threshold' },
  );
}

function readBack(document: TrustDocument): TrustDocument {
  try {
    return parseTrustDocument(encodeTrustDocument(document), 'the new trust');
  } catch (error) {
    // Without its hint, which is for a file that somebody else changed.
    throw error instanceof BundleError ? new BundleError(error.code, error.message, { cause: error }) : error;
  }
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
  const limits = (key: TrustDocumentKey): string => describeTerms(key) || 'without limits';
  const was = new Map(before.keys.map((key) => [key.keyid, key]));
  const is = new Set(after.keys.map((key) => key.keyid));
  const lines = before.keys.filter(({ keyid }) => !is.has(keyid)).map((key) => `- ${told(key)}`);
  for (const key of after.keys) {
    const old = was.get(key.keyid);
    if (old === undefined) lines.push(`+ ${told(key)}`);
    else {
      if (old.name !== key.name) lines.push(`~ ${keyLabel(key)}, was named ${old.name}`);
      if (limits(old) !== limits(key)) lines.push(`~ ${keyLabel(key)} now ${limits(key)}, before ${limits(old)}`);
    }
  }
  if (before.threshold !== after.threshold) lines.push(`threshold ${before.threshold} -> ${after.threshold}`);
  return lines;
}
