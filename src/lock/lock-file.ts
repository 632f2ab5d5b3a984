import * as z from 'zod';
import { type Digest, isDigest } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { evidenceSchema } from '../core/evidence.ts';
import { byteOrder, parseStrictJson, prettyJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { isManifestType } from '../core/media-types.ts';
import { printable } from '../core/printable.ts';
import { formatReference, isFullReference, parseReference } from '../core/reference.ts';
import { shapeFaults } from '../core/shape-faults.ts';
import { timeSchema } from '../core/time.ts';
import { carriedManifests } from './carried.ts';
import { evidenceTags } from './evidence-tags.ts';

/** `manifests/<name>.lock.json`: what every reference meant, when, and where it was asked. */
const digest = z.custom<Digest>(isDigest, 'not a sha256 or sha512 digest');
const size = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);

const item = z.strictObject({
  kind: z.literal('image'),
  /** The full reference: `docker.io/library/redis:7.2`. */
  ref: z.string().refine(isFullReference, 'not a full reference'),
  origin: z.string(),
  /** What the origin serves under the reference. */
  digest,
  mediaType: z.string(),
  size,
  resolvedAt: timeSchema,
  /** The platforms asked for, or "all". */
  asked: z.union([z.literal('all'), z.array(z.string()).min(1)]),
  index: z.literal('exact').optional(),
  /** Per platform taken: the digest of its manifest. */
  platforms: z.array(z.strictObject({ platform: z.string(), digest, size })),
  /** What the reference will mean at every target. */
  targetDigest: digest,
  form: z.enum(['whole', 'single', 'derived']),
  /** The manifest wants none of upstream's signatures and referrers: nobody looked, and the two below are absent. */
  evidenceAsked: z.literal('none').optional(),
  /** Signatures and other referrers at the origin, of what is carried and of each other. Absent: never asked for. */
  evidence: z.array(evidenceSchema).max(LIMITS.itemEvidence).optional(),
  /** When the list above was made. It stays as long as asking again gives the same. */
  evidenceAt: timeSchema.optional(),
});

/** What an image list behind a URL said when it was locked: pull needs no network to know what it means. */
const list = z.strictObject({ source: z.string(), refs: z.array(z.string()) });

const lockFile = z.strictObject({
  lockVersion: z.literal(1),
  name: z.string(),
  lists: z.array(list).optional(),
  items: z.array(item),
});

export type LockItem = z.infer<typeof item>;
export type LockedList = z.infer<typeof list>;
export type LockFile = z.infer<typeof lockFile>;

/** @throws BundleError E_LOCK with the path inside the file of each fault */
export function parseLockFile(bytes: Uint8Array, fileName: string): LockFile {
  const parsed = lockFile.safeParse(parseStrictJson(bytes, fileName, 'E_LOCK'));
  const hint = 'the lock is written by "bundle lock"; take it from version control, or remove it and lock again';
  if (!parsed.success) {
    const faults = shapeFaults(parsed.error, 10).map((fault) => `${fileName}: ${fault}`);
    throw new BundleError('E_LOCK', faults.join('\n'), { hint });
  }
  const seen = new Set<string>();
  for (const { ref } of parsed.data.items) {
    if (seen.has(ref)) throw new BundleError('E_LOCK', `${fileName}: ${ref} is locked twice`, { hint });
    seen.add(ref);
  }
  for (const i of parsed.data.items) {
    if (parseReference(i.ref).origin !== i.origin)
      throw new BundleError('E_LOCK', `${fileName}: ${i.ref}: origin is ${printable(i.origin, 100)}`, { hint });
    const fault = evidenceFault(i);
    if (fault !== undefined) throw new BundleError('E_LOCK', `${fileName}: ${i.ref}: ${fault}`, { hint });
  }
  return parsed.data;
}

/** Evidence is carried to the target under its tag: it must be cosign's tag for a manifest that the item carries, or for evidence of that. */
function evidenceFault(item: LockItem): string | undefined {
  const { evidence, evidenceAt, evidenceAsked } = item;
  if ((evidence === undefined) !== (evidenceAt === undefined)) return '"evidence" and "evidenceAt" come together';
  if (evidence !== undefined && evidenceAsked !== undefined) return '"evidence" and "evidenceAsked" exclude each other';
  const known = new Set<Digest>([...carriedManifests(item), ...(evidence ?? []).map((e) => e.digest)]);
  const seen = new Set<string>();
  for (const e of evidence ?? []) {
    const name = e.tag ?? e.digest;
    if (!known.has(e.subject)) return `evidence ${name} is about ${e.subject}, which is not carried`;
    if (e.tag !== undefined && !evidenceTags(e.subject).includes(e.tag))
      return `evidence under the tag ${e.tag}, which is not cosign's`;
    if (!isManifestType(e.mediaType)) return `evidence ${name} has the type ${printable(e.mediaType, 100)}`;
    const key = `${e.subject} ${name}`;
    if (seen.has(key)) return `evidence ${name} is locked twice`;
    seen.add(key);
  }
  return undefined;
}

/**
 * `a:1` and `a:1@sha256:…` beside each other are one name at the target: they must mean one thing there, and that is found out here and not
 * behind the gap. @returns the second of the first such pair
 */
export function nameConflict(items: readonly LockItem[]): BundleError | undefined {
  const meant = new Map<string, LockItem>();
  for (const item of items) {
    const { digest: _pinned, ...named } = parseReference(item.ref);
    if (named.tag === undefined) continue;
    const first = meant.get(formatReference(named)) ?? item;
    meant.set(formatReference(named), first);
    if (first.targetDigest !== item.targetDigest)
      return new BundleError(
        'E_ALIAS_CONFLICT',
        `${item.ref} would mean ${item.targetDigest} at the target and ${first.ref} ${first.targetDigest}, under one tag`,
        { hint: 'ask both for the same platforms, or leave one out', detail: { refs: [first.ref, item.ref] } },
      );
  }
  return undefined;
}

/** Items sorted by reference: the same lock gives the same bytes and small diffs. */
export const encodeLockFile = (lock: LockFile): Uint8Array =>
  Buffer.from(prettyJson({ ...lock, items: [...lock.items].sort((a, b) => byteOrder(a.ref, b.ref)) }));

/**
 * Unix seconds of the newest resolution, of a digest or of what is said about it: the least sequence of a generation made from this lock, so that a fresh
 * directory never gives another content the number of an older one.
 */
export const newestResolution = (lock: LockFile): number => {
  const times = lock.items.flatMap((i) => [i.resolvedAt, ...(i.evidenceAt === undefined ? [] : [i.evidenceAt])]);
  return times.reduce((newest, time) => Math.max(newest, Math.floor(Date.parse(time) / 1000)), 0);
};

export const lockTime = (ms: number): string => `${new Date(Math.floor(ms / 1000) * 1000).toISOString().slice(0, 19)}Z`;
