import * as z from 'zod';
import { aliasFault } from '../core/alias.ts';
import { type Digest, digestOf, hexOf, isDigest } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { evidenceSchema } from '../core/evidence.ts';
import { byteOrder, parseStrictJson, prettyJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { isFullReference } from '../core/reference.ts';
import { shapeFaults } from '../core/shape-faults.ts';
import { timeSchema } from '../core/time.ts';
import { verdictSchema } from '../upstream/verdict.ts';

/** The signed list of everything in a generation: an in-toto statement, https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md */
export const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';
export const PREDICATE_TYPE = 'https://bundle.dev/generation/v1';

/** The jump in sequence that is still believed: one second more each than Unix time has seconds until the year 2286. */
const MAX_SEQUENCE = 9_999_999_999;

const digest = z.custom<Digest>(isDigest, 'not a sha256 or sha512 digest');
const size = z.number().int().nonnegative().max(LIMITS.blobBytes);

const content = z.strictObject({
  kind: z.literal('image'),
  ref: z.string().refine(isFullReference, 'not a full reference'),
  /** What the origin served. */
  digest,
  mediaType: z.string(),
  /** What the reference means at every target. */
  targetDigest: digest,
  targetMediaType: z.string(),
  targetSize: size,
  form: z.enum(['whole', 'single', 'derived']),
  platforms: z.array(z.string()),
  aliases: z.array(z.string().refine((text) => aliasFault(text) === undefined, 'not an extra name at the target')).optional(),
  /** Bytes of everything the reference needs, shared blobs counted in full. */
  size,
  /** Signatures, attestations, SBOMs and other referrers, upstream's and ours, that go where the image goes; sorted. */
  evidence: z.array(evidenceSchema).max(LIMITS.contentEvidence).optional(),
  /** Whether upstream had signed it, as pull found it. */
  verdict: verdictSchema.optional(),
});

const predicate = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/),
  sequence: z.number().int().min(1).max(MAX_SEQUENCE),
  created: timeSchema,
  expires: timeSchema.optional(),
  platforms: z.array(z.string()),
  contents: z.array(content).max(LIMITS.descriptors),
  blobs: z.array(z.strictObject({ digest, size })).max(LIMITS.graphNodes),
  files: z.array(z.strictObject({ name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/), digest, size })),
  tool: z.string().max(100),
});

const statement = z.strictObject({
  _type: z.literal(STATEMENT_TYPE),
  subject: z
    .array(
      z.strictObject({ name: z.literal('index.json'), digest: z.strictObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/) }) }),
    )
    .length(1),
  predicateType: z.literal(PREDICATE_TYPE),
  predicate,
});

export type Content = z.infer<typeof content>;
export type Predicate = z.infer<typeof predicate>;
export type Statement = z.infer<typeof statement>;

/** The bytes that are signed: sorted, so that the same content has the same statement. */
export function encodeStatement(indexBytes: Uint8Array, body: Predicate): Uint8Array {
  const sorted: Predicate = {
    ...body,
    contents: [...body.contents].sort((a, b) => byteOrder(a.ref, b.ref)),
    blobs: [...body.blobs].sort((a, b) => byteOrder(a.digest, b.digest)),
    files: [...body.files].sort((a, b) => byteOrder(a.name, b.name)),
  };
  return Buffer.from(
    prettyJson({
      _type: STATEMENT_TYPE,
      subject: [{ name: 'index.json', digest: { sha256: hexOf(digestOf(indexBytes)) } }],
      predicateType: PREDICATE_TYPE,
      predicate: sorted,
    }),
  );
}

/** @throws BundleError E_STATEMENT */
export function parseStatement(bytes: Uint8Array, where: string): Statement {
  const parsed = statement.safeParse(parseStrictJson(bytes, where, 'E_STATEMENT'));
  if (!parsed.success) {
    const faults = shapeFaults(parsed.error, 5);
    throw new BundleError('E_STATEMENT', `${where} is not a statement of this tool: ${faults.join('; ')}`, { origin: 'bundle' });
  }
  const { contents, blobs, files } = parsed.data.predicate;
  requireUnique(
    contents.map((c) => c.ref),
    'reference',
    where,
  );
  requireUnique(
    blobs.map((b) => b.digest),
    'blob',
    where,
  );
  requireUnique(
    files.map((f) => f.name),
    'file',
    where,
  );
  return parsed.data;
}

function requireUnique(values: readonly string[], kind: string, where: string): void {
  const seen = new Set<string>();
  for (const value of values) {
    if (seen.has(value)) throw new BundleError('E_STATEMENT', `${where} lists the ${kind} ${value} twice`, { origin: 'bundle' });
    seen.add(value);
  }
}
