import type { Digest } from '../core/digest.ts';
import { isBundleError } from '../core/errors.ts';
import type { PublicKey } from '../sign/public-key.ts';
import { describeEvidence, type EvidenceDescription } from '../upstream/describe-evidence.ts';
import { parseUpstreamKeys } from '../upstream/upstream-key.ts';
import type { Verdict } from '../upstream/verdict.ts';
import { verifyImage } from '../upstream/verify-image.ts';
import { evidenceOf } from './evidence-graphs.ts';
import type { VerifiedBundle } from './verify.ts';
import { evidenceBlobs } from './verify-evidence.ts';

/** What is known of one reference's signatures. */
export type DeepContent = Readonly<{
  ref: string;
  digest: Digest;
  targetDigest: Digest;
  /** By whom of the trusted keys (keyids) each manifest is signed, for consumers at the target. */
  ours: readonly Readonly<{ subject: Digest; keys: readonly string[] }>[];
  /** By the policies of this side; undefined: there are none. */
  upstream: Verdict | undefined;
  /** What pull found, by the word of the statement. */
  atPull: Verdict | undefined;
  /** `ours`: it verified with a trusted key. */
  evidence: readonly (EvidenceDescription & Readonly<{ ours: boolean }>)[];
}>;

/** Looks at every piece of evidence in a verified bundle. Only `ours` and `upstream` are verified; the rest is what it says of itself. */
export async function deepEvidence(bundle: VerifiedBundle, keys: readonly PublicKey[], now: number): Promise<DeepContent[]> {
  const trusted = keys.map((key) => ({ keyid: key.keyid, policyKeys: parseUpstreamKeys(key.pem, key.keyid) }));
  const found: DeepContent[] = [];
  for (const verified of bundle.contents) {
    const { ref, digest, targetDigest, verdict } = verified.content;
    const evidence = evidenceOf(verified);
    const readBlob = evidenceBlobs(bundle.store);
    const ours = [];
    const verifiedHere = new Set<string>();
    for (const subject of new Set([targetDigest, digest, ...verified.target.manifests.map((m) => m.descriptor.digest)])) {
      const signed = new Set<string>();
      // Each form by itself: one that verifies would keep the other from being looked at.
      for (const { keyid, policyKeys } of trusted)
        for (const form of [
          evidence.filter((e) => e.evidence.tag === undefined),
          evidence.filter((e) => e.evidence.tag !== undefined),
        ]) {
          const policy = { kind: 'key', keys: policyKeys } as const;
          const request = { digest: subject, ref, policy, evidence: form, readBlob, root: undefined, now };
          const found = await verifyImage(request).catch(refused);
          if (found?.result !== 'verified') continue;
          signed.add(keyid);
          verifiedHere.add(found.signature);
        }
      ours.push({ subject, keys: [...signed] });
    }
    const all = await describeEvidence(evidence, readBlob);
    // Two keys may have signed one payload: then nobody can tell by its digest whose line it is.
    const alone = (e: EvidenceDescription): boolean =>
      all.filter((other) => other.digest === e.digest && other.subject === e.subject).length === 1;
    const described = all.map((e) => ({ ...e, ours: verifiedHere.has(e.digest) && alone(e) }));
    found.push({
      ref,
      digest,
      targetDigest,
      ours,
      upstream: bundle.upstream?.verdicts.get(ref),
      atPull: verdict,
      evidence: described,
    });
  }
  return found;
}

const refused = (error: unknown): undefined => {
  if (isBundleError(error) && ['E_UNSIGNED', 'E_UNTRUSTED', 'E_SIGNATURE'].includes(error.code)) return undefined;
  throw error;
};
