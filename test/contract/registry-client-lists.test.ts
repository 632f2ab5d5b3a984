import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { digestOf } from '../../src/core/digest.ts';
import { rejectsWith } from '../support/assert-code.ts';
import type { Switches } from '../support/fault-registry.ts';
import { indexOf, randomArtifact, schema1Image } from '../support/random-image.ts';
import { type Setup, setUp } from './registry-client-harness.ts';

const tags = (setup: Setup) => setup.client.listTags(setup.origin, 'a/b');

async function manyTags(t: Parameters<typeof setUp>[0], form: Switches['tags']): Promise<Setup> {
  const setup = await setUp(t, { switches: { tags: form } });
  for (let i = 0; i < 250; i++) setup.registry.storage.repository('a/b').tags.set(`t${i}`, setup.image.digest);
  return setup;
}

describe('rule 26: pages of tags', () => {
  for (const form of ['normal', 'cap-100', 'n-max-1000', 'link-absolute', 'nulls', 'digests'] as const) {
    it(`tags=${form}: all 251, and nothing else`, async (t) => {
      const found = await tags(await manyTags(t, form));
      assert.equal(found.length, 251);
      assert.deepEqual(found, [...found].sort());
    });
  }

  it('tags=link-other-host: pages of another host are not fetched', async (t) => {
    const setup = await manyTags(t, 'link-other-host');
    setup.registry.switches.tags = 'cap-100';
    setup.registry.inject({
      on: 'tags',
      does: { kind: 'headers', set: { link: `<${setup.registry.urls.elsewhere}/v2/a/b/tags/list?last=t1>; rel="next"` } },
    });
    await rejectsWith(tags(setup), 'E_REDIRECT');
    assert.equal(setup.registry.seen(undefined, undefined, 'elsewhere').length, 0);
  });

  it('tags=self-link: a page that names itself is found at once', async (t) => {
    const setup = await setUp(t, { switches: { tags: 'self-link' } });
    await rejectsWith(tags(setup), 'E_TOO_MANY_PAGES');
    assert.ok(setup.registry.requests.length <= 2);
  });

  it('tags=endless: ends', async (t) => {
    const setup = await setUp(t, { switches: { tags: 'endless' } });
    await rejectsWith(tags(setup), 'E_TOO_MANY_PAGES');
    assert.ok(setup.registry.requests.length <= 1001);
  });

  it('a page without end is E_LIMIT', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'tags', does: { kind: 'endless' } });
    await rejectsWith(tags(setup), 'E_LIMIT');
  });

  it('a missing repository is E_NOT_FOUND', async (t) => {
    const setup = await setUp(t);
    await rejectsWith(setup.client.listTags(setup.origin, 'no/such'), 'E_NOT_FOUND');
  });
});

const note = (setup: Setup, seed = 1) =>
  randomArtifact({ seed, subject: setup.image.descriptor, artifactType: 'application/vnd.example.note' });
const referrers = (setup: Setup) => setup.client.listReferrers(setup.origin, 'a/b', setup.image.digest);

describe('rule 24: referrers', () => {
  it('come from the API, with their type', async (t) => {
    const setup = await setUp(t);
    const artifact = note(setup);
    setup.registry.add('a/b', undefined, artifact);
    const found = await referrers(setup);
    assert.equal(found.api, true);
    assert.deepEqual(
      found.descriptors.map((d) => [d.digest, d.artifactType]),
      [[artifact.digest, 'application/vnd.example.note']],
    );
  });

  it('are none, by the API, where there are none', async (t) => {
    assert.deepEqual(await referrers(await setUp(t)), { api: true, descriptors: [] });
  });

  for (const form of ['404-json', '404-html', '405', '406', '400', '200-html'] as const) {
    it(`referrers=${form}: means no API, so the tag is asked`, async (t) => {
      const setup = await setUp(t, { switches: { referrers: form } });
      assert.deepEqual(await referrers(setup), { api: false, descriptors: [] });
      const artifact = note(setup);
      setup.registry.add('a/b', setup.image.digest.replace(':', '-'), indexOf([artifact]));
      const found = await referrers(setup);
      assert.equal(found.api, false);
      assert.deepEqual(
        found.descriptors.map((d) => d.digest),
        [artifact.digest],
      );
    });
  }

  it('of a sha512 subject are under a tag with half of its hex', async (t) => {
    const setup = await setUp(t, { switches: { referrers: '404-json' } });
    const artifact = note(setup);
    const subject = digestOf(setup.image.root.bytes, 'sha512');
    setup.registry.add('a/b', subject.replace(':', '-').slice(0, 'sha512-'.length + 64), indexOf([artifact]));
    const found = await setup.client.listReferrers(setup.origin, 'a/b', subject);
    assert.deepEqual(
      found.descriptors.map((d) => d.digest),
      [artifact.digest],
    );
  });

  it('referrers=503: is an error and never "none"', async (t) => {
    await rejectsWith(referrers(await setUp(t, { switches: { referrers: '503' } })), 'E_REGISTRY');
  });

  it('429 is an error and never "none"', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'referrers', times: 99, does: { kind: 'answer', status: 429 } });
    await rejectsWith(referrers(setup), 'E_RATE_LIMIT');
  });

  it('an error of the fallback tag is an error and never "none"', async (t) => {
    const setup = await setUp(t, { switches: { referrers: '404-json' } });
    setup.registry.inject({ on: 'manifest', times: 99, does: { kind: 'answer', status: 500 } });
    await rejectsWith(referrers(setup), 'E_REGISTRY');
  });

  it('fallback-tag=resolves-digest (GitLab): the subject is not its own referrer', async (t) => {
    const setup = await setUp(t, { switches: { referrers: '404-json', fallbackTag: 'resolves-digest' } });
    assert.deepEqual(await referrers(setup), { api: false, descriptors: [] });
  });

  it('a fallback tag on an image and not an index is no list', async (t) => {
    const setup = await setUp(t, { switches: { referrers: '404-json' } });
    setup.registry.add('a/b', setup.image.digest.replace(':', '-'), note(setup));
    assert.deepEqual((await referrers(setup)).descriptors, []);
  });

  it('the fallback tag alone costs one HEAD where it is not there, and no GET that Docker Hub would count', async (t) => {
    const setup = await setUp(t, { switches: { referrers: '404-json' } });
    const tagged = () => setup.client.listTaggedReferrers(setup.origin, 'a/b', setup.image.digest);
    assert.deepEqual(await tagged(), []);
    assert.deepEqual(
      setup.registry.requests.map((r) => r.method),
      ['HEAD'],
    );
    const artifact = note(setup);
    setup.registry.add('a/b', setup.image.digest.replace(':', '-'), indexOf([artifact]));
    assert.deepEqual(
      (await tagged()).map((d) => d.digest),
      [artifact.digest],
    );
  });

  it('a fallback tag on an image of schema 1 is no list', async (t) => {
    const setup = await setUp(t, { switches: { referrers: '404-json' } });
    setup.registry.add('a/b', setup.image.digest.replace(':', '-'), schema1Image());
    assert.deepEqual((await referrers(setup)).descriptors, []);
  });

  it('a fallback index with more than can be read is an error and not cut short', async (t) => {
    const setup = await setUp(t, { switches: { referrers: '404-json' } });
    const artifact = note(setup);
    const entries = Array.from({ length: 1001 }, (_, i) => ({
      ...artifact,
      descriptor: { ...artifact.descriptor, digest: digestOf(Buffer.from(`${i}`)) },
    }));
    setup.registry.add('a/b', setup.image.digest.replace(':', '-'), { ...indexOf(entries), manifests: [indexOf(entries).root] });
    await rejectsWith(referrers(setup), 'E_TOO_MANY_PAGES');
  });

  for (const form of ['endless', 'self-link', 'many'] as const) {
    it(`referrers=${form}: ends, in bounds`, async (t) => {
      const setup = await setUp(t, { switches: { referrers: form } });
      const error = await referrers(setup).then(
        () => undefined,
        (reason: { code: string }) => reason,
      );
      assert.match(error?.code ?? 'success', /^E_(TOO_MANY_PAGES|LIMIT)$/);
    });
  }
});

describe('what a tag means', () => {
  it('is asked by HEAD; where that is refused or says too little by GET; 404 means that there is no such tag', async (t) => {
    const setup = await setUp(t);
    const lookUp = (tag: string) => setup.client.lookUp(setup.origin, 'a/b', tag);
    const methods = () => {
      const asked = setup.registry.seen('manifest').map((r) => r.method);
      setup.registry.clear();
      return asked;
    };
    assert.equal((await lookUp('v1'))?.digest, setup.image.digest);
    assert.equal(await lookUp('v2'), undefined);
    assert.deepEqual(methods(), ['HEAD', 'HEAD']);
    for (const status of [401, 403, 405]) {
      const fault = setup.registry.inject({ on: 'manifest', method: 'HEAD', times: 99, does: { kind: 'answer', status } });
      assert.equal((await lookUp('v1'))?.digest, setup.image.digest);
      assert.equal(await lookUp('v2'), undefined);
      assert.deepEqual(methods(), ['HEAD', 'GET', 'HEAD', 'GET']);
      fault.stop();
    }
  });

  it('is an error where GET is refused too', async (t) => {
    const setup = await setUp(t);
    setup.registry.inject({ on: 'manifest', times: 99, does: { kind: 'answer', status: 403 } });
    await rejectsWith(setup.client.lookUp(setup.origin, 'a/b', 'v1'), 'E_AUTH');
  });
});

describe('rule 25: registries that say one thing and have another', () => {
  it('referrers=api-no-subject-header (Quay): the answer of the push says nothing, the API does', async (t) => {
    const setup = await setUp(t, { switches: { subjectHeader: 'never' } });
    const artifact = note(setup);
    setup.registry.add('a/b', undefined, artifact);
    assert.equal((await setup.client.putManifest(setup.origin, 'a/b', artifact.digest, artifact.root)).subjectHandled, false);
    assert.equal((await referrers(setup)).api, true);
  });

  it('referrers=subject-header-no-api (ECR once): the header is there, the API is not', async (t) => {
    const setup = await setUp(t, { switches: { subjectHeader: 'always', referrers: '404-json' } });
    const artifact = note(setup);
    setup.registry.add('a/b', undefined, artifact);
    assert.equal((await setup.client.putManifest(setup.origin, 'a/b', artifact.digest, artifact.root)).subjectHandled, true);
    assert.equal((await referrers(setup)).api, false);
  });
});
