import type { SignedEntity } from '@sigstore/verify';

type Content = SignedEntity['signature'];

/** The library's view of a signature with a part of it answered otherwise. Its own objects are of classes, which a spread would strip. */
export const contentWith = (content: Content, change: Partial<Content>): Content => ({
  signature: content.signature,
  compareSignature: (other) => content.compareSignature(other),
  compareDigest: (other) => content.compareDigest(other),
  compareSignedDigest: (other) => content.compareSignedDigest(other),
  verifySignature: (key) => content.verifySignature(key),
  ...change,
});

/**
 * cosign 2 has the whole envelope of a `.att` timestamped, where everything else has the signature (cosign pkg/cosign/verify.go,
 * VerifyRFC3161Timestamp). The signature is in the envelope, so it was there at that time too.
 */
export function stampedOver(entity: SignedEntity, envelope: Buffer): SignedEntity {
  const over = entity.timestamps.some((each) => each.$case === 'timestamp-authority' && isOver(each.timestamp, envelope));
  return over ? { ...entity, signature: contentWith(entity.signature, { signature: envelope }) } : entity;
}

type Timestamp = Extract<SignedEntity['timestamps'][number], { $case: 'timestamp-authority' }>['timestamp'];

function isOver(timestamp: Timestamp, data: Buffer): boolean {
  try {
    timestamp.tstInfo.verify(data);
    return true;
  } catch {
    return false;
  }
}
