import type { Descriptor } from '../core/descriptor.ts';
import { type Digest, digestOf } from '../core/digest.ts';

/** A manifest made here, to be pushed. */
export type MadeManifest = Readonly<{ mediaType: string; digest: Digest; bytes: Uint8Array }>;

/** A blob made here, and how a manifest refers to it. */
export type MadeBlob = Readonly<{ descriptor: Descriptor; digest: Digest; bytes: Uint8Array }>;

export function blobOf(bytes: Uint8Array, mediaType: string): MadeBlob {
  const digest = digestOf(bytes);
  return { descriptor: { mediaType, size: bytes.length, digest }, digest, bytes };
}
