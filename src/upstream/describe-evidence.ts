import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { LIMITS } from '../core/limits.ts';
import { artifactTypeOf } from '../core/oci-manifest.ts';
import { printable } from '../core/printable.ts';
import { instant } from '../core/time.ts';
import { type Candidate, candidatesOf, type EvidenceGraph, type SignatureFormat } from './candidate.ts';
import { certificateClaims } from './certificate.ts';
import { faultOf, openCandidate, type SignedCandidate, tooLarge } from './signed-candidate.ts';
import { claimedTimes, earliest } from './witnesses.ts';

/** What a piece of evidence says of itself; nothing of it is verified. */
export type EvidenceDescription = Readonly<{
  /** What it is about. */
  subject: Digest;
  /** Of the layer; of the manifest for what is no signature. */
  digest: Digest;
  format: SignatureFormat | 'other';
  /** `key`: the keyid that a bundle hints at (hex), absent in legacy signatures. */
  signer?: Readonly<{ key?: string }> | Readonly<{ issuer: string; identity: string }>;
  predicateType?: string;
  /** Of what is no signature. */
  artifactType?: string;
  signedAt?: string;
  /** Why it can't be read. */
  fault?: string;
}>;

const CHARS = 300;

/**
 * What there is, for people: every signature and attestation with its claimed signer, kind and time, everything else with its type. Text of
 * outsiders is bounded and printable.
 * @throws what `readBlob` throws
 */
export async function describeEvidence(
  evidence: readonly EvidenceGraph[],
  readBlob: (descriptor: Descriptor) => Promise<Uint8Array>,
): Promise<EvidenceDescription[]> {
  const described: EvidenceDescription[] = [];
  for (const each of evidence) {
    const candidates = candidatesOf([each], each.evidence.subject).slice(0, LIMITS.upstreamCandidates);
    if (candidates.length === 0) described.push(describeOther(each));
    for (const candidate of candidates) described.push(await describeCandidate(candidate, readBlob));
  }
  return described;
}

function describeOther({ evidence, manifest }: EvidenceGraph): EvidenceDescription {
  const type = artifactTypeOf(manifest);
  const { subject, digest } = evidence;
  return { subject, digest, format: 'other', ...(type === undefined ? {} : { artifactType: printable(type, CHARS) }) };
}

async function describeCandidate(
  candidate: Candidate,
  readBlob: (descriptor: Descriptor) => Promise<Uint8Array>,
): Promise<EvidenceDescription> {
  const common = { subject: candidate.evidence.subject, digest: candidate.layer.digest, format: candidate.format };
  if (tooLarge(candidate)) return { ...common, fault: `more than ${LIMITS.evidenceBlobBytes} bytes` };
  const bytes = await readBlob(candidate.layer);
  try {
    const signed = await openCandidate(candidate, bytes, candidate.format);
    const time = earliest(claimedTimes(signed.entity));
    return {
      ...common,
      signer: signerOf(signed),
      ...(signed.predicateType === undefined ? {} : { predicateType: printable(signed.predicateType, CHARS) }),
      ...(time === undefined || Number.isNaN(time) ? {} : { signedAt: instant(time) }),
      ...(signed.isAbout(candidate.evidence.subject) ? {} : { fault: 'it is about another artifact' }),
    };
  } catch (error) {
    return { ...common, fault: printable(faultOf(error), CHARS) };
  }
}

/** cosign's hint is the base64 SHA-256 of the key: said in hex, as keyids are everywhere else. Others' hints are what they are. */
function keyidOf(hint: string): string {
  const bytes = Buffer.from(hint, 'base64');
  return bytes.length === 32 && bytes.toString('base64') === hint ? bytes.toString('hex') : printable(hint, 100);
}

function signerOf({ signer }: SignedCandidate): NonNullable<EvidenceDescription['signer']> {
  if (signer.kind === 'key') return signer.hint === '' ? {} : { key: keyidOf(signer.hint) };
  const { issuer, identity } = certificateClaims(signer.certificate, 'it');
  return { issuer: printable(issuer, CHARS), identity: printable(identity, CHARS) };
}
