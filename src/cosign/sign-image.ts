import type { Descriptor } from '../core/descriptor.ts';
import { algorithmOf, hexOf } from '../core/digest.ts';
import type { SigningKey } from '../sign/signing-key.ts';
import { signStatement } from '../sign/statement-signature.ts';
import { encodeBundleReferrer } from './bundle-referrer.ts';
import { type LegacyLayer, legacyLayer } from './legacy.ts';
import { blobOf, type MadeBlob, type MadeManifest } from './made.ts';
import { COSIGN_ANNOTATION, COSIGN_TYPE, SIGN_PREDICATE_TYPE } from './media-types.ts';
import { encodeSimpleSigning } from './simple-signing.ts';

export type SignedImage = Readonly<{
  /** For the `.sig`, one per reference. None for sha512, for which cosign has no tag. */
  layers: readonly LegacyLayer[];
  referrer: MadeManifest;
  /** What the layers and the referrer refer to. */
  blobs: readonly MadeBlob[];
}>;

/**
 * Signs one manifest in both of cosign's formats: legacy payloads and a bundle referrer. A deterministic key gives the same bytes each time.
 * @param references values of `docker-reference`: every name with its tag under which the manifest will be pulled. containers/image takes any tag or
 *   digest of the repository when it pulls by digest, but for a pull by tag just `repository:tag`, without a digest behind it.
 * @param created RFC 3339, the same each time
 * @throws what the key's signer throws
 */
export async function signImage(
  key: SigningKey,
  subject: Descriptor,
  references: readonly string[],
  created: string,
): Promise<SignedImage> {
  const layers: LegacyLayer[] = [];
  const payloads: MadeBlob[] = [];
  for (const reference of algorithmOf(subject.digest) === 'sha256' ? new Set(references) : []) {
    const payload = blobOf(encodeSimpleSigning(reference, subject.digest), COSIGN_TYPE.simpleSigning);
    const { signature } = await key.signer.sign(Buffer.from(payload.bytes));
    const annotations = { [COSIGN_ANNOTATION.signature]: signature.toString('base64') };
    layers.push(legacyLayer({ ...payload.descriptor, annotations }));
    payloads.push(payload);
  }
  const { manifest, blobs } = encodeBundleReferrer({
    subject,
    bundle: await signStatement(key.signer, encodeSignStatement(subject)),
    predicateType: SIGN_PREDICATE_TYPE,
    created,
  });
  return { layers, referrer: manifest, blobs: [...payloads, ...blobs] };
}

/** in-toto Statement v1, byte for byte as `cosign sign` makes it. */
const encodeSignStatement = ({ digest }: Descriptor): Uint8Array =>
  Buffer.from(
    JSON.stringify({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ digest: { [algorithmOf(digest)]: hexOf(digest) }, annotations: {} }],
      predicateType: SIGN_PREDICATE_TYPE,
      predicate: {},
    }),
  );
