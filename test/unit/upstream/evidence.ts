import { createHash, type KeyObject, sign } from 'node:crypto';
import { type Annotations, type Descriptor, parseDescriptor } from '../../../src/core/descriptor.ts';
import { type Digest, digestOf } from '../../../src/core/digest.ts';
import { parseOciManifest } from '../../../src/core/oci-manifest.ts';
import type { EvidenceGraph } from '../../../src/upstream/candidate.ts';
import type { PolicyKey, VerifyPolicy } from '../../../src/upstream/policy.ts';
import { parseSigstoreRoot } from '../../../src/upstream/sigstore-root.ts';
import { parseUpstreamKeys } from '../../../src/upstream/upstream-key.ts';
import type { Verdict } from '../../../src/upstream/verdict.ts';
import { verifyImage } from '../../../src/upstream/verify-image.ts';
import { type FakeSigstore, IDENTITY, ISSUER, type Json, pae, statement } from './fake-sigstore.ts';

export const IMAGE = digestOf(Buffer.from('the image'));
export const OTHER = digestOf(Buffer.from('another image'));
export const NOW = Date.parse('2026-11-21T08:00:00Z');
export const REF = 'registry.example.test/org/app:v1.2.3';
const OCI = 'application/vnd.oci.image.manifest.v1+json';
const EMPTY = { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf(Buffer.from('{}')), size: 2 };
const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json';

/** A piece of evidence and the blobs that it refers to. */
export type Piece = Readonly<{ graph: EvidenceGraph; blobs: readonly Uint8Array[] }>;
type Layer = Readonly<{ mediaType: string; bytes: Uint8Array; annotations?: Annotations }>;

const bytesOf = (json: Json | Uint8Array): Uint8Array => (json instanceof Uint8Array ? json : Buffer.from(JSON.stringify(json)));

function piece(subject: Digest, layers: readonly Layer[], manifest: Json, tag?: string): Piece {
  const json = {
    schemaVersion: 2,
    mediaType: OCI,
    config: EMPTY,
    layers: layers.map(({ mediaType, bytes, annotations }) => ({
      mediaType,
      digest: digestOf(bytes),
      size: bytes.length,
      ...(annotations === undefined ? {} : { annotations }),
    })),
    ...manifest,
  };
  const bytes = bytesOf(json);
  const evidence = {
    subject,
    digest: digestOf(bytes),
    mediaType: OCI,
    size: bytes.length,
    ...(tag === undefined ? {} : { tag }),
  };
  return {
    graph: { evidence, manifest: parseOciManifest(bytes, OCI, 'evidence'), bytes },
    blobs: layers.map((layer) => layer.bytes),
  };
}

/** A referrer with a bundle, as cosign 3 writes them. */
export function bundlePiece(bundle: Json | Uint8Array, subject = IMAGE, layerType = BUNDLE, manifest: Json = {}): Piece {
  const layer = { mediaType: layerType, bytes: bytesOf(bundle) };
  const about = { mediaType: OCI, digest: subject, size: 9 };
  return piece(subject, [layer], { artifactType: BUNDLE, subject: about, ...manifest });
}

/** What is under a `.sig` or `.att` tag. */
export const taggedPiece = (kind: 'sig' | 'att', layers: readonly Layer[], subject = IMAGE): Piece =>
  piece(subject, layers, {}, `${subject.replace(':', '-')}.${kind}`);

export const payloadOf = (digest: Digest, type = 'cosign container image signature'): Buffer =>
  Buffer.from(
    JSON.stringify({
      critical: { identity: { 'docker-reference': REF }, image: { 'docker-manifest-digest': digest }, type },
      optional: null,
    }),
  );

export const simpleLayer = (payload: Uint8Array, signature: Uint8Array, annotations: Annotations = {}): Layer => ({
  mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
  bytes: payload,
  annotations: { 'dev.cosignproject.cosign/signature': Buffer.from(signature).toString('base64'), ...annotations },
});

export const attestationLayer = (payload: Uint8Array, signature: Uint8Array, annotations: Annotations = {}): Layer => ({
  mediaType: 'application/vnd.dsse.envelope.v1+json',
  bytes: bytesOf({
    payloadType: 'application/vnd.in-toto+json',
    payload: Buffer.from(payload).toString('base64'),
    signatures: [{ keyid: '', sig: Buffer.from(signature).toString('base64') }],
  }),
  annotations: { 'dev.cosignproject.cosign/signature': '', ...annotations },
});

/** A bundle by a key, without a log entry or timestamp. */
export function keyedBundle(
  key: KeyObject,
  about: Json | Uint8Array = statement(IMAGE),
  hint = '',
  hash: string | null = 'sha256',
): Json & {
  verificationMaterial: Json;
  dsseEnvelope: Json & { signatures: Json[] };
} {
  const payload = Buffer.from(bytesOf(about));
  return {
    mediaType: BUNDLE,
    verificationMaterial: { publicKey: { hint } },
    dsseEnvelope: {
      payload: payload.toString('base64'),
      payloadType: 'application/vnd.in-toto+json',
      signatures: [{ sig: sign(hash, pae(payload), key).toString('base64') }],
    },
  };
}

export const hintOf = (publicKey: KeyObject): string =>
  createHash('sha256')
    .update(publicKey.export({ format: 'der', type: 'spki' }))
    .digest('base64');

export const pemOf = (publicKey: KeyObject): string => publicKey.export({ format: 'pem', type: 'spki' }).toString();

export const policyKey = (publicKey: KeyObject, until?: number): PolicyKey => {
  const [key] = parseUpstreamKeys(pemOf(publicKey), 'up.pub');
  if (key === undefined) throw new Error('no key');
  return until === undefined ? key : { ...key, until };
};

export const byKey = (...keys: readonly KeyObject[]): VerifyPolicy => ({ kind: 'key', keys: keys.map((key) => policyKey(key)) });
export const KEYLESS: VerifyPolicy = { kind: 'keyless', issuer: ISSUER, identity: IDENTITY };

export type Question = Readonly<{
  policy?: VerifyPolicy | undefined;
  pieces: readonly Piece[];
  root?: Uint8Array;
  now?: number;
  digest?: Digest;
  sigstore?: FakeSigstore;
}>;

/** Asks for the verdict on the image. */
export async function ask({ policy, pieces, root, now = NOW, digest = IMAGE, sigstore }: Question): Promise<Verdict> {
  const blobs = new Map(pieces.flatMap((each) => each.blobs.map((bytes) => [digestOf(bytes), bytes])));
  const rootBytes = root ?? sigstore?.root();
  return verifyImage({
    digest,
    ref: REF,
    policy,
    evidence: pieces.map((each) => each.graph),
    readBlob: async (descriptor: Descriptor) => {
      const bytes = blobs.get(parseDescriptor(descriptor, 'layer').digest);
      if (bytes === undefined) throw new Error(`no blob ${descriptor.digest}`);
      return bytes;
    },
    root: rootBytes === undefined ? undefined : await parseSigstoreRoot(rootBytes, 'root'),
    now,
  });
}
