import { evidenceOf } from '../bundle/evidence-graphs.ts';
import { LIMITS } from '../core/limits.ts';
import type { Verdict } from '../upstream/verdict.ts';
import type { EvidenceBlobReader } from './evidence.ts';
import type { PlannedItem } from './plan.ts';
import type { UpstreamDemands } from './pull.ts';

/** Checks what the manifest demands of one image, before anything of it enters the bundle. @throws BundleError E_UNSIGNED, E_UNTRUSTED, E_SIGNATURE */
export async function verifyUpstream(
  planned: PlannedItem,
  upstream: UpstreamDemands | undefined,
  readBlob: EvidenceBlobReader,
  now: number,
): Promise<Verdict> {
  const { digest, ref } = planned.item;
  const policy = upstream?.policies.get(ref);
  if (policy === undefined) return { result: 'not-asked' };
  const { verifyImage } = await import('../upstream/verify-image.ts');
  return verifyImage({
    digest,
    ref,
    policy,
    evidence: evidenceOf(planned),
    readBlob: (blob) => readBlob(ref, blob, LIMITS.evidenceBlobBytes),
    root: upstream?.root,
    now,
  });
}
