import type { Digest } from '../core/digest.ts';
import { isBundleError } from '../core/errors.ts';
import type { PublicKey } from '../sign/public-key.ts';
import { describeEvidence, type EvidenceDescription } from '../upstream/describe-evidence.ts';
import { parseUpstreamKeys } from '../upstream/upstream-key.ts';
import type { Verdict } from '../upstream/verdict.ts';
import { verifyImage } from '../upstream/verify-image.ts';
import type { VerifiedBundle } from './verify.ts';
import { evidenceBlobs, evidenceOf } from './verify-evidence.ts';

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
  evidence: readonly EvidenceDescription[];
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
    for (const subject of new Set([targetDigest, digest, ...verified.target.manifests.map((m) => m.descriptor.digest)])) {
      const signed: string[] = [];
      for (const { keyid, policyKeys } of trusted) {
        const policy = { kind: 'key', keys: policyKeys } as const;
        const request = { digest: subject, ref, policy, evidence, readBlob, root: undefined, now };
        if (await verifyImage(request).then(() => true, refused)) signed.push(keyid);
      }
      ours.push({ subject, keys: signed });
    }
    const described = await describeEvidence(evidence, readBlob);
    found.push({ ref, digest, targetDigest, ours, upstream: bundle.upstream?.get(ref), atPull: verdict, evidence: described });
  }
  return found;
}

const refused = (error: unknown): false => {
  if (isBundleError(error) && ['E_UNSIGNED', 'E_UNTRUSTED', 'E_SIGNATURE'].includes(error.code)) return false;
  throw error;
};
