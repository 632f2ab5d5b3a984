import type { Digest } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { shortKeyid } from '../sign/public-key.ts';
import type { Candidate, EvidenceGraph, SignatureFormat } from './candidate.ts';
import type { VerifyPolicy } from './policy.ts';

/** A policy that asks for something. */
export type Demand = Exclude<VerifyPolicy, { kind: 'unsigned' }>;

/**
 * Why one candidate does not count. `nothing`: it is no signature of the kind that is asked for; `others`: it is somebody else's; `broken`: it is
 * damaged, or not what it claims. `reason` begins with its name.
 */
export type Refusal = Readonly<{ kind: 'nothing' | 'others' | 'broken'; reason: string }>;

type Request = Readonly<{ ref: string; digest: Digest; evidence: readonly EvidenceGraph[] }>;

const FORMAT: Readonly<Record<SignatureFormat, string>> = {
  bundle: 'bundle',
  legacy: 'signature',
  attestation: 'attestation',
};

/** `bundle sha256:0123456789ab…` */
export const nameOf = ({ format, layer }: Candidate): string => `${FORMAT[format]} ${layer.digest.slice(0, 19)}…`;

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

/** What failed, with what was asked and what was found, the worst first; bounded, since outsiders choose how many there are and what they say. */
export function refusedError(
  { ref, digest, evidence }: Request,
  policy: Demand,
  refusals: readonly Refusal[],
  candidates: number,
): BundleError {
  const sorted = [...refusals].sort((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind));
  const worst = sorted[0]?.kind ?? 'nothing';
  const texts = sorted.map(({ reason }) => printable(reason, REASON_CHARS));
  const list =
    texts.slice(0, SHOWN_REFUSALS).join('; ') + (candidates > SHOWN_REFUSALS ? `; and ${candidates - SHOWN_REFUSALS} more` : '');
  const found = texts.length === 0 ? otherEvidence(evidence, digest) : `found ${list}`;
  const code = worst === 'broken' ? 'E_SIGNATURE' : worst === 'others' ? 'E_UNTRUSTED' : 'E_UNSIGNED';
  return new BundleError(code, `${ref} (${digest}): want ${describePolicy(policy)}; ${found}`, {
    origin: 'source',
    detail: { ref, digest, found: texts.slice(0, SHOWN_REFUSALS * 4), candidates },
    hint: HINT[worst],
  });
}

function otherEvidence(evidence: readonly EvidenceGraph[], digest: Digest): string {
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
