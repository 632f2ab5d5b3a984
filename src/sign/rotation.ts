import * as z from 'zod';
import { hexOf } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { parseStrictJson, prettyJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { shapeFaults } from '../core/shape-faults.ts';
import { strictBase64 } from './pem.ts';
import { checkTrustDocument, type TrustDocument, trustDocumentSchema, trustFingerprint } from './trust-document.ts';

/**
 * A change of trust that is signed by those who are trusted before it and after it (docs/adr/0001-trust-rotation.md). What is signed is an in-toto
 * statement of a type of its own, so that no signature under a bundle's statement can stand for one under a rotation, nor the other way round.
 */
export const ROTATION_TYPE = 'https://bundle.dev/trust-rotation/v1';
const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';
const HINT = 'it is made by "bundle trust rotate DIR … -o FILE": carry it again, as it was';

/** Both documents in full: whoever signs sees what changes, and `from` can be nothing but the document that its fingerprint stands for. */
const statementSchema = z.strictObject({
  _type: z.literal(STATEMENT_TYPE),
  subject: z.array(z.strictObject({ name: z.literal('trust.json'), digest: z.strictObject({ sha256: z.string() }) })).length(1),
  predicateType: z.literal(ROTATION_TYPE),
  predicate: z.strictObject({ from: trustDocumentSchema, to: trustDocumentSchema }),
});

const fileSchema = z.strictObject({
  rotationVersion: z.literal(1),
  statement: z.string(),
  signatures: z.array(z.record(z.string(), z.unknown())).max(LIMITS.signatureFiles),
});

/** One file to carry. `signatures`: Sigstore bundles v0.3 over `statementBytes`, nothing about them believed yet. */
export type Rotation = Readonly<{
  statementBytes: Uint8Array;
  from: TrustDocument;
  to: TrustDocument;
  signatures: readonly Uint8Array[];
}>;

/** The statement to be signed: the version goes up by exactly one. */
export function makeRotation(from: TrustDocument, to: TrustDocument): Rotation {
  const statement = {
    _type: STATEMENT_TYPE,
    subject: [{ name: 'trust.json', digest: { sha256: hexOf(trustFingerprint(to)) } }],
    predicateType: ROTATION_TYPE,
    predicate: { from, to },
  };
  return { ...parseRotationStatement(Buffer.from(prettyJson(statement)), 'the rotation'), signatures: [] };
}

/** @throws BundleError E_TRUST_FILE */
export function parseRotationStatement(bytes: Uint8Array, what: string): Omit<Rotation, 'signatures'> {
  const parsed = statementSchema.safeParse(parseStrictJson(bytes, what, 'E_TRUST_FILE'));
  if (!parsed.success) throw bad(what, `is no rotation of trust: ${shapeFaults(parsed.error, 3).join('; ')}`);
  const { subject, predicate } = parsed.data;
  const { from, to } = predicate;
  checkTrustDocument(from, `${what}: the trust before it`);
  checkTrustDocument(to, `${what}: the trust after it`);
  if (to.version !== from.version + 1)
    throw bad(what, `leads from version ${from.version} to ${to.version}, want one more exactly`);
  if (subject[0]?.digest.sha256 !== hexOf(trustFingerprint(to)))
    throw bad(what, 'names another digest than that of the trust in it');
  return { statementBytes: bytes, from, to };
}

/** @throws BundleError E_TRUST_FILE */
export function parseRotation(bytes: Uint8Array, what: string): Rotation {
  if (bytes.length > LIMITS.rotationBytes) throw bad(what, `is longer than the limit of ${LIMITS.rotationBytes} bytes`);
  const parsed = fileSchema.safeParse(parseStrictJson(bytes, what, 'E_TRUST_FILE'));
  if (!parsed.success) throw bad(what, `is no rotation file: ${shapeFaults(parsed.error, 3).join('; ')}`);
  const statementBytes = strictBase64(parsed.data.statement);
  if (statementBytes === undefined) throw bad(what, 'holds a statement that is not base64');
  return {
    ...parseRotationStatement(statementBytes, what),
    signatures: parsed.data.signatures.map((signature) => Buffer.from(JSON.stringify(signature))),
  };
}

const bad = (what: string, fault: string): BundleError => new BundleError('E_TRUST_FILE', `${what} ${fault}`, { hint: HINT });

export function encodeRotation({ statementBytes, signatures }: Rotation): Uint8Array {
  return Buffer.from(
    prettyJson({
      rotationVersion: 1,
      statement: Buffer.from(statementBytes).toString('base64'),
      signatures: signatures.map((bytes) => JSON.parse(Buffer.from(bytes).toString('utf8')) as unknown),
    }),
  );
}

/** Copies of one rotation that different people signed become one with all their signatures, each once. Others stay apart. */
export function mergeRotations(rotations: readonly Rotation[]): Rotation[] {
  const found = new Map<string, Rotation>();
  for (const rotation of rotations) {
    const key = Buffer.from(rotation.statementBytes).toString('base64');
    const signatures = [...(found.get(key)?.signatures ?? []), ...rotation.signatures];
    const distinct = new Map(signatures.map((bytes) => [Buffer.from(bytes).toString('utf8'), bytes]));
    found.set(key, { ...rotation, signatures: [...distinct.values()] });
  }
  return [...found.values()];
}
