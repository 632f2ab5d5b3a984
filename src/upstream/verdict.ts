import * as z from 'zod';
import { type Digest, isDigest } from '../core/digest.ts';
import { LIMITS } from '../core/limits.ts';
import { timeSchema } from '../core/time.ts';

/**
 * What verification at pull found, as part of the signed statement. Nothing in it depends on when it was made: the same evidence under the same
 * policy and root has the same verdict.
 */
const digest = z.custom<Digest>(isDigest, 'not a sha256 or sha512 digest');
const text = z.string().min(1).max(LIMITS.identityChars);
/** Hex SHA-256 of a key's SPKI. */
const keyid = z.string().regex(/^[0-9a-f]{64}$/, 'not the SHA-256 of a key');

const verified = z.strictObject({
  result: z.literal('verified'),
  /** `bundle`: a Sigstore bundle; `legacy`: a layer of cosign's `.sig`; `attestation`: a layer of cosign's `.att`. */
  format: z.enum(['bundle', 'legacy', 'attestation']),
  /** The blob that holds the signature (bundle, attestation), or that is signed (legacy: the payload). */
  signature: digest,
  by: z.union([z.strictObject({ key: keyid }), z.strictObject({ issuer: text, identity: text })]),
  /** As a log or timestamp authority of the root vouches for it. */
  signedAt: timeSchema.optional(),
  /** The trusted root by which certificate or time were verified. */
  root: digest.optional(),
  /** The policy as it was asked. */
  asked: z.union([
    z.strictObject({ keys: z.array(keyid).min(1).max(LIMITS.policyKeys), attestation: text.optional() }),
    z.strictObject({ issuer: text, identity: text, attestation: text.optional() }),
  ]),
});

export const verdictSchema = z.discriminatedUnion('result', [
  verified,
  /** `unsigned: allowed`: nobody looked. */
  z.strictObject({ result: z.literal('unsigned-allowed') }),
  /** The manifest says nothing about it. */
  z.strictObject({ result: z.literal('not-asked') }),
]);

export type Verdict = z.infer<typeof verdictSchema>;
export type VerifiedVerdict = z.infer<typeof verified>;
