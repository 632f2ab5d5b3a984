import { BundleError, isBundleError } from '../core/errors.ts';
import type { Evidence } from '../core/evidence.ts';
import { byteOrder } from '../core/json.ts';
import { formatReference } from '../core/reference.ts';
import type { ImageEntry, Manifest } from '../manifest/manifest.ts';
import type { RegistryClient } from '../registry/client.ts';
import { carriedManifests } from './carried.ts';
import { createEvidenceFinder, isSameEvidence } from './find-evidence.ts';
import { type LockedList, type LockFile, type LockItem, lockTime, nameConflict } from './lock-file.ts';
import { type ConfigReader, type ManifestReader, resolveReference, select } from './resolve.ts';

export type LockOutcome = Readonly<{
  ref: string;
  /** evidence: it means what it meant, but other signatures or referrers are there. */
  outcome: 'kept' | 'added' | 'moved' | 'evidence' | 'unchanged' | 'removed' | 'failed';
  was?: string;
  now?: string;
  /** How many signatures and referrers are locked; for what was added, moved or has other evidence. Absent too where none are asked for. */
  evidence?: number;
  error?: BundleError;
}>;

export type LockPorts = Readonly<{
  client: RegistryClient;
  readManifest: ManifestReader;
  readConfig: ConfigReader;
  /** Milliseconds since 1970 */
  now: () => number;
  onItem?: (outcome: LockOutcome) => void;
  signal?: AbortSignal;
}>;

export type LockRequest = Readonly<{
  manifest: Manifest;
  previous: LockFile | undefined;
  /** 'all', or the full references to ask for again. Others that are locked are kept without a request. */
  update: 'none' | 'all' | ReadonlySet<string>;
  /** What the image lists behind URLs say. */
  lists?: readonly LockedList[];
}>;

/** What the manifest asks of one entry, as the lock keeps it: a change of it makes the entry stale. */
export const askedOf = (entry: ImageEntry): LockItem['asked'] =>
  entry.platforms === 'all' ? 'all' : [...entry.platforms].sort(byteOrder);

const isAsked = (item: LockItem | undefined, entry: ImageEntry): item is LockItem =>
  item !== undefined && JSON.stringify(item.asked) === JSON.stringify(askedOf(entry)) && item.index === entry.index;

/** What is not: it keeps its digests and is asked for evidence (locked before evidence was), or loses it. */
const isFresh = (item: LockItem | undefined, entry: ImageEntry): item is LockItem =>
  isAsked(item, entry) &&
  item.evidenceAsked === entry.evidence &&
  (entry.evidence === 'none' || (item.evidence !== undefined && item.evidenceAt !== undefined));

/** Entries of the manifest that the lock does not answer, and locked ones that the manifest no longer names. */
export function lockDifference(manifest: Manifest, lock: LockFile | undefined): { stale: ImageEntry[]; extra: string[] } {
  const items = new Map(lock?.items.map((i) => [i.ref, i]));
  const named = new Set(manifest.images.map((entry) => formatReference(entry.ref)));
  return {
    stale: manifest.images.filter((entry) => !isFresh(items.get(formatReference(entry.ref)), entry)),
    extra: [...items.keys()].filter((ref) => !named.has(ref)),
  };
}

/**
 * Resolves the manifest into a lock. What is locked and still asked for in the same way is kept, without a request; an update that finds the
 * same digest and the same evidence keeps the old entry, times included, so that nothing changes where nothing moved.
 * @returns the lock, and one outcome per reference; with failures in it the lock must not be written
 * @throws BundleError E_ALIAS_CONFLICT
 */
export async function makeLock(request: LockRequest, ports: LockPorts): Promise<{ lock: LockFile; outcomes: LockOutcome[] }> {
  const { manifest, previous, update } = request;
  const old = new Map(previous?.items.map((i) => [i.ref, i]));
  const findEvidence = createEvidenceFinder(ports.client, ports.readManifest, ports.signal);
  const results = await Promise.all(
    manifest.images.map(async (entry): Promise<{ item?: LockItem; outcome: LockOutcome }> => {
      const ref = formatReference(entry.ref);
      const before = old.get(ref);
      const asked = update === 'all' || (update !== 'none' && update.has(ref));
      if (isFresh(before, entry) && !asked) return { item: before, outcome: { ref, outcome: 'kept' } };
      try {
        const meant = await ports.client.inSlot(entry.ref.origin, () => lockOne(entry, before, asked, ports));
        // Outside the slot: each of its requests takes one.
        const item =
          entry.evidence === 'none'
            ? withoutEvidence(meant)
            : withEvidence(meant, await findEvidence(entry.ref, carriedManifests(meant), before?.evidence), before, ports.now());
        const result = { item, outcome: outcomeOf(ref, before, item) };
        ports.onItem?.(result.outcome);
        return result;
      } catch (error) {
        if (!isBundleError(error)) throw error;
        const outcome: LockOutcome = { ref, outcome: 'failed', error };
        ports.onItem?.(outcome);
        return { outcome };
      }
    }),
  );
  const items = results.flatMap((r) => (r.item === undefined ? [] : [r.item])).sort((a, b) => byteOrder(a.ref, b.ref));
  const conflict = nameConflict(items);
  if (conflict !== undefined) throw conflict;
  const removed = lockDifference(manifest, previous).extra.map((ref): LockOutcome => ({ ref, outcome: 'removed' }));
  const lists = request.lists === undefined || request.lists.length === 0 ? {} : { lists: [...request.lists] };
  return {
    lock: { lockVersion: 1, name: manifest.name, ...lists, items },
    outcomes: [...results.map((r) => r.outcome), ...removed],
  };
}

function outcomeOf(ref: string, before: LockItem | undefined, item: LockItem): LockOutcome {
  const count = item.evidence === undefined ? {} : { evidence: item.evidence.length };
  if (before === undefined) return { ref, outcome: 'added', now: item.digest, ...count };
  if (before.digest !== item.digest || before.targetDigest !== item.targetDigest)
    return { ref, outcome: 'moved', was: before.digest, now: item.digest, ...count };
  if (before.evidenceAsked !== item.evidenceAsked || !isSameEvidence(before.evidence ?? [], item.evidence ?? []))
    return { ref, outcome: 'evidence', ...count };
  return { ref, outcome: 'unchanged' };
}

/** Its time is that of the first look that found exactly this. */
function withEvidence(item: LockItem, found: readonly Evidence[], before: LockItem | undefined, now: number): LockItem {
  const same = before?.evidenceAt !== undefined && isSameEvidence(before.evidence, found);
  const { evidenceAsked: _none, ...rest } = item;
  return { ...rest, evidence: [...found], evidenceAt: same ? before.evidenceAt : lockTime(now) };
}

function withoutEvidence(item: LockItem): LockItem {
  const { evidence: _found, evidenceAt: _at, ...rest } = item;
  return { ...rest, evidenceAsked: 'none' };
}

/** A changed wish (platforms) for a locked reference is answered from the digest that is locked: only an update may move it. */
async function lockOne(entry: ImageEntry, before: LockItem | undefined, update: boolean, ports: LockPorts): Promise<LockItem> {
  const resolved = before !== undefined && !update ? before : await resolveReference(ports.client, entry.ref, ports.signal);
  if (before !== undefined && resolved.digest === before.digest && isAsked(before, entry)) {
    if (!update && entry.evidence !== 'none') await requireThere(entry, before, ports);
    return before;
  }
  const selection = await select(entry, resolved, ports.readManifest, ports.readConfig);
  return {
    kind: 'image',
    ref: formatReference(entry.ref),
    origin: entry.ref.origin,
    digest: resolved.digest,
    mediaType: resolved.mediaType,
    size: selection.rootSize,
    resolvedAt: before !== undefined && resolved.digest === before.digest ? before.resolvedAt : lockTime(ports.now()),
    asked: askedOf(entry),
    ...(entry.index === undefined ? {} : { index: entry.index }),
    platforms: selection.platforms.map((p) => ({ ...p })),
    targetDigest: selection.targetDigest,
    form: selection.form,
  };
}

/** An origin that answers everything with 404 says nothing of signatures. @throws BundleError E_NOT_FOUND and those of a request */
async function requireThere(
  { ref: { origin, repository } }: ImageEntry,
  { ref, digest }: LockItem,
  ports: LockPorts,
): Promise<void> {
  if ((await ports.client.lookUp(origin, repository, digest, ports.signal)) !== undefined) return;
  throw new BundleError('E_NOT_FOUND', `${ref}: ${digest}, which is locked, is gone, so its signatures can't be listed`, {
    origin: 'source',
    hint: 'run "bundle lock --update" for it and look at what changed, or say "evidence: none" for it in the manifest',
  });
}

export type Moved = Readonly<{ ref: string; locked: string | undefined; now: string | undefined; error?: BundleError }>;

/** Asks one HEAD per tag what moved since the lock. References by digest alone can't move and cost nothing. */
export async function checkLock(
  manifest: Manifest,
  lock: LockFile | undefined,
  client: RegistryClient,
  signal?: AbortSignal,
): Promise<Moved[]> {
  const items = new Map(lock?.items.map((i) => [i.ref, i]));
  const answers = await Promise.all(
    manifest.images.map(async (entry): Promise<Moved | undefined> => {
      const ref = formatReference(entry.ref);
      const locked = items.get(ref)?.digest;
      if (locked !== undefined && entry.ref.tag === undefined) return undefined;
      try {
        // The tag alone: a pinned digest beside it must not turn "moved" into an error here.
        const { digest: _pinned, ...byTag } = entry.ref;
        const asked = entry.ref.tag === undefined ? entry.ref : byTag;
        const now = (await client.inSlot(entry.ref.origin, () => resolveReference(client, asked, signal))).digest;
        return now === locked ? undefined : { ref, locked, now };
      } catch (error) {
        if (!isBundleError(error)) throw error;
        return { ref, locked, now: undefined, error };
      }
    }),
  );
  const extra = lockDifference(manifest, lock).extra.map(
    (ref): Moved => ({ ref, locked: items.get(ref)?.digest, now: undefined }),
  );
  return [...answers.filter((a) => a !== undefined), ...extra];
}
