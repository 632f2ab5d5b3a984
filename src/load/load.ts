import type { VerifiedBundle } from '../bundle/verify.ts';
import type { Digest } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { prettyJson } from '../core/json.ts';
import type { Reporter } from '../core/progress.ts';
import { lockDirectory } from '../files/directory-lock.ts';
import { writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import type { RegistryClient } from '../registry/client.ts';
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
    return { ...base(request, incoming), outcome: 'dry-run', items: [], tagsMoved: 0, bytesPushed: 0, receipt: undefined };
  }
  await fs.mkdir(directory).catch((error: unknown) => {
    throw new BundleError('E_DISK', `the state directory ${directory} can't be made: ${(error as Error).message}`, {
      cause: error,
      hint: 'name another with --state DIR',
    });
  });
  const lock = await lockDirectory(fs, directory, { command: `bundle load ${predicate.name}`, breakForeign: request.breakLock });
  try {
    const before = await readState(fs, path);
    requireNotOlder(before, incoming, request.allowRollback);
    requireOwnTags(await readOtherStates(fs, stateRoot, target, predicate.name), tags, request.forceTags);
    const loading = beginLoading(before, predicate.name, target, incoming);
    const pushed = await pushEverything(request, ports, refusedBefore(before, incoming), async () => {
      await lock.check();
      // Also for a rerun: the promise is that this is on the disk before any tag moves.
      await writeState(fs, path, loading);
    });
    await writeState(fs, path, finishLoading(loading, tags, refusedIn(bundle, pushed.items)));
    const receipt = await writeReceipt(request, ports, incoming);
    const wrote = pushed.tagsMoved > 0 || pushed.items.some((i) => i.outcome === 'pushed');
    return { ...base(request, incoming), ...pushed, outcome: wrote ? 'loaded' : 'unchanged', receipt };
  } finally {
    await lock.release();
  }
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
  beforeTags: () => Promise<void>,
): Promise<Pushed> {
  const { bundle, target } = request;
  let wrote = false;
  const abort = new AbortController();
  const signal = ports.signal === undefined ? abort.signal : AbortSignal.any([ports.signal, abort.signal]);
  const onWrite = (): void => {
    wrote = true;
  };
  const context = createPushContext(bundle, target, { client: ports.client, report: ports.report, signal, onWrite }, refused);
  try {
    ports.report({ type: 'phase', phase: 'push', detail: target.name });
    ports.report({ type: 'total', bytes: pushBytes(bundle, target), items: bundle.contents.length });
    const items = await Promise.all(bundle.contents.map((verified) => pushReported(context, verified, ports.report, abort)));
    requireAllPushed(items, target);
    await beforeTags();
    ports.report({ type: 'phase', phase: 'tag', detail: target.name });
    const moved = await Promise.all(bundle.contents.map((verified) => pushTags(context, verified)));
    return { items, tagsMoved: moved.reduce((a, b) => a + b, 0), bytesPushed: items.reduce((sum, i) => sum + i.bytesPushed, 0) };
  } catch (error) {
    throw wrote ? incomplete(error, `${target.name} was written in part`) : error;
  }
}

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
      item.originalIndex === 'refused'
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
    if (error.code === 'E_NETWORK' || error.code === 'E_TIMEOUT' || error.code === 'E_TLS') abort.abort(error);
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

const RETRYABLE: readonly string[] = [
  'E_NETWORK',
  'E_TIMEOUT',
  'E_TLS',
  'E_REGISTRY',
  'E_NOT_FOUND',
  'E_AUTH',
  'E_RATE_LIMIT',
  'E_DISK',
  'E_DISK_FULL',
  'E_REDIRECT',
];

/** Exit code 9 wins over 4 and 7: what was pushed is right, and running again goes on from there. Other errors pass unchanged. */
function incomplete(error: unknown, what: string): unknown {
  if (!isBundleError(error) || !RETRYABLE.includes(error.code)) return error;
  return new BundleError('E_INCOMPLETE', `${what}: ${error.message}`, {
    cause: error,
    origin: 'target',
    hint: `${error.hint === undefined ? '' : `${error.hint}; `}then run the same command again: it finishes what is missing`,
    detail: { ...error.detail, code: error.code },
  });
}

/** The failure of one target after others were written. */
export function afterOthers(error: unknown, done: readonly LoadResult[]): unknown {
  const written = done.filter((r) => r.outcome === 'loaded').map((r) => r.target);
  return written.length === 0 ? error : incomplete(error, `only ${written.join(', ')} was loaded`);
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
