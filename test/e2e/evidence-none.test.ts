import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { legacyTag } from '../../src/cosign/legacy.ts';
import { journey, lockOf, statementOf } from '../support/command-journey.ts';
import { type Fault, startFaultRegistry } from '../support/fault-registry.ts';
import { randomImage } from '../support/random-image.ts';

/** An image with a signature at a registry that refuses to say what there is. */
async function withRefusing(t: TestContext, fault?: Fault) {
  const j = await journey(t);
  const registry = await startFaultRegistry(t);
  j.allowPlainHttp(registry.host);
  const image = await randomImage({ seed: 1, layers: 1 });
  registry.add('team/app', '1.0', image);
  registry.add('team/app', legacyTag(image.digest, 'sig'), await randomImage({ seed: 2, layers: 1 }));
  const refusing = fault === undefined ? undefined : registry.inject(fault);
  const ref = `${registry.host}/team/app:1.0`;
  const manifest = (...settings: string[]): Promise<string> =>
    j.manifest('lumen', 'images:', `  - ref: "${ref}"`, ...settings.map((line) => `    ${line}`));
  const asked = (): string[] => registry.log().filter((line) => /referrers|sha256-/.test(line));
  return { j, registry, image, ref, manifest, asked, refusing };
}

const HARBOR: Fault = { on: 'referrers', times: Number.POSITIVE_INFINITY, does: { kind: 'answer', status: 401 } };
const ARTIFACTORY: Fault = {
  on: 'manifest',
  path: /sha256-/,
  times: Number.POSITIVE_INFINITY,
  does: { kind: 'answer', status: 403 },
};

describe('a registry that can not list signatures', () => {
  for (const [what, fault] of [
    ['answers 401 without a challenge where the referrers API is (Harbor before 2.8)', HARBOR],
    ["answers 403 for cosign's tags that are not there (Artifactory with a narrow token)", ARTIFACTORY],
  ] as const)
    test(`that ${what}: the lock fails and says what would do; with "evidence: none" everything else crosses`, async (t) => {
      const { j, registry, image, ref, manifest, asked } = await withRefusing(t, fault);
      const refused = await j.lock(await manifest());
      assert.equal(refused.code, 4, refused.stdout);
      assert.match(refused.stderr, /looking for signatures/);
      assert.match(refused.stderr, /hint: .*"evidence: none" for the image in the manifest/);
      registry.clear();
      const file = await manifest('evidence: none');
      const ran = await j.pull(file);
      assert.equal(ran.code, 0, ran.stderr);
      assert.deepEqual(asked(), []);
      const [item] = lockOf(file).items;
      assert.deepEqual([item?.evidenceAsked, item?.evidence, item?.evidenceAt], ['none', undefined, undefined]);
      const [content] = statementOf(j.bundle).contents;
      assert.equal(content?.ref, ref);
      assert.deepEqual(content?.verdict, { result: 'not-asked' });
      assert.ok(
        content?.evidence?.some((e) => e.tag === legacyTag(image.digest, 'sig')),
        'ours is there',
      );
      const loaded = await j.load();
      assert.equal(loaded.code, 0, loaded.stderr);
      registry.clear();
      assert.equal((await j.lock(file, '--update')).code, 0);
      assert.equal((await j.lock(file, '--check')).code, 0);
      assert.match((await j.pull(file)).stdout, /nothing new/);
      assert.deepEqual(asked(), []);
    });
});

describe('another wish for evidence', () => {
  test('makes what is locked stale; locking again asks, or forgets, and leaves digest and time alone', async (t) => {
    const { j, registry, manifest, asked } = await withRefusing(t);
    const file = await manifest();
    const first = await j.run(['lock', '-f', file], { now: 1_790_000_000_000 });
    assert.match(first.stdout, /^added .* {2}1 signature or referrer\n/);
    const [all] = lockOf(file).items;
    assert.equal(all?.evidence?.length, 1);

    await manifest('evidence: none');
    registry.clear();
    const frozen = await j.pull(file, '--frozen');
    assert.equal(frozen.code, 3);
    assert.match(frozen.stderr, /E_LOCK_STALE/);
    const none = await j.lock(file);
    assert.equal(none.code, 0, none.stderr);
    assert.match(none.stdout, /^evidence .*team\/app:1\.0 {2}signatures not asked for\n/);
    assert.deepEqual(registry.requests, []);
    const { evidence: _evidence, evidenceAt: _at, ...rest } = all as NonNullable<typeof all>;
    assert.deepEqual(lockOf(file).items, [{ ...rest, evidenceAsked: 'none' }]);
    assert.match((await j.lock(file)).stdout, /up to date/);

    await manifest('evidence: all');
    const again = await j.run(['lock', '-f', file, '--json'], { now: 1_790_000_000_000 });
    assert.equal(again.json().outcomes[0].outcome, 'evidence');
    assert.notDeepEqual(asked(), []);
    assert.deepEqual(lockOf(file).items, [all]);
  });

  test('that leaves nothing to verify by is refused before anything is asked', async (t) => {
    const { j, registry, manifest } = await withRefusing(t);
    const ran = await j.pull(await manifest('evidence: none', 'verify: {key: upstream.pub}'));
    assert.equal(ran.code, 3);
    assert.match(ran.stderr, /lumen\.yaml:5:15: images\[0\]\.evidence: nothing can be verified/);
    assert.deepEqual(registry.requests, []);
  });

  test('and "unsigned: allowed" beside it is recorded as such', async (t) => {
    const { j, manifest } = await withRefusing(t, HARBOR);
    const ran = await j.pull(await manifest('evidence: none', 'verify: {unsigned: allowed}'));
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual(statementOf(j.bundle).contents[0]?.verdict, { result: 'unsigned-allowed' });
  });
});
