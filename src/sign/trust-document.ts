import * as z from 'zod';
import { type Digest, digestOf } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { byteOrder, parseStrictJson, prettyJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { shapeFaults } from '../core/shape-faults.ts';
import { timeSchema } from '../core/time.ts';
import { parsePublicKeys } from './public-key.ts';
import type { TrustedKey } from './trust-key.ts';

/** ASCII, and unique without regard to case: two people must not look like one in a table. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$/;
const BUNDLE_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

const keySchema = z.strictObject({
  name: z.string().regex(NAME, 'want up to 64 of A-Z a-z 0-9 . _ @ + -'),
  keyid: z.string().regex(/^[0-9a-f]{64}$/, 'not a SHA-256 in hex'),
  pem: z.string().max(LIMITS.trustedKeyPemChars),
  from: timeSchema.optional(),
  until: timeSchema.optional(),
  bundles: z.array(z.string().regex(BUNDLE_NAME, 'not the name of a bundle')).min(1).max(LIMITS.trustedKeys).optional(),
  revoked: timeSchema.optional(),
});

/** The full form of `trust.json`: whom a machine trusts, in one file, so that it is replaced by one rename (docs/trust.md). */
export const trustDocumentSchema = z.strictObject({
  trustVersion: z.literal(1),
  /** Counts changes from 1. Bounded, so that a huge one can't end all counting. */
  version: z.number().int().min(1).max(1_000_000_000),
  threshold: z.number().int().min(1).max(LIMITS.trustedKeys),
  keys: z.array(keySchema).min(1).max(LIMITS.trustedKeys),
});

export type TrustDocument = z.infer<typeof trustDocumentSchema>;
export type TrustDocumentKey = TrustDocument['keys'][number];

/** True for JSON that means to be the full form; the simple one has a threshold alone. */
export const isFullForm = (json: Readonly<Record<string, unknown>>): boolean => 'trustVersion' in json;

/** @throws BundleError E_TRUST_FILE with every fault that was found in the shape, else the first one in the meaning */
export function parseTrustDocument(bytes: Uint8Array, what: string): TrustDocument {
  if (bytes.length > LIMITS.trustDocumentBytes)
    throw new BundleError('E_TRUST_FILE', `${what}: longer than the limit of ${LIMITS.trustDocumentBytes} bytes`);
  const parsed = trustDocumentSchema.safeParse(parseStrictJson(bytes, what, 'E_TRUST_FILE'));
  if (!parsed.success) {
    throw new BundleError('E_TRUST_FILE', `${what} is no trust document: ${shapeFaults(parsed.error, 5).join('; ')}`, {
      hint: 'it is written by "bundle trust"; start anew with "bundle trust init"',
    });
  }
  checkTrustDocument(parsed.data, what);
  return parsed.data;
}

/** What a schema can't say. @throws BundleError E_TRUST_FILE */
export function checkTrustDocument(document: TrustDocument, what: string): void {
  const names = new Set<string>();
  const keyids = new Map<string, string>();
  for (const key of document.keys) {
    const fault = keyFault(key, names, keyids, what);
    if (fault !== undefined) throw new BundleError('E_TRUST_FILE', `${what}: the key ${key.name} ${fault}`);
    names.add(key.name.toLowerCase());
    keyids.set(key.keyid, key.name);
  }
  const left = document.keys.filter((key) => key.revoked === undefined).length;
  if (document.threshold <= left) return;
  throw new BundleError(
    'E_TRUST_FILE',
    `${what}: the threshold is ${document.threshold}, want a whole number from 1 to ${left} (the keys that are not revoked)`,
    { hint: 'nothing could ever be accepted: add a key, or lower the threshold in the same step' },
  );
}

function keyFault(key: TrustDocumentKey, names: Set<string>, keyids: Map<string, string>, what: string): string | undefined {
  if (names.has(key.name.toLowerCase())) return 'has the name of another key';
  const [found, ...more] = parsePublicKeys(key.pem, `${what}: the key ${key.name}`);
  if (found === undefined || more.length > 0) return 'holds several keys, want one';
  if (found.keyid !== key.keyid) return `has the keyid ${key.keyid}, but its pem is that of ${found.keyid}`;
  // One spelling: else the same trust would have several fingerprints.
  if (found.pem !== key.pem) return 'is not in canonical PEM form: a second spelling of one key';
  if (keyids.has(key.keyid)) return `is the same key as ${keyids.get(key.keyid)}`;
  if (key.from !== undefined && key.until !== undefined && Date.parse(key.from) >= Date.parse(key.until))
    return `is valid until ${key.until}, before it becomes valid at ${key.from}`;
  return undefined;
}

/** In one order and one spelling: the same trust is the same bytes, and so the same fingerprint, on every machine. */
export function encodeTrustDocument({ version, threshold, keys }: TrustDocument): Uint8Array {
  const ordered = [...keys]
    .sort((a, b) => byteOrder(a.name, b.name))
    .map(({ name, keyid, pem, from, until, bundles, revoked }) => ({
      name,
      keyid,
      pem,
      from,
      until,
      bundles: bundles === undefined ? undefined : [...new Set(bundles)].sort(byteOrder),
      revoked,
    }));
  return Buffer.from(prettyJson({ trustVersion: 1, version, threshold, keys: ordered }));
}

/** What two people compare by phone. Of the meaning, so that an editor's line ends don't change it. */
export const trustFingerprint = (document: TrustDocument): Digest => digestOf(encodeTrustDocument(document));

/** The keys with their terms, to count signatures with. */
export const trustedKeysOf = ({ keys }: TrustDocument): TrustedKey[] =>
  keys.flatMap(({ pem, name, from, until, bundles, revoked }) =>
    parsePublicKeys(pem, name).map((key) => ({ ...key, name, from, until, bundles, revoked })),
  );
