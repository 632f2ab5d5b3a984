import type { VerifiedBundle } from '../bundle/verify.ts';
import type { Digest } from '../core/digest.ts';
import { BundleError, diskError, isBundleError, isSystemError } from '../core/errors.ts';
import type { Reporter } from '../core/progress.ts';
import { type DirectoryLock, withDirectoryLock } from '../files/directory-lock.ts';
import { sweepTemporary } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import type { RegistryClient } from '../registry/client.ts';
import { evidencePlaces } from './evidence-places.ts';
import { incomplete } from './incomplete.ts';
import type { LoadedItem } from './push.ts';
import { type Pushed, pushEverything, refusedIn } from './push-everything.ts';
import { writeReceipt } from './receipt.ts';
import {
  beginLoading,
  finishLoading,
  type Incoming,
  readOtherStates,
  readState,
  refusedBefore,
  requireNotOlder,
  requireOwnTags,
  stateDirectory,
  statePath,
  withoutTags,
  writeState,
} from './state.ts';
import { placesAt, type Target } from './target.ts';

export type LoadRequest = Readonly<{
  bundle: VerifiedBundle;
  target: Target;
  stateRoot: string;
  allowRollback: boolean;
  forceTags: boolean;
  breakLock: boolean;
  dryRun: boolean;
}>;

export type LoadPorts = Readonly<{
  fs: FileSystem;
  client: RegistryClient;
  report: Reporter;
  signal?: AbortSignal | undefined;
  now: () => number;
}>;

export type LoadResult = Readonly<{
  target: string;
  name: string;
  sequence: number;
  statement: Digest;
  references: number;
  outcome: 'loaded' | 'unchanged' | 'dry-run';
  items: readonly LoadedItem[];
  tagsMoved: number;
  evidence: Pushed['evidence'];
  bytesPushed: number;
  receipt: string | undefined;
}>;

/**
 * Pushes a verified bundle to one target: everything by digest first, then "loading N" into the state, tags last, then "loaded N" and the receipt.
 * @throws BundleError E_ROLLBACK, E_TAG_OWNED, E_LOCKED before the first write; E_INCOMPLETE when something was written and a rerun will finish it
 */
export async function load(request: LoadRequest, ports: LoadPorts): Promise<LoadResult> {
  const { fs } = ports;
  const { bundle, target, stateRoot } = request;
  const { predicate } = bundle.generation.statement;
  const incoming: Incoming = {
    sequence: predicate.sequence,
    statement: bundle.generation.statementDigest,
    created: predicate.created,
  };
  const path = statePath(stateRoot, target, predicate.name);
  const directory = stateDirectory(stateRoot, target);
  const tags = wantedTags(bundle, target);
  if (request.dryRun) {
    requireNotOlder(await readState(fs, path), incoming, request.allowRollback);
    requireOwnTags(await readOtherStates(fs, stateRoot, target, predicate.name), tags, request.forceTags);
    return {
      ...base(request, incoming),
      outcome: 'dry-run',
      items: [],
      tagsMoved: await countMoves(request, ports),
      evidence: { places: evidencePlaces(bundle, target).length, written: 0 },
      bytesPushed: 0,
      receipt: undefined,
    };
  }
  let wrote = false;
  const onWrite = (): void => {
    wrote = true;
  };
  try {
    await makeStateDirectory(fs, directory);
    const options = { command: `bundle load ${predicate.name}`, breakForeign: request.breakLock };
    return await withDirectoryLock(fs, directory, options, (lock) => loadLocked(request, ports, incoming, tags, lock, onWrite));
  } catch (error) {
    const known = diskError(error, `loading into ${target.name}`);
    throw wrote ? incomplete(known, `${target.name} was written in part`) : known;
  }
}

/** Tags that mean something else at the target, or nothing yet: one HEAD each. */
async function countMoves({ bundle, target }: LoadRequest, { client, signal }: LoadPorts): Promise<number> {
  const places = bundle.contents.flatMap(({ content }) =>
    placesAt(target, content.ref, content.aliases ?? []).flatMap(({ repository, tag }) =>
      tag === undefined ? [] : [{ repository, tag, wanted: content.targetDigest }],
    ),
  );
  const moves = await Promise.all(
    places.map(({ repository, tag, wanted }) =>
      client.inSlot(target.host, async () => {
        const head = await client.headManifest(target.host, repository, tag, signal).catch((error: unknown) => {
          if (isBundleError(error) && error.code === 'E_NOT_FOUND') return undefined;
          throw error;
        });
        return head?.digest !== wanted;
      }),
    ),
  );
  return moves.filter(Boolean).length;
}

async function makeStateDirectory(fs: FileSystem, directory: string): Promise<void> {
  try {
    await fs.mkdir(directory);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new BundleError('E_DISK', `the state directory ${directory} can't be made: ${error.message}`, {
      cause: error,
      hint: 'name another with --state DIR',
    });
  }
}

async function loadLocked(
  request: LoadRequest,
  ports: LoadPorts,
  incoming: Incoming,
  tags: Readonly<Record<string, Digest>>,
  lock: DirectoryLock,
  onWrite: () => void,
): Promise<LoadResult> {
  const { fs } = ports;
  const { bundle, target, stateRoot } = request;
  const { name } = bundle.generation.statement.predicate;
  const path = statePath(stateRoot, target, name);
  const directory = stateDirectory(stateRoot, target);
  for (const left of [directory, `${directory}/receipts`]) await sweepTemporary(fs, left);
  const before = await readState(fs, path);
  requireNotOlder(before, incoming, request.allowRollback);
  const others = await readOtherStates(fs, stateRoot, target, name);
  requireOwnTags(others, tags, request.forceTags);
  const loading = beginLoading(before, name, target, incoming, tags);
  const pushed = await pushEverything(request, ports, refusedBefore(before, incoming), onWrite, async () => {
    await lock.check();
    // Also for a rerun: the promise is that this is on the disk before any tag moves.
    await writeState(fs, path, loading);
    for (const other of withoutTags(others, tags)) await writeState(fs, statePath(stateRoot, target, other.name), other);
  });
  await writeState(fs, path, finishLoading(loading, tags, refusedIn(bundle, pushed.items)));
  const receipt = await writeReceipt(request, ports, incoming);
  const changed = pushed.tagsMoved > 0 || pushed.evidence.written > 0 || pushed.items.some((i) => i.outcome === 'pushed');
  return { ...base(request, incoming), ...pushed, outcome: changed ? 'loaded' : 'unchanged', receipt };
}

const base = ({ target, bundle }: LoadRequest, incoming: Incoming) => ({
  target: target.name,
  name: bundle.generation.statement.predicate.name,
  sequence: incoming.sequence,
  statement: incoming.statement,
  references: bundle.contents.length,
});

/** `docker.io/library/redis:7` → what it will mean, aliases included. @throws BundleError E_ALIAS_CONFLICT */
function wantedTags(bundle: VerifiedBundle, target: Target): Record<string, Digest> {
  const tags = new Map<string, Digest>();
  for (const { content } of bundle.contents) {
    for (const { repository, tag } of placesAt(target, content.ref, content.aliases ?? [])) {
      if (tag === undefined) continue;
      const name = `${repository}:${tag}`;
      const before = tags.get(name);
      if (before !== undefined && before !== content.targetDigest)
        throw new BundleError('E_ALIAS_CONFLICT', `${name} would mean both ${before} and ${content.targetDigest}`);
      tags.set(name, content.targetDigest);
    }
  }
  return Object.fromEntries(tags);
}
