import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { rejectsWith } from '../support/assert-code.ts';
import { blobOf, randomArtifact, randomImage, randomIndex } from '../support/random-image.ts';
import { pushBlob, pushManifest, type Setup, setUp } from './registry-client-harness.ts';

const BLOB = blobOf('a blob');

describe('rule 22: manifests', () => {
  it('are put with their type, byte for byte, under tag and digest', async (t) => {
    const setup = await setUp(t);
    const image = await randomImage({ seed: 5, docker: true });
    for (const blob of image.blobs) await pushBlob(setup, 'new/repo', blob);
    await pushManifest(setup, 'new/repo', image.digest, image);
    await pushManifest(setup, 'new/repo', 'v1', image);
    assert.deepEqual(setup.registry.manifestAt('new/repo', 'v1')?.bytes, image.root.bytes);
    assert.equal(setup.registry.seen('manifest', 'PUT')[0]?.headers['content-type'], image.root.mediaType);
  });

  const refused = (
    what: string,
    switches: Partial<Setup['registry']['switches']>,
    pattern: RegExp,
    repository = 'a/b',
    tag = 'v1',
  ) =>
    it(`${what}: a clear refusal, once`, async (t) => {
      const setup = await setUp(t, { switches });
      await assert.rejects(pushManifest(setup, repository, tag, setup.image), pattern);
      assert.equal(setup.registry.seen('manifest', 'PUT').length, 1);
    });
  refused('tag=immutable-400', { tag: 'immutable-400' }, /TAG_INVALID.*immutable/);
  refused('tag=immutable-409', { tag: 'immutable-409' }, /TAG_IMMUTABLE/);
  refused('repo=must-exist', { repo: 'must-exist' }, /does not exist|no such repository/, 'new/repo');
  refused('repo=two-segments', { repo: 'two-segments' }, /NAME_INVALID/, 'one/two/three');
  refused('repo=no-nested', { repo: 'no-nested' }, /NAME_INVALID/, 'one/two/three');
  refused('a blob that is missing', {}, /MANIFEST_BLOB_UNKNOWN/, 'new/repo');

  it('repo=must-exist: a blob is refused once, with the hint to make the repository', async (t) => {
    const setup = await setUp(t, { switches: { repo: 'must-exist' } });
    const error = await rejectsWith(pushBlob(setup, 'new/repo', BLOB), 'E_NOT_FOUND');
    assert.match(error.hint ?? '', /made first/);
    assert.equal(setup.registry.seen('upload', 'POST').length, 1);
  });

  it('manifest=sparse-refused: an index without its children is refused by what is missing', async (t) => {
    const setup = await setUp(t);
    const index = await randomIndex({ seed: 6 });
    await rejectsWith(pushManifest(setup, 'new/repo', 'v1', index), 'E_REGISTRY', /MANIFEST_BLOB_UNKNOWN/);
    setup.registry.switches.manifest = 'sparse-ok';
    await pushManifest(setup, 'new/repo', 'v1', index);
  });

  it('manifest=405-artifact: said', async (t) => {
    const setup = await setUp(t, { switches: { manifest: '405-artifact' } });
    await rejectsWith(pushManifest(setup, 'a/b', 'note', randomArtifact()), 'E_REGISTRY', /405/);
  });

  it('sha512=downgraded: a manifest that was stored under another name is E_DIGEST', async (t) => {
    const setup = await setUp(t, { switches: { sha512: 'downgraded' } });
    const image = await randomImage({ seed: 5, algorithm: 'sha512' });
    setup.registry.add('a/b', undefined, image);
    await rejectsWith(pushManifest(setup, 'a/b', image.digest, image), 'E_DIGEST');
    await rejectsWith(pushBlob(setup, 'a/b', blobOf('abc', 'sha512')), 'E_DIGEST');
  });

  it('sha512=refused: an error, never success', async (t) => {
    const setup = await setUp(t, { switches: { sha512: 'refused' } });
    await rejectsWith(pushBlob(setup, 'a/b', blobOf('abc', 'sha512')), 'E_REGISTRY');
  });

  it('manifest=stores-other-bytes: reading back finds it', async (t) => {
    const setup = await setUp(t, { switches: { manifest: 'stores-other-bytes' } });
    await pushManifest(setup, 'a/b', 'v2', setup.image);
    await rejectsWith(setup.client.getManifest(setup.origin, 'a/b', setup.image.digest), 'E_DIGEST');
  });

  it('upload=loses-after-201: not taken for success', async (t) => {
    const setup = await setUp(t, { switches: { upload: 'loses-after-201' } });
    await rejectsWith(pushBlob(setup, 'new/repo', BLOB), 'E_REGISTRY', /not there/);
  });
});

describe('rule 23: subjects', () => {
  it('OCI-Subject in the answer is reported, its absence too', async (t) => {
    const setup = await setUp(t);
    const artifact = randomArtifact({ subject: setup.image.descriptor });
    setup.registry.add('a/b', undefined, artifact);
    assert.equal((await pushManifest(setup, 'a/b', artifact.digest, artifact)).subjectHandled, true);
    setup.registry.switches.subjectHeader = 'never';
    assert.equal((await pushManifest(setup, 'a/b', artifact.digest, artifact)).subjectHandled, false);
  });
});
