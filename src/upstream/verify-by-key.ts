import { BundleError } from '../core/errors.ts';
import { instant } from '../core/time.ts';
import { shortKeyid } from '../sign/public-key.ts';
import type { PolicyKey, VerifyPolicy } from './policy.ts';
import { contentWith } from './signature-content.ts';
import type { SignedCandidate } from './signed-candidate.ts';
import type { SigstoreRoot } from './sigstore-root.ts';
import { verifiesWith } from './upstream-key.ts';
import { claimedTimes, earliest, materialAt } from './witnesses.ts';

/** `signedAt` in milliseconds since 1970, when the root's authorities vouch for it. */
export type KeyProof = Readonly<{ keyid: string; signedAt?: number }>;

/**
 * Demands that one of the keys has signed exactly these bytes. No log entry and no timestamp is asked for: the key is the whole trust. What is
 * there counts as the time of signing when it verifies by the root.
 * @throws BundleError E_UNTRUSTED (by none of the keys, or by one that has ended), E_SIGNATURE (names one of them and does not verify)
 */
export async function verifyByKey(
  signed: SignedCandidate,
  policy: Extract<VerifyPolicy, { kind: 'key' }>,
  root: SigstoreRoot | undefined,
  now: number,
  what: string,
): Promise<KeyProof> {
  let ended: BundleError | undefined;
  for (const key of policy.keys) {
    if (!(await verifiesWith(key, signed.data, signed.signature))) continue;
    const signedAt = root === undefined ? undefined : await verifiedTime(signed, key, root);
    if (key.until === undefined || (signedAt ?? now) < key.until)
      return { keyid: key.keyid, ...(signedAt === undefined ? {} : { signedAt }) };
    ended = endedKey(key, key.until, signedAt, what);
  }
  throw ended ?? notByThese(signed, policy.keys, what);
}

function endedKey(key: PolicyKey, until: number, signedAt: number | undefined, what: string): BundleError {
  const when = signedAt === undefined ? 'nothing proves that it was signed before' : `it was signed at ${instant(signedAt)}`;
  return new BundleError(
    'E_UNTRUSTED',
    `${what}: by the key ${shortKeyid(key.keyid)} (${key.source}), which ended at ${instant(until)}; ${when}`,
  );
}

function notByThese({ signer }: SignedCandidate, keys: readonly PolicyKey[], what: string): BundleError {
  const named = signer.kind === 'key' && signer.hint !== '' ? keys.find((key) => key.hint === signer.hint) : undefined;
  if (named !== undefined)
    return new BundleError(
      'E_SIGNATURE',
      `${what}: it names the key ${shortKeyid(named.keyid)} (${named.source}) and does not verify with it`,
    );
  return new BundleError('E_UNTRUSTED', `${what}: by ${keys.length === 1 ? 'another key' : `none of the ${keys.length} keys`}`);
}

/** undefined where there is no time, or one that does not verify: nothing depends on it then. */
async function verifiedTime({ entity }: SignedCandidate, key: PolicyKey, root: SigstoreRoot): Promise<number | undefined> {
  const times = claimedTimes(entity);
  if (entity.key.$case !== 'public-key' || times.length === 0) return undefined;
  const { Verifier } = await import('@sigstore/verify');
  try {
    const material = { ...materialAt(root.material, times), publicKey: () => ({ publicKey: key.key, validFor: () => true }) };
    const verifier = new Verifier(material, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 1 });
    verifier.verify({
      ...entity,
      // Verified before this is called, by the hash that goes with the key; the library knows SHA-256 alone.
      signature: contentWith(entity.signature, { verifySignature: () => true }),
    });
    return earliest(times);
  } catch {
    return undefined;
  }
}
