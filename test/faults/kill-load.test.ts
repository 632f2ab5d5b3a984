/** Promise 2 and 3 at the target: no tag means anything incomplete, none moves before the state says so, old stays refused, a rerun finishes. */
import assert from 'node:assert/strict';
import { cp, readFile, rm } from 'node:fs/promises';
import { it, type TestContext } from 'node:test';
import type { VerifiedBundle } from '../../src/bundle/verify.ts';
import { isBundleError } from '../../src/core/errors.ts';
import { statePath, type TargetState } from '../../src/load/state.ts';
import { parseTarget, placesAt } from '../../src/load/target.ts';
import { rejectsWith } from '../support/assert-code.ts';
import { buryOwners, createFaultFileSystem, faultName, Killed, killsOf } from '../support/fault-file-system.ts';
import {
  disk,
  faultyTransport,
  type Journey,
  loadInto,
  requireComplete,
  type Store,
  startJourney,
  startStore,
  tagsIn,
  treeOf,
  type WireFault,
} from '../support/journey.ts';

type Bench = Readonly<{
  journey: Journey;
  store: Store;
  older: VerifiedBundle;
  newer: VerifiedBundle;
  /** The state after the older edition was loaded, and after the newer one was. */
  oldState: string;
  want: Record<string, string>;
  oldTags: Record<string, string>;
  newTags: Record<string, string>;
}>;

async function bench(t: TestContext): Promise<Bench> {
  const journey = await startJourney(t);
  const store = await startStore(t);
  const [first, second] = [journey.path('first'), journey.path('second')];
  await journey.pull(first, 0);
  await journey.pull(second, 1);
  const [older, newer] = [await journey.verify(first), await journey.verify(second)];
  const oldState = journey.path('old-state');
  await loadInto(store, older, oldState);
  const state = await stateIn(store, oldState);
  const oldTags = await tagsIn(store.content, Object.keys(state?.tags ?? {}));
  assert.equal(Object.keys(oldTags).length, 3);
  const newState = journey.path('new-state');
  await cp(oldState, newState, { recursive: true });
  await loadInto(store, newer, newState);
  const newTags = await tagsIn(store.content, Object.keys(oldTags));
  assert.notDeepEqual(newTags, oldTags);
  return { journey, store, older, newer, oldState, want: await treeOf(newState), oldTags, newTags };
}

async function stateIn(store: Store, root: string): Promise<TargetState | undefined> {
  const text = await readFile(statePath(root, parseTarget(store.host), 'lumen'), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as TargetState);
}

/** Target and state as they are before the run: the older edition loaded, or nothing. */
async function start(b: Bench, root: string, loaded: boolean): Promise<void> {
  b.store.reset();
  if (!loaded) return;
  for (const { content, target, original } of b.older.contents) {
    for (const { repository, tag } of placesAt(parseTarget(b.store.host), content.ref, content.aliases ?? [])) {
      for (const blob of target.blobs) {
        const staging = await b.store.content.stage();
        for await (const chunk of b.older.store.read(blob)) await staging.write(Buffer.from(chunk));
        await staging.commit(repository, blob.digest);
      }
      for (const { descriptor, bytes } of [...target.manifests, ...(original?.manifests ?? [])])
        await b.store.content.putManifest(
          repository,
          { ...descriptor, bytes },
          tag !== undefined && descriptor.digest === content.targetDigest ? [tag] : [],
        );
    }
  }
  await cp(b.oldState, root, { recursive: true });
}

/** What must hold at every instant. */
async function checkTarget(b: Bench, root: string, name: string): Promise<'moved' | 'unmoved'> {
  const tags = await tagsIn(b.store.content, Object.keys(b.newTags));
  for (const tag of Object.keys(tags)) await requireComplete(b.store.content, tag);
  const moved = Object.keys(tags).filter((tag) => tags[tag] !== b.oldTags[tag]);
  for (const tag of moved) assert.equal(tags[tag], b.newTags[tag], name);
  if (moved.length === 0) return 'unmoved';
  const state = await stateIn(b.store, root);
  assert.equal(state?.highest.sequence, b.newer.generation.sequence, `${name}: a tag moved before the state said so`);
  b.store.requests.length = 0;
  await buryOwners(root);
  await rejectsWith(loadInto(b.store, b.older, root), 'E_ROLLBACK');
  assert.deepEqual(b.store.writes(), [], `${name}: a refused load wrote to the target`);
  return 'moved';
}

async function finish(b: Bench, root: string, name: string, fresh: boolean): Promise<void> {
  await buryOwners(root);
  await loadInto(b.store, b.newer, root);
  assert.deepEqual(await tagsIn(b.store.content, Object.keys(b.newTags)), b.newTags, name);
  for (const tag of Object.keys(b.newTags)) await requireComplete(b.store.content, tag);
  if (!fresh) assert.deepEqual(await treeOf(root), b.want, `${name}: the state after the rerun, with nothing beside it`);
  await rm(root, { recursive: true });
}

it('a load of a newer generation, killed around every change of its state', async (t) => {
  const b = await bench(t);
  const counted = createFaultFileSystem(disk);
  const whole = b.journey.path('state');
  await start(b, whole, true);
  await loadInto(b.store, b.newer, whole, { fs: counted });
  let [kills, moved] = [0, 0];
  for (const fault of killsOf(counted.operations)) {
    const name = faultName(fault, counted.operations);
    const root = b.journey.path('state');
    await start(b, root, true);
    const fs = createFaultFileSystem(disk, fault);
    await assert.rejects(loadInto(b.store, b.newer, root, { fs }), Killed, name);
    assert.equal(fs.struck, 1, name);
    if ((await checkTarget(b, root, name)) === 'moved') moved++;
    await finish(b, root, name, false);
    kills++;
  }
  t.diagnostic(`${kills} kills around ${counted.operations.length} changes; in ${moved} of them tags had moved`);
});

async function countRequests(b: Bench, loaded: boolean): Promise<number> {
  const root = b.journey.path('state');
  await start(b, root, loaded);
  const transport = faultyTransport();
  await loadInto(b.store, b.newer, root, { transport });
  return transport.sent;
}

it('a load killed at every request to the target, sent or not', async (t) => {
  const b = await bench(t);
  for (const loaded of [true, false]) {
    const count = await countRequests(b, loaded);
    let moved = 0;
    let kills = 0;
    for (let at = 1; at <= count; at++) {
      if (!loaded && at % 2 === 0) continue; // the update has every request of its own
      for (const when of ['lost', 'answer lost'] as const) {
        if (when === 'lost' && at > 1) continue; // request n unsent is request n - 1 answered in vain
        const name = `${loaded ? 'update' : 'first load'} killed at request ${at}, ${when}`;
        const root = b.journey.path('state');
        await start(b, root, loaded);
        const transport = faultyTransport({ at, when, leaves: 'killed' });
        await assert.rejects(loadInto(b.store, b.newer, root, { transport }), Killed, name);
        if ((await checkTarget(b, root, name)) === 'moved') moved++;
        await finish(b, root, name, !loaded);
        kills++;
      }
    }
    t.diagnostic(`${loaded ? 'update' : 'first load'}: ${kills} kills at ${count} requests; in ${moved} of them tags had moved`);
  }
});

it('a target that drops one connection at any request is loaded all the same', async (t) => {
  const b = await bench(t);
  const count = await countRequests(b, true);
  for (let at = 1; at <= count; at++) {
    const name = `connection dropped at request ${at}`;
    const root = b.journey.path('state');
    await start(b, root, true);
    await loadInto(b.store, b.newer, root, { transport: faultyTransport({ at, when: 'answer lost', leaves: 'dropped' }) });
    await finish(b, root, name, false);
  }
  t.diagnostic(`${count} drops`);
});

it('a target that is gone from any request on ends the load with 9 or 4, and a rerun finishes', async (t) => {
  const b = await bench(t);
  const count = await countRequests(b, true);
  const codes = new Map<string, number>();
  for (let at = 1; at <= count; at++) {
    const fault: WireFault = { at, when: 'lost', leaves: 'gone' };
    const name = `target gone from request ${at}`;
    const root = b.journey.path('state');
    await start(b, root, true);
    b.store.requests.length = 0;
    const error = await loadInto(b.store, b.newer, root, { transport: faultyTransport(fault) }).then(
      () => assert.fail(`${name}: it succeeded`),
      (e: unknown) => e,
    );
    assert.ok(isBundleError(error), `${name}: ${String(error)}`);
    // A POST alone opens an upload that nobody sees.
    const wrote = b.store.writes().some((r) => r.method === 'PUT');
    if (wrote) assert.equal(error.code, 'E_INCOMPLETE', name);
    else assert.ok(['E_INCOMPLETE', 'E_NETWORK'].includes(error.code), `${name}: ${error.code}`);
    codes.set(error.code, (codes.get(error.code) ?? 0) + 1);
    await checkTarget(b, root, name);
    await finish(b, root, name, false);
  }
  t.diagnostic(`${count} ends: ${[...codes].map(([code, n]) => `${code} ${n}`).join(', ')}`);
});
