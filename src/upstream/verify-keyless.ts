import { BundleError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { certificateClaims } from './certificate.ts';
import { matchesIdentity } from './identity.ts';
import type { VerifyPolicy } from './policy.ts';
import { faultOf, type SignedCandidate } from './signed-candidate.ts';
import type { SigstoreRoot } from './sigstore-root.ts';
import { claimedTimes, earliest, materialAt } from './witnesses.ts';

/** `signedAt` in milliseconds since 1970. */
export type KeylessProof = Readonly<{ issuer: string; identity: string; signedAt: number }>;

/**
 * Demands a certificate of the root's authorities for exactly this issuer and an identity that the pattern names, a proved time of signing, and
 * an entry in one of the root's logs, if it has any.
 * @throws BundleError E_UNTRUSTED (by a key, or by somebody else), E_SIGNATURE (claims to be by the one asked for, and does not verify)
 */
export async function verifyKeyless(
  signed: SignedCandidate,
  policy: Extract<VerifyPolicy, { kind: 'keyless' }>,
  root: SigstoreRoot,
  what: string,
): Promise<KeylessProof> {
  const { entity, signer } = signed;
  if (signer.kind === 'key') throw new BundleError('E_UNTRUSTED', `${what}: by a key, not by a certificate`);
  const { issuer, identity } = certificateClaims(signer.certificate, what);
  if (issuer !== policy.issuer || !matchesIdentity(policy.identity, identity))
    throw new BundleError('E_UNTRUSTED', `${what}: by ${printable(identity, 200)}, as ${printable(issuer, 200)} says`);
  const { Verifier } = await import('@sigstore/verify');
  const times = claimedTimes(entity);
  try {
    const verifier = new Verifier(materialAt(root.material, times), {
      tlogThreshold: root.material.tlogs.length === 0 ? 0 : 1,
      ctlogThreshold: root.material.ctlogs.length === 0 ? 0 : 1,
      // A certificate lives ten minutes: without a time it was valid at, it says nothing.
      timestampThreshold: 1,
    });
    verifier.verify(entity);
  } catch (error) {
    throw new BundleError(
      'E_SIGNATURE',
      `${what}: it claims to be by ${printable(identity, 200)} and does not verify: ${faultOf(error)}`,
      {
        cause: error,
      },
    );
  }
  return { issuer, identity, signedAt: earliest(times) as number };
}
