import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import type { Descriptor } from '../../../src/core/descriptor.ts';
import { type Digest, digestOf } from '../../../src/core/digest.ts';
import type { Evidence } from '../../../src/core/evidence.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { createEvidenceBudget } from '../../../src/lock/evidence-budget.ts';
import { createEvidenceFinder } from '../../../src/lock/find-evidence.ts';
import { createManifestReader } from '../../../src/lock/resolve.ts';
import { createRegistryClient } from '../../../src/registry/client.ts';
import { fakeClock } from '../../contract/registry-client-harness.ts';
import { rejectsWith, throwsWith } from '../../support/assert-code.ts';
import { type FaultRegistry, type Switches, startFaultRegistry } from '../../support/fault-registry.ts';
import { clientOf } from '../../support/journey.ts';
import { indexOf, randomArtifact, randomImage, randomIndex, type TestImage } from '../../support/random-image.ts';

const BUNDLE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const tagOf = (digest: string, kind = ''): string => `${digest.replace(':', '-')}${kind}`;
const refersTo = (subject: TestImage, seed: number, artifactType = 'application/vnd.example.note'): TestImage =>
  randomArtifact({ seed, subject: subject.descriptor, artifactType, bytes: 50 });

/** An image of two platforms at `a/b:1`, and the finder with the request counts of its registry. */
async function setUp(t: TestContext, switches: Partial<Switches> = {}) {
  const registry = await startFaultRegistry(t, { switches });
  const image = await randomIndex({ layers: 1, files: 1, bytes: 300 });
  registry.add('a/b', '1', image);
  const [first, second] = image.children as [TestImage, TestImage];
  const client = createRegistryClient({
    credentials: { find: async () => undefined },
    plainHttp: [registry.host],
    environment: {},
    clock: fakeClock(),
    concurrency: 4,
  });
  t.after(() => client.close());
  const run = () => createEvidenceFinder(client, createManifestReader(client));
  const find = (...subjects: Digest[]): Promise<Evidence[]> =>
    run()({ origin: registry.host, repository: 'a/b' }, subjects.length === 0 ? [image.digest, first.digest] : subjects);
  return { registry, image, first, second, client, run, find };
}

const asEvidence = (subject: TestImage, found: TestImage, kind?: string): Evidence => ({
  subject: subject.digest,
  ...(kind === undefined ? {} : { tag: tagOf(subject.digest, kind) }),
  digest: found.digest,
  mediaType: found.root.mediaType,
  size: found.root.size,
});
const same = (found: readonly Evidence[], ...wanted: Evidence[]): void => {
  const order = (e: Evidence): string => `${e.subject} ${e.tag ?? ''} ${e.digest}`;
  assert.deepEqual(
    found,
    [...wanted].sort((a, b) => (order(a) < order(b) ? -1 : 1)),
  );
};

/** Referrers as a client without the API keeps them: listed under a tag, here with the fields of `listed`. */
function listUnderTag(
  registry: FaultRegistry,
  subject: TestImage,
  referrers: readonly TestImage[],
  listed: Partial<Descriptor> = {},
) {
  for (const referrer of referrers) registry.add('a/b', undefined, referrer);
  const entries = referrers.map((referrer) => {
    const { mediaType, digest, size } = referrer.descriptor;
    return { ...referrer, descriptor: { mediaType, digest, size, ...listed } };
  });
  registry.add('a/b', tagOf(subject.digest), indexOf(entries));
}

/** A list of referrers that are not there. */
const inventedList = (subject: TestImage, count: number): string =>
  JSON.stringify({
    schemaVersion: 2,
    manifests: Array.from({ length: count }, (_, i) => ({
      ...refersTo(subject, 1).descriptor,
      digest: digestOf(Buffer.from(`${subject.digest} ${i}`)),
    })),
  });

describe('evidence at the origin', () => {
  for (const referrers of ['api', '404-json'] as const) {
    test(`referrers=${referrers}: what is under cosign's tags and what refers to an index and to its platforms is found`, async (t) => {
      const { registry, image, first, find } = await setUp(t, { referrers });
      const [sig, att, sbom, note, bundle] = [
        randomArtifact({ seed: 11 }),
        randomArtifact({ seed: 12 }),
        randomArtifact({ seed: 13 }),
        refersTo(image, 14),
        refersTo(first, 15, BUNDLE),
      ];
      registry.add('a/b', tagOf(image.digest, '.sig'), sig);
      registry.add('a/b', tagOf(first.digest, '.att'), att);
      registry.add('a/b', tagOf(first.digest, '.sbom'), sbom);
      if (referrers === 'api') for (const one of [note, bundle]) registry.add('a/b', undefined, one);
      else {
        listUnderTag(registry, image, [note]);
        listUnderTag(registry, first, [bundle]);
      }
      same(
        await find(),
        asEvidence(image, sig, '.sig'),
        asEvidence(first, att, '.att'),
        asEvidence(first, sbom, '.sbom'),
        asEvidence(image, note),
        asEvidence(first, bundle),
      );
    });
  }

  test('what is about a platform that is not carried is not asked for', async (t) => {
    const { registry, second, find } = await setUp(t);
    registry.add('a/b', tagOf(second.digest, '.sig'), randomArtifact({ seed: 11 }));
    registry.add('a/b', undefined, refersTo(second, 12));
    assert.deepEqual(await find(), []);
    assert.ok(!registry.log().some((line) => line.includes(second.digest.slice(7))));
  });

  test('referrers of referrers are found, and the signature of an SBOM under its tag', async (t) => {
    const { registry, image, find } = await setUp(t);
    const sbom = refersTo(image, 21);
    const onSbom = refersTo(sbom, 22, BUNDLE);
    const onThat = refersTo(onSbom, 23);
    const [tagged, itsSignature] = [randomArtifact({ seed: 24 }), randomArtifact({ seed: 25 })];
    for (const one of [sbom, onSbom, onThat]) registry.add('a/b', undefined, one);
    registry.add('a/b', tagOf(image.digest, '.sbom'), tagged);
    registry.add('a/b', tagOf(tagged.digest, '.sig'), itsSignature);
    same(
      await find(image.digest),
      asEvidence(image, sbom),
      asEvidence(sbom, onSbom),
      asEvidence(onSbom, onThat),
      asEvidence(image, tagged, '.sbom'),
      asEvidence(tagged, itsSignature, '.sig'),
    );
  });

  test('a chain of referrers without end is E_LIMIT', async (t) => {
    const { registry, image, find } = await setUp(t);
    let last = image;
    for (let i = 0; i < 10; i++) {
      last = refersTo(last, 30 + i);
      registry.add('a/b', undefined, last);
    }
    await rejectsWith(find(image.digest), 'E_LIMIT', /referrers of referrers/);
  });

  test('more than one image can have is E_LIMIT, before any of it is read', async (t) => {
    const { registry, image, first, second, find } = await setUp(t);
    for (const subject of [image, first, second])
      registry.inject({
        on: 'referrers',
        path: new RegExp(subject.digest),
        does: {
          kind: 'answer',
          status: 200,
          headers: { 'content-type': image.root.mediaType },
          body: inventedList(subject, 900),
        },
      });
    await rejectsWith(find(image.digest, first.digest, second.digest), 'E_LIMIT', /more than 2000 of one image/);
    assert.equal(registry.seen('manifest', 'GET').length, 0);
  });

  test('manifests of more bytes than one image can have are E_LIMIT, and the rest is not read', async (t) => {
    const { registry, image, client, find } = await setUp(t, { referrers: '404-json' });
    const pad = 'x'.repeat(1_500_000);
    const large = Array.from({ length: 40 }, (_, i) =>
      randomArtifact({ seed: 100 + i, subject: image.descriptor, annotations: { pad } }),
    );
    listUnderTag(registry, image, large);
    const error = await rejectsWith(find(image.digest), 'E_LIMIT', /more than 33554432 bytes/);
    assert.match(error.hint ?? '', /"evidence: none"/);
    // Behind whatever still waits for its turn.
    await client.inSlot(registry.host, async () => undefined);
    assert.ok(registry.seen('manifest', 'GET').length < 30, 'of 41 with the list');
  });

  test('all images of a run share a budget, in which one manifest of a repository counts once', () => {
    const budgetFor = createEvidenceBudget();
    const bytes = LIMITS.imageEvidenceBytes;
    const digests = Array.from({ length: 6 }, (_, i) => digestOf(Buffer.from(`${i}`)));
    const take = (i: number): void => budgetFor('a/b', `image ${i}`).take(digests[i] as Digest, bytes);
    for (const i of [0, 0, 0, 1, 2, 3]) take(i);
    throwsWith(() => take(4), 'E_LIMIT', /image 4: .* of all images/);
    throwsWith(() => budgetFor('a/b', 'another').check(), 'E_LIMIT');
  });

  test('one size is believed, that of the bytes: the list and HEAD may say another', async (t) => {
    const { registry, image, find } = await setUp(t, { referrers: '404-json', headLies: 'size' });
    const [sig, note] = [randomArtifact({ seed: 41 }), refersTo(image, 42)];
    registry.add('a/b', tagOf(image.digest, '.sig'), sig);
    listUnderTag(registry, image, [note], { size: 7 });
    same(await find(image.digest), asEvidence(image, sig, '.sig'), asEvidence(image, note));
  });

  for (const listed of [{}, { artifactType: 'application/vnd.oci.empty.v1+json' }]) {
    test(`a fallback index whose entries say ${JSON.stringify(listed)} and nothing else is read`, async (t) => {
      const { registry, image, find } = await setUp(t, { referrers: '404-json' });
      const bundle = refersTo(image, 51, BUNDLE);
      listUnderTag(registry, image, [bundle], listed);
      same(await find(image.digest), asEvidence(image, bundle));
    });
  }

  test('a fallback tag that "cosign copy" wrote, on the image itself or on another index, lists no referrers', async (t) => {
    const { registry, image, first, second, find } = await setUp(t, { referrers: '404-json' });
    registry.add('a/b', tagOf(image.digest), image);
    registry.add('a/b', tagOf(first.digest), first);
    registry.add('a/b', tagOf(second.digest), indexOf([first, second]));
    assert.deepEqual(await find(image.digest, first.digest, second.digest), []);
  });

  test('a referrer that is listed and was deleted is not there, and the lock does not fail for it', async (t) => {
    const { registry, image, find } = await setUp(t, { referrers: '404-json' });
    const [gone, kept] = [refersTo(image, 61), refersTo(image, 62)];
    listUnderTag(registry, image, [gone, kept]);
    registry.storage.repository('a/b').manifests.delete(gone.digest);
    same(await find(image.digest), asEvidence(image, kept));
  });

  test('a list names something that is about another image: it is not evidence of this one', async (t) => {
    const { registry, image, first, find } = await setUp(t, { referrers: '404-json' });
    listUnderTag(registry, image, [refersTo(first, 71), randomArtifact({ seed: 72 })]);
    assert.deepEqual(await find(image.digest), []);
  });

  test('a sha512 image has referrers and no tags of cosign, which would be too long', async (t) => {
    const { registry, find } = await setUp(t);
    const image = await randomImage({ seed: 9, layers: 1, files: 1, bytes: 300, algorithm: 'sha512' });
    registry.add('a/b', undefined, image);
    const note = refersTo(image, 73);
    registry.add('a/b', undefined, note);
    same(await find(image.digest), asEvidence(image, note));
    assert.deepEqual(
      registry.log().filter((line) => line.includes('sha512-')),
      [],
    );
  });
});

describe('"could not list" is never "there is none"', () => {
  test("what the registry's own list names and does not have is an error, read for the first time or known", async (t) => {
    const { registry, image, run } = await setUp(t);
    const note = refersTo(image, 75);
    registry.add('a/b', undefined, note);
    const at = { origin: registry.host, repository: 'a/b' };
    const known = await run()(at, [image.digest]);
    same(known, asEvidence(image, note));
    registry.inject({
      on: 'manifest',
      times: Number.POSITIVE_INFINITY,
      path: new RegExp(note.digest),
      does: { kind: 'answer', status: 404 },
    });
    await rejectsWith(run()(at, [image.digest]), 'E_NOT_FOUND', /looking for signatures/);
    await rejectsWith(run()(at, [image.digest], known), 'E_NOT_FOUND', /looking for signatures/);
  });

  for (const [status, code] of [
    [401, 'E_AUTH'],
    [403, 'E_AUTH'],
    [429, 'E_RATE_LIMIT'],
    [500, 'E_REGISTRY'],
    [503, 'E_REGISTRY'],
  ] as const) {
    for (const on of ['referrers', 'manifest'] as const)
      test(`${status} to ${on === 'manifest' ? "one of cosign's tags" : 'the referrers API'} is ${code}`, async (t) => {
        const { registry, image, find } = await setUp(t);
        registry.inject({ on, times: 999, does: { kind: 'answer', status } });
        const error = await rejectsWith(find(image.digest), code, /looking for signatures/);
        assert.ok(error.hint);
        // A limit on how often to ask passes: it is no reason to leave signatures behind.
        assert.equal(error.hint.includes('"evidence: none"'), status !== 429, error.hint);
      });
  }

  for (const body of [
    '{',
    '[]',
    '{"errors":[]}',
    '{"manifests":{}}',
    '{"manifests":[7]}',
    '{"manifests":[{"digest":"sha256:0"}]}',
  ])
    test(`an answer ${body} of the API is an error`, async (t) => {
      const { registry, image, find } = await setUp(t);
      registry.inject({
        on: 'referrers',
        times: 999,
        does: { kind: 'answer', status: 200, headers: { 'content-type': 'application/vnd.oci.image.index.v1+json' }, body },
      });
      const error = await find(image.digest).then(
        () => undefined,
        (reason: { code: string }) => reason,
      );
      assert.match(error?.code ?? 'found none', /^E_(REGISTRY|DIGEST_INVALID)$/);
    });

  test('an empty list as Go writes a nil slice is an empty list', async (t) => {
    const { registry, image, find } = await setUp(t);
    registry.inject({
      on: 'referrers',
      times: 999,
      does: {
        kind: 'answer',
        status: 200,
        headers: { 'content-type': 'application/vnd.oci.image.index.v1+json' },
        body: '{"schemaVersion":2,"manifests":null}',
      },
    });
    assert.deepEqual(await find(image.digest), []);
  });

  test('a fallback index that is broken is an error', async (t) => {
    const { registry, image, find } = await setUp(t, { referrers: '404-json' });
    const index = indexOf([refersTo(image, 81)]);
    const bytes = Buffer.from(index.root.bytes.toString().replace('"manifests":[', '"manifests":[7,'));
    const root = { ...index.root, bytes, digest: digestOf(bytes), size: bytes.length };
    registry.add('a/b', tagOf(image.digest), { ...index, root, digest: root.digest, manifests: [root] });
    await rejectsWith(find(image.digest), 'E_OCI_MANIFEST');
  });

  test('a HEAD that is refused where GET is answered is no refusal', async (t) => {
    const { registry, image, find } = await setUp(t);
    const sig = randomArtifact({ seed: 91 });
    registry.add('a/b', tagOf(image.digest, '.sig'), sig);
    registry.inject({ on: 'manifest', method: 'HEAD', times: 999, does: { kind: 'answer', status: 403 } });
    same(await find(image.digest), asEvidence(image, sig, '.sig'));
  });

  test('a signature that is found by its tag and not by its digest (registry.k8s.io) is read by its tag', async (t) => {
    const { registry, image, find } = await setUp(t);
    const sig = randomArtifact({ seed: 92 });
    registry.add('a/b', tagOf(image.digest, '.sig'), sig);
    registry.inject({
      on: 'manifest',
      method: 'GET',
      times: 999,
      path: new RegExp(sig.digest),
      does: { kind: 'answer', status: 404 },
    });
    same(await find(image.digest), asEvidence(image, sig, '.sig'));
  });
});

describe('what it costs', () => {
  test('an image without evidence: three HEADs and one list for each manifest carried', async (t) => {
    const { registry, find } = await setUp(t);
    assert.deepEqual(await find(), []);
    assert.deepEqual(
      [registry.seen('manifest', 'HEAD').length, registry.seen('referrers').length, registry.requests.length],
      [6, 2, 8],
    );
  });

  test('without the API: it is asked for once in each repository, and then the fallback tag by HEAD', async (t) => {
    const { registry, image, first, second, find } = await setUp(t, { referrers: '404-json' });
    assert.deepEqual(await find(image.digest, first.digest, second.digest), []);
    assert.deepEqual([registry.seen('referrers').length, registry.seen('manifest', 'HEAD').length], [1, 12]);
    assert.equal(registry.seen('manifest', 'GET').length, 0, 'Docker Hub counts GETs of manifests');
  });

  test('asking again what is known costs no GET of a manifest, and what was deleted since is found out', async (t) => {
    const { registry, image, first, run } = await setUp(t, { referrers: '404-json' });
    const [sig, kept, gone] = [randomArtifact({ seed: 96 }), refersTo(image, 97), refersTo(first, 98)];
    registry.add('a/b', tagOf(image.digest, '.sig'), sig);
    listUnderTag(registry, image, [kept]);
    listUnderTag(registry, first, [gone]);
    const at = { origin: registry.host, repository: 'a/b' };
    const known = await run()(at, [image.digest, first.digest]);
    same(known, asEvidence(image, sig, '.sig'), asEvidence(image, kept), asEvidence(first, gone));
    registry.clear();
    assert.deepEqual(await run()(at, [image.digest, first.digest], known), known);
    const got = registry.seen('manifest', 'GET').map((r) => r.url.split('/').at(-1));
    assert.deepEqual(got.sort(), [tagOf(image.digest), tagOf(first.digest)].sort(), 'the fallback indexes alone');
    registry.storage.repository('a/b').manifests.delete(gone.digest);
    same(await run()(at, [image.digest, first.digest], known), asEvidence(image, sig, '.sig'), asEvidence(image, kept));
  });

  test('images of one repository that share manifests share the answers', async (t) => {
    const { registry, image, first, run } = await setUp(t);
    const find = run();
    const at = { origin: registry.host, repository: 'a/b' };
    await Promise.all([find(at, [image.digest, first.digest]), find(at, [first.digest]), find(at, [image.digest])]);
    assert.equal(registry.requests.length, 8);
  });

  test('with one slot for everything it ends', async (t) => {
    const { registry, image, first } = await setUp(t);
    registry.add('a/b', undefined, refersTo(image, 95));
    const client = clientOf([registry.host], { concurrency: 1 });
    t.after(() => client.close());
    const find = createEvidenceFinder(client, createManifestReader(client));
    const found = await find({ origin: registry.host, repository: 'a/b' }, [image.digest, first.digest]);
    assert.equal(found.length, 1);
  });
});
