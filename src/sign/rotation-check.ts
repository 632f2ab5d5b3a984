import { BundleError } from '../core/errors.ts';
import { requireCountingKey } from './counting-key.ts';
import { encodeRotation, mergeRotations, parseRotation, type Rotation } from './rotation.ts';
import type { SigningKey } from './signing-key.ts';
import { signStatement } from './statement-signature.ts';
import { type TrustDocument, trustedKeysOf, trustFingerprint } from './trust-document.ts';
import { countingKeyids } from './trust-key.ts';
import { countTrustedSignatures, type RefusedSignature, verifyStatementSignature } from './verify-statement.ts';

/** Who has signed, of those who count. `refused`: signatures that count on neither side, with the reason. */
export type RotationStatus = Readonly<{
  old: Readonly<{ signers: readonly string[]; threshold: number }>;
  new: Readonly<{ signers: readonly string[]; threshold: number }>;
  refused: readonly RefusedSignature[];
}>;

/**
 * Counts distinct keys on both sides. Only keys bound to no bundle decide about trust: one that may sign "lumen" alone must not choose who signs all.
 * @param now milliseconds since 1970
 * @throws BundleError E_SIGNATURE for a signature that names a key of either side and does not verify
 */
export async function rotationStatus(rotation: Rotation, now: number): Promise<RotationStatus> {
  const signatures = rotation.signatures.map((bytes, i) => ({ name: `signature ${i + 1}`, bytes }));
  const { statementBytes } = rotation;
  const side = async (document: TrustDocument) => {
    const { threshold } = document;
    const trust = { keys: trustedKeysOf(document), threshold };
    const count = await countTrustedSignatures({ statementBytes, signatures, trust, name: undefined, now });
    const broken = count.refused.find((item) => item.code === 'E_SIGNATURE');
    if (broken === undefined) return { ...count, threshold };
    throw new BundleError('E_SIGNATURE', `the rotation to version ${rotation.to.version}: ${broken.reason}`, {
      hint: 'the file was damaged or changed on the way: carry it again',
    });
  };
  const [before, after] = [await side(rotation.from), await side(rotation.to)];
  return {
    old: { signers: before.signers, threshold: before.threshold },
    new: { signers: after.signers, threshold: after.threshold },
    // By nobody who counts on either side. A stranger is told as the new side tells it.
    refused: after.refused.filter((item) => before.refused.some((other) => other.name === item.name)),
  };
}

/** Before anybody signs in vain: on both sides enough keys must be able to sign. @throws BundleError E_TRUST_FILE */
export function requireRotatable({ from, to }: Rotation, now: number): void {
  for (const [document, whose] of [
    [from, 'trusted now'],
    [to, 'that it leads to'],
  ] as const) {
    const count = countingKeyids(trustedKeysOf(document), { name: undefined, now }).size;
    if (count >= document.threshold) continue;
    throw new BundleError(
      'E_TRUST_FILE',
      `a rotation needs ${document.threshold} of the keys ${whose}, and ${count} count for it`,
      {
        hint: 'keys that are bound to bundles, revoked or out of their time do not: change this trust by hand on each machine (bundle trust add, remove)',
      },
    );
  }
}

/**
 * The rules of TUF's root (specification 5.3): enough of the old keys, and enough of the new ones, which so prove that somebody has them.
 * @throws BundleError E_UNSIGNED, E_SIGNATURE, E_UNTRUSTED (nobody who counts), E_THRESHOLD
 */
export async function requireRotationSigned(rotation: Rotation, now: number): Promise<void> {
  const what = `the rotation to version ${rotation.to.version}`;
  if (rotation.signatures.length === 0) {
    throw new BundleError('E_UNSIGNED', `${what} is not signed`, {
      hint: 'let those who are trusted now sign it: bundle trust rotate --sign FILE --key KEY',
    });
  }
  const status = await rotationStatus(rotation, now);
  for (const side of ['old', 'new'] as const) {
    const { signers, threshold } = status[side];
    if (signers.length >= threshold) continue;
    const whose = side === 'old' ? 'the keys trusted before it' : 'the keys it leads to';
    const others = status.refused.slice(0, 3).map((item) => `; not counted: ${item.reason}`);
    throw new BundleError(
      signers.length === 0 ? 'E_UNTRUSTED' : 'E_THRESHOLD',
      `${what} is signed by ${signers.length} of ${whose}, want ${threshold}${others.join('')}`,
      { detail: { status }, hint: 'let the missing people sign: bundle trust rotate --sign FILE --key KEY' },
    );
  }
}

/**
 * Follows rotations from the trust in force: in order of their versions, each signed by what the one before it leads to. What is behind already is
 * passed over when something newer comes with it.
 * @returns the trust that results; `current` itself when it is there already
 * @throws BundleError E_ROLLBACK (only older ones), E_TRUST_FILE (one is missing in between), E_UNTRUSTED (of another trust),
 * those of {@link requireRotationSigned}
 */
export async function followRotations(current: TrustDocument, given: readonly Rotation[], now: number): Promise<TrustDocument> {
  const rotations = [...mergeRotations(given)].sort((a, b) => a.to.version - b.to.version);
  const newest = rotations.at(-1);
  if (newest === undefined || isInForce(newest, current)) return current;
  let trust = current;
  for (const rotation of rotations.filter(({ to }) => to.version > current.version)) {
    requireNext(rotation, trust);
    await requireRotationSigned(rotation, now);
    trust = rotation.to;
  }
  if (trust === current) throw behind(newest, current);
  return trust;
}

/** Back to the common line. By hand too: nothing that others signed can tell what this machine has on its own. */
const REJOIN =
  'bring trust.json from a machine where the rotation is in force, or put back the common one that it starts from and apply it again; ' +
  'compare fingerprints with "bundle trust show"';

const isInForce = ({ to }: Rotation, current: TrustDocument): boolean =>
  to.version === current.version && trustFingerprint(to) === trustFingerprint(current);

function behind({ to }: Rotation, current: TrustDocument): BundleError {
  if (to.version < current.version) {
    // The document does not say which: it has no history, and a version made by hand counts like any other.
    return new BundleError(
      'E_ROLLBACK',
      `the rotation leads to version ${to.version}, and this trust is at ${current.version}: either the rotation is an old one, ` +
        'or this machine was changed by hand since and left the common line',
      { hint: `an old one: take the newest, trust never goes back; changed by hand: ${REJOIN}` },
    );
  }
  return otherLineage(`the version ${to.version} that it leads to`, current);
}

function requireNext({ from, to }: Rotation, trust: TrustDocument): void {
  if (from.version > trust.version) {
    const missing =
      from.version === trust.version + 1 ? `version ${from.version}` : `versions ${trust.version + 1} to ${from.version}`;
    throw new BundleError(
      'E_TRUST_FILE',
      `this trust is at version ${trust.version}: the rotation to ${missing} is missing before ${to.version}`,
      {
        hint: 'give that one too: --apply FILE --apply FILE',
      },
    );
  }
  if (from.version < trust.version)
    throw new BundleError('E_UNTRUSTED', `two different rotations lead to version ${to.version}`, {
      hint: 'ask those who signed which one holds',
    });
  if (trustFingerprint(from) !== trustFingerprint(trust))
    throw otherLineage(`the version ${from.version} that it starts from`, trust);
}

const otherLineage = (which: string, trust: TrustDocument): BundleError =>
  new BundleError('E_UNTRUSTED', `the rotation is of another trust: ${which} is not the one here, ${trustFingerprint(trust)}`, {
    hint: `a machine that was changed by hand ("bundle trust add", "remove") left the common line: ${REJOIN}`,
  });

/**
 * Adds the signature of one more key, or nothing when it has signed.
 * @throws BundleError E_UNTRUSTED for a key that is on neither side or counts on neither
 */
export async function signRotation(rotation: Rotation, key: SigningKey, now: number): Promise<Rotation> {
  const known = [...trustedKeysOf(rotation.from), ...trustedKeysOf(rotation.to)];
  const where = 'neither in the trust before this rotation nor in the one after it';
  requireCountingKey(key.publicKey, known, { name: undefined, now }, where);
  for (const bytes of rotation.signatures) {
    try {
      await verifyStatementSignature(bytes, rotation.statementBytes, [key.publicKey]);
      return rotation;
    } catch (error) {
      if (!(error instanceof BundleError)) throw error;
    }
  }
  const signature = await signStatement(key.signer, rotation.statementBytes);
  // As a file would be read: what is carried must be what was made.
  return parseRotation(encodeRotation({ ...rotation, signatures: [...rotation.signatures, signature] }), 'the signed rotation');
}
