/** What cosign writes beside an image (cosign specs/SIGNATURE_SPEC.md, ATTESTATION_SPEC.md, BUNDLE_SPEC.md). */
export const COSIGN_TYPE = {
  /** Layer of a `.sig`: the signed payload. */
  simpleSigning: 'application/vnd.dev.cosign.simplesigning.v1+json',
  /** Layer of a `.att`. */
  dsseEnvelope: 'application/vnd.dsse.envelope.v1+json',
  /** artifactType and layer of a bundle referrer. */
  bundle: 'application/vnd.dev.sigstore.bundle.v0.3+json',
} as const;

/** Every version of the bundle: readers go by it, `+json;version=0.1` and `.v0.3+json` alike. */
export const BUNDLE_TYPE_PREFIX = 'application/vnd.dev.sigstore.bundle';

export const COSIGN_ANNOTATION = {
  signature: 'dev.cosignproject.cosign/signature',
  certificate: 'dev.sigstore.cosign/certificate',
  chain: 'dev.sigstore.cosign/chain',
  bundle: 'dev.sigstore.cosign/bundle',
  timestamp: 'dev.sigstore.cosign/rfc3161timestamp',
  bundleContent: 'dev.sigstore.bundle.content',
  bundlePredicateType: 'dev.sigstore.bundle.predicateType',
  created: 'org.opencontainers.image.created',
} as const;

/** What a signature without any further claim states (cosign pkg/types/predicate.go). */
export const SIGN_PREDICATE_TYPE = 'https://sigstore.dev/cosign/sign/v1';
