import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { printable } from '../core/printable.ts';
import { instant } from '../core/time.ts';
import { SIGN_PREDICATE_TYPE } from '../cosign/media-types.ts';
import { type Candidate, candidatesOf, type EvidenceGraph } from './candidate.ts';
import type { VerifyPolicy } from './policy.ts';
import { type Demand, nameOf, type Refusal, refusedError } from './refusals.ts';
import { faultOf, openCandidate, type SignedCandidate, tooLarge } from './signed-candidate.ts';
import type { SigstoreRoot } from './sigstore-root.ts';
import type { Verdict, VerifiedVerdict } from './verdict.ts';
import { verifyByKey } from './verify-by-key.ts';
import { verifyKeyless } from './verify-keyless.ts';

export type { EvidenceGraph } from './candidate.ts';

export type VerifyRequest = Readonly<{
  /** What the origin served under `ref`: this is what must be signed. */
  digest: Digest;
  /** For messages. */
  ref: string;
  /** undefined: nothing is asked. */
  policy: VerifyPolicy | undefined;
  /** All that there is about it; what is about other manifests is passed over. */
  evidence: readonly EvidenceGraph[];
  readBlob: (descriptor: Descriptor) => Promise<Uint8Array>;
  root: SigstoreRoot | undefined;
  /** Milliseconds since 1970: only for keys that end, and only where no time of signing is proved. */
  now: number;
}>;

/**
 * Demands that one signature among the evidence satisfies the policy; the others do not matter then.
 * @throws BundleError E_UNSIGNED (no signature), E_UNTRUSTED (only such by others), E_SIGNATURE (none that counts, and a broken one among them);
 * E_TRUST_FILE when the policy needs a trusted root and there is none; what `readBlob` throws
 */
export async function verifyImage(request: VerifyRequest): Promise<Verdict> {
  const { policy, digest, evidence } = request;
  if (policy === undefined) return { result: 'not-asked' };
  if (policy.kind === 'unsigned') return { result: 'unsigned-allowed' };
  const demand = withRoot(policy, request);
  const candidates = candidatesOf(evidence, digest);
  const refusals: Refusal[] = [];
  for (const candidate of candidates.slice(0, LIMITS.upstreamCandidates)) {
    if (candidate.format !== 'bundle' && (candidate.format === 'attestation') !== (policy.attestation !== undefined)) {
      refusals.push({ kind: 'nothing', reason: `${nameOf(candidate)}: not what is asked for` });
      continue;
    }
    if (tooLarge(candidate)) {
      const reason = `${nameOf(candidate)}: has ${candidate.layer.size} bytes, more than the limit of ${LIMITS.evidenceBlobBytes}`;
      refusals.push({ kind: 'broken', reason });
      continue;
    }
    const outcome = await tryCandidate(candidate, await request.readBlob(candidate.layer), demand, request);
    if ('result' in outcome) return outcome;
    refusals.push(outcome);
  }
  throw refusedError(request, policy, refusals, candidates.length);
}

/** A certificate says nothing without a root; a time beside a signature by a key is only proved where there is one. */
type RootedDemand =
  | (Extract<Demand, { kind: 'keyless' }> & Readonly<{ root: SigstoreRoot }>)
  | (Extract<Demand, { kind: 'key' }> & Readonly<{ root: SigstoreRoot | undefined }>);

function withRoot(policy: Demand, { root, ref }: VerifyRequest): RootedDemand {
  if (policy.kind === 'key') return { ...policy, root };
  if (root !== undefined) return { ...policy, root };
  throw new BundleError('E_TRUST_FILE', `${ref}: no trusted root of Sigstore to verify a keyless signature by`);
}

const KIND_OF_CODE: Readonly<Record<string, Refusal['kind']>> = {
  E_UNSIGNED: 'nothing',
  E_UNTRUSTED: 'others',
  E_SIGNATURE: 'broken',
};

async function tryCandidate(
  candidate: Candidate,
  bytes: Uint8Array,
  demand: RootedDemand,
  { digest, now }: VerifyRequest,
): Promise<VerifiedVerdict | Refusal> {
  const what = nameOf(candidate);
  try {
    const signed = await openCandidate(candidate, bytes, what);
    requireMeaning(signed, demand.attestation ?? SIGN_PREDICATE_TYPE, digest, what);
    return await verdictOf(signed, demand, now, what);
  } catch (error) {
    // Blobs were read before: what else is thrown comes of what is in them, and is no reason to trust it.
    if (!isBundleError(error)) return { kind: 'broken', reason: `${what}: can't be read: ${faultOf(error)}` };
    return { kind: KIND_OF_CODE[error.code] ?? 'broken', reason: error.message };
  }
}

/** The library looks at none of this. */
function requireMeaning({ predicateType, isAbout }: SignedCandidate, wanted: string, digest: Digest, what: string): void {
  if (predicateType !== undefined && predicateType !== wanted)
    throw new BundleError('E_UNSIGNED', `${what}: an attestation of type ${printable(predicateType, 100)}`);
  if (!isAbout(digest)) throw new BundleError('E_SIGNATURE', `${what}: it is about another image`);
}

async function verdictOf(signed: SignedCandidate, demand: RootedDemand, now: number, what: string): Promise<VerifiedVerdict> {
  const { format, layer } = signed.candidate;
  const attestation = demand.attestation === undefined ? {} : { attestation: demand.attestation };
  const common = { result: 'verified', format, signature: layer.digest } as const;
  if (demand.kind === 'keyless') {
    const { issuer, identity, root } = demand;
    const { signedAt, ...by } = await verifyKeyless(signed, demand, root, what);
    return { ...common, by, signedAt: instant(signedAt), root: root.digest, asked: { issuer, identity, ...attestation } };
  }
  const { keys, root } = demand;
  const { keyid, signedAt } = await verifyByKey(signed, demand, root, now, what);
  const asked = { keys: [...new Set(keys.map((key) => key.keyid))].sort(), ...attestation };
  if (signedAt === undefined || root === undefined) return { ...common, by: { key: keyid }, asked };
  return { ...common, by: { key: keyid }, signedAt: instant(signedAt), root: root.digest, asked };
}
