import * as z from 'zod';
import { type Digest, isDigest } from './digest.ts';
import { isTag } from './reference.ts';

const digest = z.custom<Digest>(isDigest, 'not a sha256 or sha512 digest');

/**
 * A signature, attestation, SBOM or anything else that says something about a manifest of the same repository, and how it is found there:
 * with `tag`, under cosign's own (`sha256-<hex>.sig`, `.att`, `.sbom`); without, as a referrer, by the `subject` field of its manifest.
 */
export const evidenceSchema = z.strictObject({
  /** The manifest that it is about: an image's, an index's, or another referrer's. */
  subject: digest,
  tag: z.string().refine(isTag, 'not a tag').optional(),
  digest,
  mediaType: z.string().min(1).max(255),
  size: z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER),
  /**
   * Upstream's own list, to which ours was added, or which another reference to the same repository found otherwise: what is under the tag is another one,
   * which has all signatures of it (of lists of software the newer one). It travels so that the next pull need not ask for it, and goes to no target.
   */
  superseded: z.literal(true).optional(),
});

export type Evidence = z.infer<typeof evidenceSchema>;

/** By it evidence is sorted, and a piece of it is itself and no other. */
export const evidenceKey = ({ subject, tag, digest }: Pick<Evidence, 'subject' | 'tag' | 'digest'>): string =>
  `${subject} ${tag ?? ''} ${digest}`;
