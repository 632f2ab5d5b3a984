/**
 * The conformance suite against content that is there already: a writable registry that is served read-only, and a verified bundle. With deletes
 * on, every delete is 405 (which the suite counts as a skip), and nothing vanishes.
 */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { startRegistry } from '../../src/serve/server.ts';
import { journey } from '../support/command-journey.ts';
import { type ReadOnlyOptions, runReadOnlySuite } from '../support/conformance/run.ts';
import { faultsOf, summaryOf } from '../support/conformance/verdicts.ts';
import { putImage } from '../support/journey.ts';
import { randomArtifact, randomIndex, type TestImage } from '../support/random-image.ts';
import { STORES } from './serve-harness.ts';

type Named = Pick<ReadOnlyOptions, 'tags' | 'manifests' | 'blobs' | 'subjects'>;

/** An index of two images and something that refers to it. */
async function makeImages(): Promise<{ index: TestImage; sbom: TestImage; named: Named }> {
  const index = await randomIndex({ seed: 1, bytes: 20_000 });
  const sbom = randomArtifact({ seed: 2, subject: index.descriptor, artifactType: 'application/vnd.example.sbom' });
  const manifests = [...index.manifests, ...sbom.manifests].map(({ digest }) => digest);
  const blobs = [...new Set([...index.blobs, ...sbom.blobs].map(({ digest }) => digest))];
  return { index, sbom, named: { tags: ['1.0', 'sbom'], manifests, blobs, subjects: [index.digest] } };
}

async function assertConforms(t: TestContext, options: Pick<ReadOnlyOptions, 'base' | 'repository'> & Named): Promise<void> {
  const read = 2 * (options.tags.length + options.manifests.length + options.blobs.length);
  const passes = 8 + read;
  for (const version of ['1.1', 'dev'] as const) {
    const reading = await runReadOnlySuite({ ...options, version, deletes: false });
    t.diagnostic(`${version}, read-only: ${summaryOf(reading)}`);
    assert.deepEqual(faultsOf(reading), []);
    assert.equal(summaryOf(reading), `${passes}/0/0`);
    const deleting = await runReadOnlySuite({ ...options, version, deletes: true });
    // One manifest and two blobs that are nowhere are asked for too; each delete counts twice.
    const skips = 2 * (options.manifests.length + options.blobs.length + 3);
    assert.equal(summaryOf(deleting), `${passes}/0/${skips}`, faultsOf(deleting).join('\n'));
    for (const { name, why } of deleting.of('skip')) {
      assert.match(name, /\/(delete|gone)$/);
      assert.match(why, /^(deletes are 405|not deleted)$/);
    }
    assert.equal(summaryOf(await runReadOnlySuite({ ...options, version, deletes: false })), `${passes}/0/0`);
  }
}

describe('read-only conformance', () => {
  for (const store of STORES) {
    test(`a writable registry that is served read-only, over ${store.name}`, async (t) => {
      const { index, sbom, named } = await makeImages();
      const content = await store.open(t);
      await putImage(content, 'team/app', '1.0', index);
      await putImage(content, 'team/app', 'sbom', sbom);
      const registry = await startRegistry({ content, readOnly: true });
      t.after(() => registry.close(0));
      await assertConforms(t, { base: registry.url, repository: 'team/app', ...named });
    });
  }

  test('a bundle, straight from its directory', async (t) => {
    const { index, sbom, named } = await makeImages();
    const j = await journey(t);
    const [origin] = j.origins;
    await origin.put('team/app', '1.0', index);
    await origin.put('team/app', 'sbom', sbom);
    const file = await j.manifest('lumen', `images: [${origin.host}/team/app:1.0, ${origin.host}/team/app:sbom]`);
    assert.equal((await j.pull(file)).code, 0);
    const abort = new AbortController();
    let announce: (text: string) => void = () => undefined;
    const announced = new Promise<string>((resolve) => {
      announce = resolve;
    });
    const argv = ['serve', j.bundle, '--listen', '127.0.0.1:0', '--trust', j.key.pub, '--state', j.path('state'), '--json'];
    const ended = j.run(argv, { signal: abort.signal, onStdout: announce });
    t.after(async () => {
      abort.abort('SIGINT');
      await ended;
    });
    const ready = await Promise.race([announced, ended.then((ran) => assert.fail(`it ended with ${ran.code}: ${ran.stderr}`))]);
    const { url } = JSON.parse(ready) as { url: string };
    const repository = j.at(origin, 'team/app');
    await assertConforms(t, { base: url, repository, ...named });
    assert.deepEqual(await (await fetch(`${url}/v2/_catalog`)).json(), { repositories: [repository] });
    const held = { headers: { 'if-none-match': `"${index.digest}"` } };
    assert.equal((await fetch(`${url}/v2/${repository}/manifests/1.0`, held)).status, 304);
  });
});
