import type { GraphManifest } from '../bundle/graph.ts';
import { LIMITS } from '../core/limits.ts';
import type { Verdict } from '../upstream/verdict.ts';
import type { EvidenceBlobReader } from './evidence.ts';
import type { PlannedItem } from './plan.ts';
import type { UpstreamDemands } from './pull.ts';

/** Checks what the manifest demands of one image, before anything of it enters the bundle. @throws BundleError E_UNSIGNED, E_UNTRUSTED, E_SIGNATURE */
export async function verifyUpstream(
  { item, evidence }: PlannedItem,
  upstream: UpstreamDemands | undefined,
  readBlob: EvidenceBlobReader,
  now: number,
): Promise<Verdict> {
  const policy = upstream?.policies.get(item.ref);
  if (policy === undefined) return { result: 'not-asked' };
  const { verifyImage } = await import('../upstream/verify-image.ts');
  return verifyImage({
    digest: item.digest,
    ref: item.ref,
    policy,
    evidence: evidence.map(({ evidence: e, graph }) => {
      const { manifest, bytes } = graph.manifests.at(-1) as GraphManifest;
      return { evidence: e, manifest, bytes };
    }),
    readBlob: (blob) => readBlob(item.ref, blob, LIMITS.evidenceBlobBytes),
    root: upstream?.root,
    now,
  });
}
