import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type Digest, digestOf } from '../../../src/core/digest.ts';
import { BundleError } from '../../../src/core/errors.ts';
import { nodeFileSystem as fs } from '../../../src/files/node-file-system.ts';
import { afterOthers, incomplete } from '../../../src/load/incomplete.ts';
import {
  beginLoading,
  finishLoading,
  type Incoming,
  newestSeen,
  readOtherStates,
  readState,
  refusedBefore,
  requireNotOlder,
  requireOwnTags,
  statePath,
  type TargetState,
  writeState,
} from '../../../src/load/state.ts';
import { parseTarget } from '../../../src/load/target.ts';
import { rejectsWith, throwsWith } from '../../support/assert-code.ts';
import { tempDir } from '../../support/temp-dir.ts';

const of = (text: string): Digest => digestOf(Buffer.from(text));
const target = parseTarget('node-1:5000');
const incoming = (sequence: number, statement = `s${sequence}`, created = '2026-11-21T08:00:00Z'): Incoming => ({
  sequence,
  statement: of(statement),
  created,
});
const begin = (before: TargetState | undefined, next: Incoming): TargetState => beginLoading(before, 'lumen', target, next);
const loaded = (next: Incoming, tags: Record<string, Digest> = {}): TargetState => finishLoading(begin(undefined, next), tags);

describe('what is older', () => {
  test('nothing, where nothing was loaded before', () => {
    requireNotOlder(undefined, incoming(1), false);
  });

  test('a lower sequence is refused; an equal one with the same statement and a higher one pass', () => {
    const before = loaded(incoming(10));
    const error = throwsWith(() => requireNotOlder(before, incoming(9), false), 'E_ROLLBACK', /9 of "lumen" is older than 10/);
    assert.match(error.hint ?? '', /--allow-rollback/);
    requireNotOlder(before, incoming(10), false);
    requireNotOlder(before, incoming(11), false);
  });

  test('an equal sequence with another statement is refused', () => {
    throwsWith(() => requireNotOlder(loaded(incoming(10)), incoming(10, 'forged'), false), 'E_ROLLBACK', /differs/);
  });

  test('what was only begun counts already', () => {
    throwsWith(() => requireNotOlder(begin(undefined, incoming(10)), incoming(9), false), 'E_ROLLBACK');
  });

  test('--allow-rollback lets it pass, once: the highest never falls', () => {
    const high = loaded(incoming(10));
    requireNotOlder(high, incoming(3), true);
    const low = finishLoading(begin(high, incoming(3)), {});
    assert.deepEqual([low.highest.sequence, low.loaded?.sequence], [10, 3]);
    throwsWith(() => requireNotOlder(low, incoming(3), false), 'E_ROLLBACK');
    throwsWith(() => requireNotOlder(low, incoming(9), false), 'E_ROLLBACK');
    requireNotOlder(low, incoming(10), false);
  });
});

describe('the state of a load', () => {
  test('"loading" is there from the beginning to the end, "loaded" is the last whole one', () => {
    const first = loaded(incoming(1));
    const second = begin(first, incoming(2));
    assert.deepEqual([second.loading?.sequence, second.loaded?.sequence, second.highest.sequence], [2, 1, 2]);
    const done = finishLoading(second, {});
    assert.deepEqual([done.loading, done.loaded?.sequence], [undefined, 2]);
  });

  test('the newest time seen never falls', () => {
    const late = loaded(incoming(2, 's', '2026-12-01T00:00:00Z'));
    assert.equal(begin(late, incoming(3, 's', '2026-11-01T00:00:00Z')).newestCreated, '2026-12-01T00:00:00Z');
    assert.equal(begin(late, incoming(3, 's', '2027-01-01T00:00:00Z')).newestCreated, '2027-01-01T00:00:00Z');
  });

  test('tags are those of the last whole load, also while another one runs', () => {
    const before = loaded(incoming(1), { 'docker.io/a:1': of('a') });
    assert.deepEqual(begin(before, incoming(2)).tags, before.tags);
    assert.deepEqual(finishLoading(begin(before, incoming(2)), { b: of('b') }).tags, { b: of('b') });
  });

  test('what a target refused is remembered for a rerun of this very generation only', () => {
    const done = finishLoading(begin(undefined, incoming(1)), {}, [of('index'), of('index')]);
    assert.deepEqual(done.refused, [of('index')]);
    assert.deepEqual([...refusedBefore(done, incoming(1))], [of('index')]);
    assert.deepEqual([...refusedBefore(done, incoming(2))], []);
    assert.deepEqual(
      [...refusedBefore(begin(done, incoming(1)), incoming(1))],
      [],
      'not after a load that stopped in the middle',
    );
    assert.deepEqual([...refusedBefore(undefined, incoming(1))], []);
    assert.equal(finishLoading(begin(done, incoming(2)), {}).refused, undefined);
  });
});

describe('whose tag it is', () => {
  const tag = 'docker.io/library/redis:7';
  const other = { ...finishLoading(beginLoading(undefined, 'other', target, incoming(1)), { [tag]: of('theirs') }) };

  test('a tag that would move away from what another bundle put there is refused with both digests', () => {
    const error = throwsWith(() => requireOwnTags([other], { [tag]: of('ours') }, false), 'E_TAG_OWNED', /bundle "other"/);
    assert.ok(error.message.includes(of('theirs')) && error.message.includes(of('ours')));
    assert.match(error.hint ?? '', /--force-tags/);
  });

  test('one on which both agree, one that they do not have, and force pass', () => {
    requireOwnTags([other], { [tag]: of('theirs') }, false);
    requireOwnTags([other], { 'docker.io/library/redis:8': of('ours') }, false);
    requireOwnTags([other], { [tag]: of('ours') }, true);
    requireOwnTags([other], { constructor: of('ours') }, false);
  });
});

describe('state files', () => {
  const put = async (t: TestContext, name: string, state: TargetState, at = target): Promise<string> => {
    const root = await tempDir(t);
    await writeState(fs, statePath(root, at, name), state);
    return root;
  };

  test('are read as they were written; none is none', async (t) => {
    const state = loaded(incoming(5), { 'a:1': of('a') });
    const root = await put(t, 'lumen', state);
    assert.deepEqual(await readState(fs, statePath(root, target, 'lumen')), state);
    assert.equal(await readState(fs, statePath(root, target, 'none')), undefined);
  });

  const good = loaded(incoming(5));
  const faults: readonly (readonly [string, unknown])[] = [
    ['half a file', '{"stateVersion": 1, "na'],
    ['an empty file', ''],
    ['another version', { ...good, stateVersion: 2 }],
    ['no highest', { ...good, highest: undefined }],
    ['a highest of 0', { ...good, highest: { ...good.highest, sequence: 0 } }],
    ['a statement that is no digest', { ...good, highest: { sequence: 1, statement: 'x' } }],
    ['an unknown key', { ...good, hihgest: good.highest }],
    ['a time that is none', { ...good, newestCreated: 'never' }],
    ['the state of another bundle', { ...good, name: 'other' }],
    ['the state of another target', { ...good, target: 'node-2:5000' }],
  ];
  for (const [name, value] of faults)
    test(`${name} is E_ROLLBACK, not "never loaded"`, async (t) => {
      const path = statePath(await tempDir(t), target, 'lumen');
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, typeof value === 'string' ? value : JSON.stringify(value));
      await rejectsWith(readState(fs, path), 'E_ROLLBACK');
    });

  test('others at the same target are found, this bundle and other targets are not among them', async (t) => {
    const root = await put(t, 'lumen', good);
    await writeState(fs, statePath(root, target, 'other'), { ...good, name: 'other' });
    const elsewhere = parseTarget('node-2:5000');
    await writeState(fs, statePath(root, elsewhere, 'third'), { ...good, name: 'third', target: elsewhere.name });
    assert.deepEqual(
      (await readOtherStates(fs, root, target, 'lumen')).map((s) => s.name),
      ['other'],
    );
    assert.deepEqual(await readOtherStates(fs, root, parseTarget('node-3'), 'lumen'), []);
  });

  test('the newest time that any load has seen is that of all targets and bundles', async (t) => {
    const root = await put(t, 'lumen', loaded(incoming(1, 's', '2026-11-21T08:00:00Z')));
    const elsewhere = parseTarget('node-2:5000');
    const late = beginLoading(undefined, 'x', elsewhere, incoming(1, 's', '2026-12-24T18:00:00Z'));
    await writeState(fs, statePath(root, elsewhere, 'x'), late);
    assert.equal(await newestSeen(fs, root), Date.parse('2026-12-24T18:00:00Z'));
    assert.equal(await newestSeen(fs, `${root}/nothing`), 0);
  });
});

describe('exit code 9', () => {
  const network = new BundleError('E_NETWORK', 'connection refused', { hint: 'is it up?', detail: { failed: [] } });

  test('stands for what running again will finish; the cause stays visible', () => {
    const error = incomplete(network, 'node-1 was written in part') as BundleError;
    assert.equal(error.code, 'E_INCOMPLETE');
    assert.match(error.message, /node-1 was written in part: connection refused/);
    assert.match(error.hint ?? '', /is it up\?; then run the same command again/);
    assert.equal(error.detail.code, 'E_NETWORK');
    assert.match((incomplete(new BundleError('E_NETWORK', 'x'), 'y') as BundleError).hint ?? '', /^run the same command again/);
  });

  test('not for what running again will not mend', () => {
    for (const code of ['E_DIGEST', 'E_ROLLBACK', 'E_TARGET_DIGEST', 'E_LOCKED', 'E_INCOMPLETE'] as const) {
      const error = new BundleError(code, 'x');
      assert.equal(incomplete(error, 'y'), error);
    }
    const foreign = new TypeError('x');
    assert.equal(incomplete(foreign, 'y'), foreign);
  });

  test('also where only another target was written', () => {
    assert.equal((afterOthers(network, ['node-1:5000']) as BundleError).code, 'E_INCOMPLETE');
    assert.equal(afterOthers(network, []), network);
  });
});
