import { algorithmOf, type Digest, hexOf } from './digest.ts';

/** distribution-spec v1.1 "Referrers Tag Schema". */
const ENCODED_CHARS = 64;

/**
 * Where a registry has no referrers API, the index of what refers to `subject` is under this tag: `sha256-<64 hex>`, and for sha512 half of its hex.
 * The specification (distribution-spec v1.1 "Referrers Tag Schema") also cuts the algorithm, at 32 characters, and replaces what no tag may hold;
 * neither happens to a {@link Digest}.
 */
export const fallbackTag = (subject: Digest): string => `${algorithmOf(subject)}-${hexOf(subject).slice(0, ENCODED_CHARS)}`;
