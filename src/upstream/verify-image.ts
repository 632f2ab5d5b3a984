import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { printable } from '../core/printable.ts';
import { SIGN_PREDICATE_TYPE } from '../cosign/media-types.ts';
import { shortKeyid } from '../sign/public-key.ts';
import { type Candidate, candidatesOf, type EvidenceGraph, type SignatureFormat } from './candidate.ts';
import type { VerifyPolicy } from './policy.ts';
import { faultOf, openCandidate, type SignedCandidate, tooLarge } from './signed-candidate.ts';
import type { SigstoreRoot } from './sigstore-root.ts';
import type { Verdict, VerifiedVerdict } from './verdict.ts';
import { verifyByKey } from './verify-by-key.ts';
import { verifyKeyless } from './verify-keyless.ts';
import { instant } from './witnesses.ts';

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

type Demand = Exclude<VerifyPolicy, { kind: 'unsigned' }>;

/** `nothing`: it is no signature of the kind that is asked for; `others`: it is somebody else's; `broken`: it is damaged, or not what it claims. */
type Refusal = Readonly<{ candidate: Candidate; kind: 'nothing' | 'others' | 'broken'; reason: string }>;

/**
 * Demands that one signature among the evidence satisfies the policy; the others do not matter then.
 * @throws BundleError E_UNSIGNED (no signature), E_UNTRUSTED (only such by others), E_SIGNATURE (none that counts, and a broken one among them);
 * E_TRUST_FILE when the policy needs a trusted root and there is none; what `readBlob` throws
 */
export async function verifyImage(request: VerifyRequest): Promise<Verdict> {
  const { policy, digest, evidence } = request;
  if (policy === undefined) return { result: 'not-asked' };
  if (policy.kind === 'unsigned') return { result: 'unsigned-allowed' };
  if (policy.kind === 'keyless' && request.root === undefined)
    throw new BundleError('E_TRUST_FILE', `${request.ref}: no trusted root of Sigstore to verify a keyless signature by`);
  const candidates = candidatesOf(evidence, digest);
  const refusals: Refusal[] = [];
  for (const candidate of candidates.slice(0, LIMITS.upstreamCandidates)) {
    if (candidate.format !== 'bundle' && (candidate.format === 'attestation') !== (policy.attestation !== undefined)) {
      refusals.push({ candidate, kind: 'nothing', reason: 'not what is asked for' });
      continue;
    }
    if (tooLarge(candidate)) {
      const reason = `has ${candidate.layer.size} bytes, more than the limit of ${LIMITS.evidenceBlobBytes}`;
      refusals.push({ candidate, kind: 'broken', reason });
      continue;
    }
    const outcome = await tryCandidate(candidate, await request.readBlob(candidate.layer), policy, request);
    if ('result' in outcome) return outcome;
    refusals.push(outcome);
  }
  throw refusedError(request, policy, refusals, candidates.length);
}

const KIND_OF_CODE: Readonly<Record<string, Refusal['kind']>> = {
  E_UNSIGNED: 'nothing',
  E_UNTRUSTED: 'others',
  E_SIGNATURE: 'broken',
};

async function tryCandidate(
  candidate: Candidate,
  bytes: Uint8Array,
  policy: Demand,
  { digest, root, now }: VerifyRequest,
): Promise<VerifiedVerdict | Refusal> {
  const what = nameOf(candidate);
  try {
    const signed = await openCandidate(candidate, bytes, what);
    requireMeaning(signed, policy.attestation ?? SIGN_PREDICATE_TYPE, digest, what);
    return await verdictOf(signed, policy, root, now, what);
  } catch (error) {
    // Blobs were read before: what else is thrown comes of what is in them, and is no reason to trust it.
    if (!isBundleError(error)) return { candidate, kind: 'broken', reason: `${what}: can't be read: ${faultOf(error)}` };
    return { candidate, kind: KIND_OF_CODE[error.code] ?? 'broken', reason: error.message };
  }
}

/** The library looks at none of this. */
function requireMeaning({ predicateType, isAbout }: SignedCandidate, wanted: string, digest: Digest, what: string): void {
  if (predicateType !== undefined && predicateType !== wanted)
    throw new BundleError('E_UNSIGNED', `${what}: an attestation of type ${printable(predicateType, 100)}`);
  if (!isAbout(digest)) throw new BundleError('E_SIGNATURE', `${what}: it is about another image`);
}

async function verdictOf(
  signed: SignedCandidate,
  policy: Demand,
  root: SigstoreRoot | undefined,
  now: number,
  what: string,
): Promise<VerifiedVerdict> {
  const { format, layer } = signed.candidate;
  const attestation = policy.attestation === undefined ? {} : { attestation: policy.attestation };
  const common = { result: 'verified', format, signature: layer.digest } as const;
  if (policy.kind === 'keyless') {
    // Asked for before the first candidate.
    const { signedAt, ...by } = await verifyKeyless(signed, policy, root as SigstoreRoot, what);
    const asked = { issuer: policy.issuer, identity: policy.identity, ...attestation };
    return { ...common, by, signedAt: instant(signedAt), root: (root as SigstoreRoot).digest, asked };
  }
  const { keyid, signedAt } = await verifyByKey(signed, policy, root, now, what);
  const asked = { keys: [...new Set(policy.keys.map((key) => key.keyid))].sort(), ...attestation };
  if (signedAt === undefined || root === undefined) return { ...common, by: { key: keyid }, asked };
  return { ...common, by: { key: keyid }, signedAt: instant(signedAt), root: root.digest, asked };
}

const FORMAT: Readonly<Record<SignatureFormat, string>> = {
  bundle: 'bundle',
  legacy: 'signature',
  attestation: 'attestation',
};

/** `bundle sha256:0123456789ab…` */
const nameOf = ({ format, layer }: Candidate): string => `${FORMAT[format]} ${layer.digest.slice(0, 19)}…`;

/** What was asked for, for a message. */
export function describePolicy(policy: Demand): string {
  const what = policy.attestation === undefined ? 'a signature' : `an attestation of type ${policy.attestation}`;
  if (policy.kind === 'keyless') return `${what} by ${policy.identity}, as ${policy.issuer} says`;
  const keys = policy.keys.slice(0, 3).map((key) => `${shortKeyid(key.keyid)} (${key.source})`);
  const more = policy.keys.length > keys.length ? ` or ${policy.keys.length - keys.length} more` : '';
  return `${what} by the key ${keys.join(' or ')}${more}`;
}

const SHOWN_REFUSALS = 5;
const REASON_CHARS = 400;
const ORDER: readonly Refusal['kind'][] = ['broken', 'others', 'nothing'];

function refusedError(request: VerifyRequest, policy: Demand, refusals: readonly Refusal[], candidates: number): BundleError {
  const { ref, digest } = request;
  const sorted = [...refusals].sort((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind));
  const worst = sorted[0]?.kind ?? 'nothing';
  const texts = sorted.map(({ candidate, kind, reason }) =>
    printable(
      kind === 'nothing' && !reason.startsWith(nameOf(candidate)) ? `${nameOf(candidate)}: ${reason}` : reason,
      REASON_CHARS,
    ),
  );
  const list =
    texts.slice(0, SHOWN_REFUSALS).join('; ') + (candidates > SHOWN_REFUSALS ? `; and ${candidates - SHOWN_REFUSALS} more` : '');
  const found = texts.length === 0 ? otherEvidence(request) : `found ${list}`;
  const code = worst === 'broken' ? 'E_SIGNATURE' : worst === 'others' ? 'E_UNTRUSTED' : 'E_UNSIGNED';
  return new BundleError(code, `${ref} (${digest}): want ${describePolicy(policy)}; ${found}`, {
    origin: 'source',
    detail: { ref, digest, found: texts.slice(0, SHOWN_REFUSALS * 4), candidates },
    hint: HINT[worst],
  });
}

function otherEvidence({ evidence, digest }: VerifyRequest): string {
  const others = evidence.filter((each) => each.evidence.subject === digest).length;
  return others === 0 ? 'found nothing that is signed' : `found no signature among ${others} other pieces of evidence`;
}

const HINT: Readonly<Record<Refusal['kind'], string>> = {
  nothing:
    'ask the project how it signs and name that in "verify", or write `unsigned: allowed` for this image, which is recorded',
  others: 'compare who signed with what "verify" asks for; take a new key from the project itself, not from the registry',
  broken:
    "a signature that claims to be the right one and is not is a sign of tampering, or of a trusted root that is not the signer's",
};
