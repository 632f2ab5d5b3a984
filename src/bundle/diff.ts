import { byteOrder } from '../core/json.ts';
import type { Content, Predicate } from './statement.ts';

export type ContentChange = Readonly<{ ref: string; change: 'added' | 'removed' | 'changed'; before?: Content; after?: Content }>;

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
      changes.push({ ref, change: 'changed', before: was, after: content });
  }
  for (const [ref, content] of old) if (!now.has(ref)) changes.push({ ref, change: 'removed', before: content });
  return {
    changes: changes.sort((a, b) => byteOrder(a.ref, b.ref)),
    bytesAdded: bytesOnlyIn(after, before),
    bytesRemoved: bytesOnlyIn(before, after),
  };
}

function bytesOnlyIn(a: Predicate, b: Predicate): number {
  const there = new Set(b.blobs.map((blob) => blob.digest));
  return a.blobs.reduce((sum, blob) => sum + (there.has(blob.digest) ? 0 : blob.size), 0);
}
