import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import type { Evidence } from '../core/evidence.ts';
import { byteOrder } from '../core/json.ts';
import type { OciManifest } from '../core/oci-manifest.ts';
import { BUNDLE_TYPE_PREFIX, COSIGN_TYPE } from '../cosign/media-types.ts';

/** A piece of evidence with its manifest. */
export type EvidenceGraph = Readonly<{ evidence: Evidence; manifest: OciManifest; bytes: Uint8Array }>;

/** `bundle`: a Sigstore bundle; `legacy`: a layer of cosign's `.sig`; `attestation`: a layer of cosign's `.att`. */
export type SignatureFormat = 'bundle' | 'legacy' | 'attestation';

/** A layer that is a signature of some form; what it signs, and who, is still to be seen. */
export type Candidate = Readonly<{ format: SignatureFormat; layer: Descriptor; evidence: Evidence }>;

const ORDER: readonly SignatureFormat[] = ['bundle', 'legacy', 'attestation'];

function formatOf({ mediaType }: Descriptor): SignatureFormat | undefined {
  if (mediaType === COSIGN_TYPE.simpleSigning) return 'legacy';
  if (mediaType === COSIGN_TYPE.dsseEnvelope) return 'attestation';
  return mediaType.startsWith(BUNDLE_TYPE_PREFIX) ? 'bundle' : undefined;
}

/**
 * Every signature in the evidence of one manifest. The layers say what they are: the artifact type above them is wrong in what cosign 3
 * writes at registries without a referrers API, and cosign's experiments kept `.sig` layers in referrers. In an order that does not depend on
 * how they were listed, so that the same evidence has the same verdict.
 */
export function candidatesOf(evidence: readonly EvidenceGraph[], digest: Digest): Candidate[] {
  return evidence
    .filter((each) => each.evidence.subject === digest)
    .sort((a, b) => byteOrder(a.evidence.digest, b.evidence.digest))
    .flatMap(({ evidence: found, manifest }) =>
      (manifest.kind === 'manifest' ? manifest.layers : []).flatMap((layer): Candidate[] => {
        const format = formatOf(layer);
        return format === undefined ? [] : [{ format, layer, evidence: found }];
      }),
    )
    .sort((a, b) => ORDER.indexOf(a.format) - ORDER.indexOf(b.format));
}
