/** Promise 2: pull may be killed at any change of the disk; what is half made is never taken for whole, and a rerun ends with the same bytes. */
import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { it, type TestContext } from 'node:test';
import { isBundleError } from '../../src/core/errors.ts';
import { buryOwners, createFaultFileSystem, type DiskFault, faultName, Killed, killsOf } from '../support/fault-file-system.ts';
import { disk, type Journey, nameless, startJourney, treeOf } from '../support/journey.ts';

type Case = Readonly<{
  /** Puts the directory into the state that the run starts from. */
  start: (directory: string) => Promise<unknown>;
  edition: number;
  /** The generation that is whole before the run. */
  before: number | undefined;
  /** Generations to keep; default 2. */
  keep?: number;
}>;

const more = ({ keep = 2 }: Case) => ({ keep });

const committed = (tree: Record<string, string>): string[] => Object.keys(tree).filter((name) => /^generations\/\d+$/.test(name));

/** What verify says of a directory: the generation it holds whole, or why not. */
async function verdictOf(journey: Journey, directory: string): Promise<number | string> {
  try {
    return (await journey.verify(directory)).generation.sequence;
  } catch (error) {
    assert.ok(isBundleError(error), `verify ended with ${String(error)}`);
    return `${error.code}: ${error.message}`;
  }
}

async function killEverywhere(t: TestContext, journey: Journey, c: Case): Promise<void> {
  const undisturbed = journey.path('undisturbed');
  await c.start(undisturbed);
  const counting = createFaultFileSystem(disk);
  const { sequence } = await journey.pull(undisturbed, c.edition, counting, more(c));
  const want = await treeOf(undisturbed);
  const blobs = (await journey.verify(undisturbed)).generation.statement.predicate.blobs.map((b) => b.digest.slice(7));
  const verdicts = new Map<string, number>();
  const states = new Set<string>();
  let kills = 0;

  for (const fault of killsOf(counting.operations)) {
    const name = faultName(fault, counting.operations);
    const directory = journey.path();
    await c.start(directory);
    await killOnce(journey, directory, c, fault, name);
    kills++;
    const tree = await treeOf(directory).catch(() => ({}) as Record<string, string>);
    // What a kill before fsync and one after it leave is the same: each state of the disk is looked at once.
    const state = nameless(tree);
    if (!states.has(state)) {
      states.add(state);
      const verdict = await verdictOf(journey, directory);
      checkVerdict({ verdict, tree, name, want, sequence, blobs, before: c.before });
      const kind =
        typeof verdict === 'string' ? verdict.slice(0, verdict.indexOf(':')) : verdict === sequence ? 'new' : 'previous';
      verdicts.set(kind, (verdicts.get(kind) ?? 0) + 1);
      await journey.pull(directory, c.edition, disk, more(c));
      assert.deepEqual(await treeOf(directory), want, `${name}: the rerun must end with the same bytes and nothing beside them`);
    }
    await rm(directory, { recursive: true, force: true });
  }
  const seen = [...verdicts].map(([kind, n]) => `${kind} ${n}`).join(', ');
  t.diagnostic(`${kills} kills around ${counting.operations.length} changes left ${states.size} states; verify said: ${seen}`);
}

type Found = Readonly<{
  verdict: number | string;
  tree: Record<string, string>;
  name: string;
  want: Record<string, string>;
  sequence: number;
  blobs: readonly string[];
  before: number | undefined;
}>;

function checkVerdict({ verdict, tree, name, want, sequence, blobs, before }: Found): void {
  if (verdict === sequence) {
    // Not by verify's word alone: everything of the generation is there, byte for byte.
    for (const [file, digest] of Object.entries(want)) {
      const needed = file.startsWith(`generations/${sequence}/`) || blobs.includes(file.split('/').at(-1) as string);
      if (needed) assert.equal(tree[file], digest, `${name}: ${file}`);
    }
  } else if (before !== undefined) {
    assert.equal(verdict, before, `${name}: the generation before must stay whole`);
  } else if (committed(tree).length > 0) {
    // The first generation is committed, its copies at the top are not all there yet: named, and refused.
    assert.match(String(verdict), /^E_MISSING: (index\.json|bundle\.json) is missing$/, name);
  } else {
    assert.match(String(verdict), /^(E_LAYOUT: .*no generation|E_MISSING: .*does not exist)/, name);
  }
}

async function killOnce(journey: Journey, directory: string, c: Case, fault: DiskFault, name: string): Promise<void> {
  const fs = createFaultFileSystem(disk, fault);
  const outcome = await journey.pull(directory, c.edition, fs, more(c)).then(
    () => 'finished',
    (error: unknown) => error,
  );
  assert.equal(fs.struck, 1, `${name}: the fault did not strike, so the changes are not the same each time`);
  assert.ok(outcome instanceof Killed, `${name}: ended with ${String(outcome)}`);
  await buryOwners(directory);
}

it('the first pull, killed around every change', async (t) => {
  await killEverywhere(t, await startJourney(t), { start: async () => undefined, edition: 0, before: undefined });
});

it('the first pull with eight transfers at once, killed at changes all over', async (t) => {
  const journey = await startJourney(t);
  const undisturbed = journey.path('undisturbed');
  const counting = createFaultFileSystem(disk);
  await journey.pull(undisturbed, 0, counting, {}, 8);
  const want = await treeOf(undisturbed);
  let kills = 0;
  for (let at = 7; at <= counting.operations.length; at += 5) {
    const fault: DiskFault = { kill: (['before', 'torn', 'after'] as const)[at % 3] as 'torn', at };
    const directory = journey.path();
    const fs = createFaultFileSystem(disk, fault);
    await assert.rejects(journey.pull(directory, 0, fs, {}, 8), Killed, `change ${at}`);
    await buryOwners(directory);
    await journey.pull(directory, 0, disk, {}, 8);
    assert.deepEqual(await treeOf(directory), want, `change ${at}`);
    kills++;
  }
  t.diagnostic(`${kills} kills`);
});

it('an update, killed around every change: the generation before stays whole until the new one is', async (t) => {
  const journey = await startJourney(t);
  const first = journey.path('first');
  const { sequence } = await journey.pull(first, 0);
  const start = (directory: string) => cp(first, directory, { recursive: true });
  await killEverywhere(t, journey, { start, edition: 1, before: sequence });
});

it('an update that removes the generation before, killed around every change: what goes is never missed by what stays', async (t) => {
  const journey = await startJourney(t);
  const first = journey.path('first');
  const { sequence } = await journey.pull(first, 0);
  const start = (directory: string) => cp(first, directory, { recursive: true });
  await killEverywhere(t, journey, { start, edition: 1, before: sequence, keep: 1 });
});
