import { basename, dirname } from 'node:path';
import * as z from 'zod';
import { type Digest, isDigest } from '../core/digest.ts';
import { BundleError, diskError } from '../core/errors.ts';
import { byteOrder, parseStrictJson, prettyJson, shown } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { shapeFaults } from '../core/shape-faults.ts';
import { writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import { type Target, targetKey } from './target.ts';

/**
 * What node-1 remembers of a bundle at a target, outside the medium (design.md promise 3): `<state>/targets/<target>/<bundle>.json`. "loading" is
 * written before the first tag moves; `highest` never falls.
 */
const digest = z.custom<Digest>(isDigest, 'not a digest');
const generation = z.strictObject({ sequence: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER), statement: digest });

const state = z.strictObject({
  stateVersion: z.literal(1),
  name: z.string(),
  target: z.string(),
  /** The highest generation whose tags may have moved here. */
  highest: generation,
  /** What is being loaded; absent once it is done. */
  loading: generation.optional(),
  /** What was loaded whole, last. */
  loaded: generation.optional(),
  /** The newest `created` seen: no clock may be earlier. */
  newestCreated: z.string().refine((t) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(t) && !Number.isNaN(Date.parse(t)), 'no time'),
  /** Tags that belong to this bundle: `docker.io/library/redis:7` → digest. */
  tags: z.record(z.string(), digest),
  /** Original indexes of what was loaded last that the target did not take because children are missing. */
  refused: z.array(digest).optional(),
});

export type TargetState = z.infer<typeof state>;

const directoryOf = (stateRoot: string, target: Target): string => `${stateRoot}/targets/${targetKey(target)}`;
export const statePath = (stateRoot: string, target: Target, name: string): string =>
  `${directoryOf(stateRoot, target)}/${name}.json`;
export const stateDirectory = directoryOf;

/** @throws BundleError E_ROLLBACK when the state is there but can't be read: without it an old bundle would pass */
export async function readState(fs: FileSystem, path: string): Promise<TargetState | undefined> {
  try {
    if ((await fs.stat(path)) === undefined) return undefined;
    const parsed = state.safeParse(parseStrictJson(await fs.readFile(path, LIMITS.stateBytes), path, 'E_ROLLBACK'));
    const fault = parsed.success ? inconsistency(parsed.data, path) : shapeFaults(parsed.error, 1)[0];
    if (parsed.success && fault === undefined) return parsed.data;
    throw new BundleError('E_ROLLBACK', `${path} is not a state file of this version: ${fault}`, {
      hint: 'without it an older bundle could be loaded unnoticed: restore it from a backup, or move it away knowingly',
    });
  } catch (error) {
    throw diskError(error, `reading ${path}`);
  }
}

/** A file copied from another bundle or target, or with numbers that no load writes, would let an older bundle pass. */
function inconsistency({ name, target, highest, loading, loaded }: TargetState, path: string): string | undefined {
  if (basename(path) !== `${name}.json`) return `it is of the bundle ${shown(name)}`;
  if (basename(dirname(path)) !== targetKey({ name: target })) return `it is of the target ${shown(target)}`;
  const higher = [loading, loaded].find((g) => g !== undefined && g.sequence > highest.sequence);
  return higher === undefined ? undefined : `${higher.sequence} is more than the highest, ${highest.sequence}`;
}

/** In one order of fields, whichever way the value came about: the same state is the same bytes. */
export async function writeState(fs: FileSystem, path: string, value: TargetState): Promise<void> {
  const { stateVersion, name, target, highest, loading, loaded, newestCreated, tags, refused } = value;
  const ordered = { stateVersion, name, target, highest, loading, loaded, newestCreated, tags, refused };
  await writeFileDurable(fs, path, Buffer.from(prettyJson(ordered)), 0o644);
}

/** States of the other bundles at the same target: they own their tags. */
export async function readOtherStates(fs: FileSystem, stateRoot: string, target: Target, name: string): Promise<TargetState[]> {
  const directory = directoryOf(stateRoot, target);
  const others: TargetState[] = [];
  for (const file of await stateFiles(fs, directory)) {
    const found = file === `${name}.json` ? undefined : await readState(fs, `${directory}/${file}`);
    if (found !== undefined) others.push(found);
  }
  return others;
}

async function stateFiles(fs: FileSystem, directory: string): Promise<string[]> {
  return (await listDirectory(fs, directory)).filter((file) => file.endsWith('.json') && !file.startsWith('.'));
}

/** Nothing when there is no such directory. */
async function listDirectory(fs: FileSystem, path: string): Promise<string[]> {
  try {
    return (await fs.stat(path))?.kind === 'directory' ? await fs.list(path) : [];
  } catch (error) {
    throw diskError(error, `reading ${path}`);
  }
}

export type Incoming = Readonly<{ sequence: number; statement: Digest; created: string }>;

/**
 * Refuses anything older than what this target has seen. The same sequence passes only with the same statement: that is a rerun.
 * @throws BundleError E_ROLLBACK
 */
export function requireNotOlder(before: TargetState | undefined, incoming: Incoming, allowRollback: boolean): void {
  if (before === undefined || allowRollback) return;
  const { highest } = before;
  const hint = 'bring the newest generation across; to go back on purpose say --allow-rollback';
  if (incoming.sequence < highest.sequence) {
    throw new BundleError(
      'E_ROLLBACK',
      `generation ${incoming.sequence} of "${before.name}" is older than ${highest.sequence}, which ${before.target} already has`,
      { hint },
    );
  }
  if (incoming.sequence === highest.sequence && incoming.statement !== highest.statement) {
    throw new BundleError(
      'E_ROLLBACK',
      `generation ${incoming.sequence} of "${before.name}" differs from the generation of the same number at ${before.target}`,
      {
        hint: 'two were made from one lock, in different directories or with different keys or settings: "bundle pull --renew" gives the right one a new number; to load this one on purpose say --allow-rollback',
      },
    );
  }
}

/** The state to write before the first tag moves. A rollback on purpose lowers nothing: `highest` stays, so the next unforced load is compared with it. */
export function beginLoading(
  before: TargetState | undefined,
  name: string,
  target: Target,
  incoming: Incoming,
  wanted: Readonly<Record<string, Digest>> = {},
): TargetState {
  const now = { sequence: incoming.sequence, statement: incoming.statement };
  const higher = before === undefined || incoming.sequence >= before.highest.sequence ? now : before.highest;
  return {
    stateVersion: 1,
    name,
    target: target.name,
    highest: higher,
    loading: now,
    ...(before?.loaded === undefined ? {} : { loaded: before.loaded }),
    newestCreated: before !== undefined && before.newestCreated > incoming.created ? before.newestCreated : incoming.created,
    // Those to come too: a load that is killed after moving one owns it.
    tags: { ...before?.tags, ...wanted },
  };
}

export function finishLoading(
  loading: TargetState,
  tags: Readonly<Record<string, Digest>>,
  refused: readonly Digest[] = [],
): TargetState {
  const { loading: done, refused: _before, ...rest } = loading;
  return {
    ...rest,
    ...(done === undefined ? {} : { loaded: done }),
    tags: { ...tags },
    ...(refused.length === 0 ? {} : { refused: [...new Set(refused)].sort(byteOrder) }),
  };
}

/** What the target refused when it last took this very generation whole. */
export const refusedBefore = (before: TargetState | undefined, incoming: Incoming): ReadonlySet<Digest> =>
  new Set(before?.loading === undefined && before?.loaded?.statement === incoming.statement ? before.refused : []);

/** @throws BundleError E_TAG_OWNED when a tag would move away from what another bundle put there */
export function requireOwnTags(others: readonly TargetState[], tags: Readonly<Record<string, Digest>>, force: boolean): void {
  if (force) return;
  for (const other of others) {
    for (const [tag, digestThere] of Object.entries(other.tags)) {
      if (Object.hasOwn(tags, tag) && tags[tag] !== digestThere) {
        throw new BundleError(
          'E_TAG_OWNED',
          `${other.target}/${tag} belongs to the bundle "${other.name}" and means ${digestThere} there; this bundle wants ${tags[tag]}`,
          {
            hint: 'let one bundle own it, or say --force-tags to take it',
          },
        );
      }
    }
  }
}

/** The states that lose tags to this bundle by --force-tags, without them: a tag has one owner. */
export function withoutTags(others: readonly TargetState[], tags: Readonly<Record<string, Digest>>): TargetState[] {
  return others
    .filter((other) =>
      Object.entries(other.tags).some(([tag, digestThere]) => Object.hasOwn(tags, tag) && tags[tag] !== digestThere),
    )
    .map((other) => ({
      ...other,
      tags: Object.fromEntries(Object.entries(other.tags).filter(([tag]) => !Object.hasOwn(tags, tag))),
    }));
}

/**
 * For who serves or describes a bundle without a target of his own: refused when any target here has seen a newer generation of it.
 * @throws BundleError E_ROLLBACK
 */
export async function requireNewestSeen(
  fs: FileSystem,
  stateRoot: string,
  name: string,
  incoming: Incoming,
  allowRollback: boolean,
): Promise<void> {
  for (const target of await listDirectory(fs, `${stateRoot}/targets`)) {
    const path = `${stateRoot}/targets/${target}/${name}.json`;
    requireNotOlder(await readState(fs, path), incoming, allowRollback);
  }
}

/** The newest `created` that any load on this machine has seen, in milliseconds since 1970: the clock is never taken for earlier. */
export async function newestSeen(fs: FileSystem, stateRoot: string): Promise<number> {
  let newest = 0;
  const targets = `${stateRoot}/targets`;
  for (const target of await listDirectory(fs, targets)) {
    for (const file of await stateFiles(fs, `${targets}/${target}`)) {
      const created = Date.parse((await readState(fs, `${targets}/${target}/${file}`))?.newestCreated ?? '');
      if (created > newest) newest = created;
    }
  }
  return newest;
}
