import { algorithmOf, type Digest, hexOf } from '../core/digest.ts';

/** Names inside a bundle directory (design.md section 4). Only [a-z0-9._-]: they survive FAT32, exFAT and case-insensitive file systems. */
export const OCI_LAYOUT = 'oci-layout';
export const INDEX = 'index.json';
export const STATEMENT = 'bundle.json';
export const LOCK_FILE = 'lock.json';
/** The Sigstore root that pull verified upstream's signatures with: evidence for the record, never trusted for being there. */
export const TRUSTED_ROOT = 'trusted_root.json';
export const GENERATIONS = 'generations';
export const BLOBS = 'blobs';
/** Downloads under way, by digest: they are taken up again by the next run. */
export const INGEST = '.ingest';

/** image-spec image-layout.md: this content and nothing else. */
export const OCI_LAYOUT_BYTES: Uint8Array = Buffer.from('{"imageLayoutVersion":"1.0.0"}');

export const blobPath = (digest: Digest): string => `${BLOBS}/${algorithmOf(digest)}/${hexOf(digest)}`;
export const ingestPath = (digest: Digest): string => `${INGEST}/${algorithmOf(digest)}-${hexOf(digest)}`;
export const generationPath = (sequence: number): string => `${GENERATIONS}/${sequence}`;
export const signatureName = (keyid: string): string => `${keyid}.sigstore.json`;

export const isSignatureName = (name: string): boolean => /^[0-9a-f]{64}\.sigstore\.json$/.test(name);

/** @returns undefined for anything that is not a plain positive number */
export function parseGenerationName(name: string): number | undefined {
  if (!/^[1-9]\d{0,15}$/.test(name)) return undefined;
  const sequence = Number(name);
  return Number.isSafeInteger(sequence) ? sequence : undefined;
}
