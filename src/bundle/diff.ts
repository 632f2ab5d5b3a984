import type { Digest } from '../core/digest.ts';
import { byteOrder } from '../core/json.ts';
import type { Content, Predicate } from './statement.ts';

export type ContentChange = Readonly<{
  ref: string;
  /** evidence: it means what it meant; signatures, other referrers or the verdict on them are others. */
  change: 'added' | 'removed' | 'changed' | 'evidence';
  before?: Content;
  after?: Content;
  /** How many signatures and referrers came and went; `replaced`: another list under the same tag of cosign's. For what is in both. */
  evidence?: EvidenceChange;
}>;

export type EvidenceChange = Readonly<{ added: number; removed: number; replaced: number }>;

export type BundleDiff = Readonly<{
  changes: readonly ContentChange[];
  /** Bytes that only the newer one has: what would cross again. */
  bytesAdded: number;
  bytesRemoved: number;
}>;

/** Compares two statements by reference. Pure. */
export function diffStatements(before: Predicate, after: Predicate): BundleDiff {
  const old = new Map(before.contents.map((c) => [c.ref, c]));
  const now = new Map(after.contents.map((c) => [c.ref, c]));
  const changes: ContentChange[] = [];
  for (const [ref, content] of now) {
    const was = old.get(ref);
    if (was === undefined) changes.push({ ref, change: 'added', after: content });
    else if (JSON.stringify(was) !== JSON.stringify(content))
      changes.push({
        ref,
        change: withoutEvidence(was) === withoutEvidence(content) ? 'evidence' : 'changed',
        before: was,
        after: content,
        evidence: evidenceChange(was, content),
      });
  }
  for (const [ref, content] of old) if (!now.has(ref)) changes.push({ ref, change: 'removed', before: content });
  return {
    changes: changes.sort((a, b) => byteOrder(a.ref, b.ref)),
    bytesAdded: bytesOnlyIn(after, before),
    bytesRemoved: bytesOnlyIn(before, after),
  };
}

/** Its size goes too: evidence counts in it, and an image of the same digests has no other. */
function withoutEvidence({ evidence: _evidence, verdict: _verdict, size: _size, ...image }: Content): string {
  return JSON.stringify(image);
}

function evidenceChange(before: Content, after: Content): EvidenceChange {
  const placed = ({ evidence = [] }: Content): Map<string, Digest> =>
    new Map(evidence.filter((e) => !e.superseded).map((e) => [`${e.subject} ${e.tag ?? e.digest}`, e.digest]));
  const [old, now] = [placed(before), placed(after)];
  return {
    added: [...now.keys()].filter((place) => !old.has(place)).length,
    removed: [...old.keys()].filter((place) => !now.has(place)).length,
    replaced: [...now].filter(([place, digest]) => old.has(place) && old.get(place) !== digest).length,
  };
}

function bytesOnlyIn(a: Predicate, b: Predicate): number {
  const there = new Set(b.blobs.map((blob) => blob.digest));
  return a.blobs.reduce((sum, blob) => sum + (there.has(blob.digest) ? 0 : blob.size), 0);
}
