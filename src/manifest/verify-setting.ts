import { isAbsolute, join } from 'node:path';
import * as z from 'zod';
import { shown } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';

/** What a user demands of upstream's signatures, checked; paths as they can be opened. */
export type VerifySetting =
  | Readonly<{ kind: 'key'; keys: readonly KeyFile[]; attestation?: string }>
  | Readonly<{ kind: 'keyless'; issuer: string; identity: string; attestation?: string }>
  | Readonly<{ kind: 'unsigned' }>;

/** `until`: the key counts for what was signed before this instant (milliseconds since 1970). */
export type KeyFile = Readonly<{ path: string; until?: number }>;

const FAULTY = /[\p{Cc}\p{Cf}\u2028\u2029]/u;

/** A string in which `fault` finds nothing wrong. */
const textWithout = (fault: (text: string) => string | undefined): z.ZodString =>
  z.string().superRefine((text, context) => {
    const message = fault(text);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  });

/** What is wrong with a path of a file of the user's, if anything. */
export function pathFault(text: string): string | undefined {
  if (text === '') return 'is empty: want the path of a file';
  if (text.length > 2048 || FAULTY.test(text)) return `${shown(text)} is not a path`;
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return `${shown(text)} is a URL: want the path of a file`;
  return undefined;
}

function issuerFault(text: string): string | undefined {
  if (!/^https?:\/\/[^/]/i.test(text) || !URL.canParse(text) || FAULTY.test(text) || text.length > LIMITS.identityChars)
    return `${shown(text)} is not the URL of an issuer, such as https://token.actions.githubusercontent.com`;
  return text.includes('*') ? 'an issuer is compared letter by letter: want it without "*"' : undefined;
}

function identityFault(text: string): string | undefined {
  if (text === '') return 'is empty: want who signs, an e-mail address or a URL';
  if (text.length > LIMITS.identityChars) return `is longer than ${LIMITS.identityChars} characters`;
  if (FAULTY.test(text)) return `${shown(text)} has control characters in it`;
  if (/^\^|\$$|\.\*|\\\./.test(text))
    return `${shown(text)} looks like a regular expression: it is compared as it stands, "*" is a run without "/", "**" any run`;
  if (text.includes('***')) return 'has "***" in it: "*" is a run of characters without "/", "**" any run';
  return /^\*+$/.test(text) ? 'would be anybody whom the issuer knows: say more of it than "*"' : undefined;
}

function predicateTypeFault(text: string): string | undefined {
  if (!URL.canParse(text) || FAULTY.test(text) || text.length > LIMITS.identityChars)
    return `${shown(text)} is not the URI of a predicate type, such as https://slsa.dev/provenance/v1`;
  return undefined;
}

const DATE = /^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?$/;

/** The instant that `2027-01-01` (its beginning, UTC) or `2027-01-01T12:00:00Z` names; undefined for anything else, also for February 30. */
function instantOf(text: string): number | undefined {
  const ms = DATE.test(text) ? Date.parse(text) : Number.NaN;
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(text.replace(/Z$/, '')) ? ms : undefined;
}

const until = textWithout((text) =>
  instantOf(text) === undefined
    ? `${shown(text)} is not a day such as 2027-01-01, or a time such as 2027-01-01T12:00:00Z`
    : undefined,
).meta({
  description: 'From this day (or time, UTC) on the key counts only for what was provably signed before it.',
  examples: ['2027-01-01'],
});

const keyPath = textWithout(pathFault).meta({
  description: 'A public key in PEM form; the path is meant from the folder of this file.',
  examples: ['keys/upstream.pub'],
});

const keyWithEnd = z
  .strictObject({ path: keyPath, until: until.optional() })
  .meta({ description: 'A public key with an end of its own.' });

const keyEntry = z.union([keyPath, keyWithEnd]);

const keyless = z.strictObject({
  issuer: textWithout(issuerFault).meta({
    description: 'Who vouched for the signer: the issuer in the certificate, letter by letter.',
    examples: ['https://token.actions.githubusercontent.com'],
  }),
  identity: textWithout(identityFault).meta({
    description:
      'The signer: the whole identity in the certificate. "*" stands for any run of characters without "/", "**" for any run; nothing else is special.',
    examples: ['https://github.com/org/app/.github/workflows/release.yaml@refs/tags/*'],
  }),
});

/** The three of which one is said. */
const KINDS = ['key', 'keyless', 'unsigned'] as const;

const verifyShape = z.strictObject({
  key: z
    .union([keyPath, keyWithEnd, z.array(keyEntry).min(1).max(LIMITS.policyKeys)])
    .optional()
    .meta({ description: 'The public key that must have signed, or a list of keys of which any suffices.' }),
  until: until.optional(),
  keyless: keyless
    .optional()
    .meta({ description: 'Signed by a certificate of Sigstore: who must have signed, and by whose word.' }),
  unsigned: z
    .literal('allowed')
    .optional()
    .meta({ description: '"allowed": nothing is demanded, and that is recorded in the bundle.' }),
  attestation: textWithout(predicateTypeFault)
    .optional()
    .meta({
      description:
        "The predicate type of an attestation that counts instead of cosign's signature, for projects that publish only that.",
      examples: ['https://slsa.dev/provenance/v1'],
    }),
});

type Written = z.infer<typeof verifyShape>;

/** What does not go together, at the key that is to blame. */
function contradictions(written: Written): { key: string | undefined; message: string }[] {
  const said = KINDS.filter((kind) => written[kind] !== undefined);
  if (said.length === 0)
    return [{ key: undefined, message: 'names nothing to verify by: want key, keyless or unsigned: allowed' }];
  const [first, second] = said;
  if (second !== undefined) return [{ key: second, message: `${first} and ${second} exclude each other: want one of them` }];
  return [
    ...(written.until !== undefined && first !== 'key'
      ? [{ key: 'until', message: 'is the end of a key: want it with "key"' }]
      : []),
    ...(written.attestation !== undefined && first === 'unsigned'
      ? [{ key: 'attestation', message: 'can not be demanded where unsigned is allowed' }]
      : []),
  ];
}

/** `verify:` of a manifest and of a policy in trust.yaml. */
export const verifySchema = verifyShape
  .superRefine((written, context) => {
    for (const { key, message } of contradictions(written))
      context.addIssue({ code: 'custom', message, path: key === undefined ? [] : [key] });
  })
  .meta({
    description: "What is demanded of upstream's signatures before anything is carried: a key, keyless, or unsigned: allowed.",
  });

export type VerifyFile = z.infer<typeof verifySchema>;

/** The keys that are known below `verify`, for "did you mean". @param path from `verify` on, without it */
export function verifyKeysAt(path: readonly PropertyKey[]): string[] {
  if (path[0] === 'keyless') return Object.keys(keyless.shape);
  return Object.keys(path[0] === 'key' ? keyWithEnd.shape : verifyShape.shape);
}

const located = (folder: string, path: string): string => (isAbsolute(path) ? path : join(folder, path));

function toKeyFile(entry: z.infer<typeof keyEntry>, usual: string | undefined, folder: string): KeyFile {
  const written = typeof entry === 'string' ? { path: entry } : entry;
  const end = written.until ?? usual;
  const path = located(folder, written.path);
  return end === undefined ? { path } : { path, until: instantOf(end) as number };
}

/** @param folder of the file in which it was written; paths come back from where `folder` starts */
export function toVerifySetting(written: VerifyFile, folder: string): VerifySetting {
  const attestation = written.attestation === undefined ? {} : { attestation: written.attestation };
  if (written.keyless !== undefined) return { kind: 'keyless', ...written.keyless, ...attestation };
  if (written.key === undefined) return { kind: 'unsigned' };
  const entries = Array.isArray(written.key) ? written.key : [written.key];
  const keys = new Map(entries.map((entry) => toKeyFile(entry, written.until, folder)).map((key) => [JSON.stringify(key), key]));
  return { kind: 'key', keys: [...keys.values()], ...attestation };
}
