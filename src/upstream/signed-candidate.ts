import type { Bundle } from '@sigstore/bundle';
import type { X509Certificate } from '@sigstore/core';
import type { SignedEntity } from '@sigstore/verify';
import { algorithmOf, type Digest, digestOf } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { type JsonObject, parseStrictJson, shown } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { parseSimpleSigning } from '../cosign/simple-signing.ts';
import type { Candidate } from './candidate.ts';
import { legacyAttestationBundle, legacySignatureBundle } from './legacy-bundle.ts';
import { stampedOver } from './signature-content.ts';
import { isAbout, parseSignedStatement } from './statement-subject.ts';

/** A signature that was read and not yet verified. */
export type SignedCandidate = Readonly<{
  candidate: Candidate;
  /** Exactly the bytes that are signed. */
  data: Uint8Array;
  signature: Uint8Array;
  /** As it says itself. */
  signer: Readonly<{ kind: 'key'; hint: string }> | Readonly<{ kind: 'certificate'; certificate: X509Certificate }>;
  /** Of a statement; a legacy signature has none. */
  predicateType?: string;
  /** Whether the artifact of a digest is what it is about. */
  isAbout: (digest: Digest) => boolean;
  /** For the library: certificate, log entries, timestamps. */
  entity: SignedEntity;
}>;

const MEDIA_TYPES = [
  'application/vnd.dev.sigstore.bundle+json;version=0.1',
  'application/vnd.dev.sigstore.bundle+json;version=0.2',
  'application/vnd.dev.sigstore.bundle+json;version=0.3',
  'application/vnd.dev.sigstore.bundle.v0.3+json',
];

const refused = (what: string, why: string, cause?: unknown): BundleError =>
  new BundleError('E_SIGNATURE', `${what}: ${why}`, { cause });

/** Why the layer is not even read, if so. */
export const tooLarge = ({ layer }: Candidate): boolean => layer.size > LIMITS.evidenceBlobBytes;

/**
 * Reads a signature in any of the forms in which cosign and its like keep them.
 * @param bytes of the layer
 * @throws BundleError E_SIGNATURE when it is damaged, or no signature of something
 */
export async function openCandidate(candidate: Candidate, bytes: Uint8Array, what: string): Promise<SignedCandidate> {
  const { layer } = candidate;
  if (digestOf(bytes, algorithmOf(layer.digest)) !== layer.digest)
    throw refused(what, `its bytes are not those of ${layer.digest}`);
  try {
    return await open(candidate, bytes, what);
  } catch (error) {
    // The libraries throw whatever comes along where a file is damaged, TypeErrors too.
    throw isBundleError(error) ? error : refused(what, `can't be read: ${faultOf(error)}`, error);
  }
}

async function open(candidate: Candidate, bytes: Uint8Array, what: string): Promise<SignedCandidate> {
  const [{ bundleFromJSON }, { dsse }, { toSignedEntity }] = await Promise.all([
    import('@sigstore/bundle'),
    import('@sigstore/core'),
    import('@sigstore/verify'),
  ]);
  const bundle = bundleFromJSON(bundleJson(candidate, bytes, what));
  requireFewWitnesses(bundle, what);
  const artifact = Buffer.from(bytes);
  const read = toSignedEntity(bundle, artifact);
  const entity = candidate.format === 'attestation' ? stampedOver(read, artifact) : read;
  const common = { candidate, signature: read.signature.signature, signer: signerOf(read), entity };
  if (bundle.content.$case === 'messageSignature') {
    if (candidate.format !== 'legacy') throw refused(what, 'signs a file, not a statement about an image');
    const claim = parseSimpleSigning(bytes, what);
    return { ...common, data: bytes, isAbout: (digest) => claim.digest === digest };
  }
  const { payload, payloadType } = bundle.content.dsseEnvelope;
  const statement = parseSignedStatement(payloadType, payload, what);
  return {
    ...common,
    data: dsse.preAuthEncoding(payloadType, payload),
    predicateType: statement.predicateType,
    isAbout: (digest) => isAbout(statement, digest),
  };
}

function bundleJson({ format, layer }: Candidate, bytes: Uint8Array, what: string): JsonObject {
  const annotations = layer.annotations ?? {};
  if (format === 'legacy') return legacySignatureBundle(bytes, annotations, what);
  if (format === 'attestation') return legacyAttestationBundle(bytes, annotations, what);
  const json = parseStrictJson(bytes, what, 'E_SIGNATURE');
  if (MEDIA_TYPES.includes(json.mediaType as string)) return json;
  throw refused(what, `has media type ${shown(json.mediaType)}, want a Sigstore bundle of version 0.1 to 0.3`);
}

function requireFewWitnesses({ verificationMaterial }: Bundle, what: string): void {
  const count =
    verificationMaterial.tlogEntries.length + (verificationMaterial.timestampVerificationData?.rfc3161Timestamps.length ?? 0);
  if (count > LIMITS.bundleWitnesses)
    throw refused(what, `has ${count} log entries and timestamps, more than the limit of ${LIMITS.bundleWitnesses}`);
}

const signerOf = ({ key }: SignedEntity): SignedCandidate['signer'] =>
  key.$case === 'certificate' ? { kind: 'certificate', certificate: key.certificate } : { kind: 'key', hint: key.hint };

/** What a library says is wrong, with what it says is behind it. */
export function faultOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message;
}
