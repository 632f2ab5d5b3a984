import type { VerifiedBundle } from '../bundle/verify.ts';
import type { Digest } from '../core/digest.ts';
import { BundleError, diskError, isBundleError, isSystemError } from '../core/errors.ts';
import { prettyJson } from '../core/json.ts';
import type { Reporter } from '../core/progress.ts';
import { type DirectoryLock, withDirectoryLock } from '../files/directory-lock.ts';
import { sweepTemporary, writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import type { RegistryClient } from '../registry/client.ts';
import { incomplete } from './incomplete.ts';
import { blobsOf, createPushContext, type LoadedItem, pushContent, pushTags } from './push.ts';
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
  const changed = pushed.tagsMoved > 0 || pushed.items.some((i) => i.outcome === 'pushed');
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

type Pushed = Readonly<{ items: LoadedItem[]; tagsMoved: number; bytesPushed: number }>;

/** Digests of the original indexes that were not taken. */
function refusedIn(bundle: VerifiedBundle, items: readonly LoadedItem[]): Digest[] {
  const refused = new Set(items.filter((i) => i.originalIndex === 'refused').map((i) => i.ref));
  return bundle.contents.filter(({ content }) => refused.has(content.ref)).map(({ content }) => content.digest);
}

async function pushEverything(
  request: LoadRequest,
  ports: LoadPorts,
  refused: ReadonlySet<Digest>,
  onWrite: () => void,
  beforeTags: () => Promise<void>,
): Promise<Pushed> {
  const { bundle, target } = request;
  const abort = new AbortController();
  const signal = ports.signal === undefined ? abort.signal : AbortSignal.any([ports.signal, abort.signal]);
  const context = createPushContext(bundle, target, { client: ports.client, report: ports.report, signal, onWrite }, refused);
  ports.report({ type: 'phase', phase: 'push', detail: target.name });
  ports.report({ type: 'total', bytes: pushBytes(bundle, target), items: bundle.contents.length });
  const items = await allSettled(bundle.contents.map((verified) => pushReported(context, verified, ports.report, abort)));
  requireAllPushed(items, target);
  await beforeTags();
  ports.report({ type: 'phase', phase: 'tag', detail: target.name });
  const moved = await allSettled(
    bundle.contents.map(async (verified) => {
      try {
        return await pushTags(context, verified);
      } catch (error) {
        if (isUnreachable(error)) abort.abort(error);
        // What the abort tore down is not the news, what caused it is.
        throw abort.signal.aborted && !isBundleError(error) ? abort.signal.reason : error;
      }
    }),
  );
  return { items, tagsMoved: moved.reduce((a, b) => a + b, 0), bytesPushed: items.reduce((sum, i) => sum + i.bytesPushed, 0) };
}

/** Ends when all have: once the lock is let go, no tag of this run may move any more. @throws what the first failed one threw */
async function allSettled<T>(tasks: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(tasks);
  return Promise.all(tasks);
}

const isUnreachable = (error: unknown): boolean =>
  isBundleError(error) && ['E_NETWORK', 'E_TIMEOUT', 'E_TLS'].includes(error.code);

/** Each blob once per repository that it goes to. */
function pushBytes(bundle: VerifiedBundle, target: Target): number {
  const sizes = new Map<string, number>();
  for (const verified of bundle.contents)
    for (const { repository } of placesAt(target, verified.content.ref, verified.content.aliases ?? []))
      for (const { digest, size } of blobsOf(verified)) sizes.set(`${repository} ${digest}`, size);
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}

/** A target that can't be reached fails every reference the same way: the others are not tried to the end. */
async function pushReported(
  context: ReturnType<typeof createPushContext>,
  verified: VerifiedBundle['contents'][number],
  report: Reporter,
  abort: AbortController,
): Promise<LoadedItem> {
  const { ref, targetDigest } = verified.content;
  try {
    const item = await pushContent(context, verified);
    const refused =
      item.originalIndex === 'refused' && item.outcome === 'pushed'
        ? "this registry takes no index with missing platforms: the origin's own index is not there"
        : undefined;
    report({
      type: 'item',
      name: ref,
      outcome: item.outcome,
      bytes: item.bytesPushed,
      ...(refused === undefined ? {} : { detail: refused }),
    });
    return item;
  } catch (error) {
    if (abort.signal.aborted && !isBundleError(error))
      return failedItem(
        ref,
        targetDigest,
        new BundleError('E_NETWORK', `${ref}: not tried any further, the target can't be reached`),
      );
    if (!isBundleError(error)) throw error;
    report({ type: 'item', name: ref, outcome: 'failed', detail: error.message });
    if (isUnreachable(error)) abort.abort(error);
    return failedItem(ref, targetDigest, error);
  }
}

const failedItem = (ref: string, targetDigest: Digest, error: BundleError): LoadedItem => ({
  ref,
  outcome: 'failed',
  targetDigest,
  names: [],
  blobs: { present: 0, mounted: 0, pushed: 0 },
  bytesPushed: 0,
  error,
});

function requireAllPushed(items: readonly LoadedItem[], target: Target): void {
  const failed = items.filter((i) => i.error !== undefined);
  const first = failed[0]?.error;
  if (first === undefined) return;
  throw new BundleError(
    first.code,
    `${target.name}: ${failed.length} of ${items.length} failed; first ${failed[0]?.ref}: ${first.message}`,
    {
      hint: first.hint,
      origin: 'target',
      cause: first,
      detail: { failed: failed.map((i) => ({ ref: i.ref, code: i.error?.code, message: i.error?.message })) },
    },
  );
}

/** What goes back to the connected side: which generation this target holds now. */
async function writeReceipt({ bundle, target, stateRoot }: LoadRequest, ports: LoadPorts, incoming: Incoming): Promise<string> {
  const { name } = bundle.generation.statement.predicate;
  const path = `${stateDirectory(stateRoot, target)}/receipts/${name}.receipt.json`;
  const receipt = {
    receiptVersion: 1,
    name,
    target: target.name,
    sequence: incoming.sequence,
    statement: incoming.statement,
    loadedAt: `${new Date(ports.now()).toISOString().slice(0, 19)}Z`,
    signers: bundle.signers,
  };
  await writeFileDurable(ports.fs, path, Buffer.from(prettyJson(receipt)));
  return path;
}
