import type { Digest } from '../core/digest.ts';
import { isTag } from '../core/reference.ts';
import { COSIGN_TAGS, legacyTag } from '../cosign/legacy.ts';

/** The tags under which cosign looks for what is said about a manifest; none for sha512, for which they would be longer than a tag may be. */
export const evidenceTags = (subject: Digest): readonly string[] =>
  COSIGN_TAGS.map((kind) => legacyTag(subject, kind)).filter(isTag);
