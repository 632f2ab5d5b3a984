import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Digest, digestOf } from '../../../src/core/digest.ts';
import type { JsonObject } from '../../../src/core/json.ts';
import { MEDIA_TYPE } from '../../../src/core/media-types.ts';
import { parseOciManifest } from '../../../src/core/oci-manifest.ts';
import { isTag } from '../../../src/core/reference.ts';
import { type LegacyLayer, legacyLayer, legacyTag, mergeLegacy, parseLegacy } from '../../../src/cosign/legacy.ts';
import { throwsWith } from '../../support/assert-code.ts';

const TYPE = 'application/vnd.dev.cosign.simplesigning.v1+json';
const digest = (text: string): Digest => digestOf(Buffer.from(text));
const raw = (text: string, signature: string, more: JsonObject = {}): JsonObject => ({
  mediaType: TYPE,
  size: text.length,
  digest: digest(text),
  annotations: { 'dev.cosignproject.cosign/signature': signature },
  ...more,
});
const layer = (...args: Parameters<typeof raw>): LegacyLayer => legacyLayer(raw(...args));
const base = (layers: readonly JsonObject[], more: JsonObject = {}) => ({
  mediaType: MEDIA_TYPE.ociManifest,
  bytes: Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.ociManifest,
      config: { mediaType: MEDIA_TYPE.ociConfig, size: 3, digest: digest('config') },
      layers,
      ...more,
    }),
  ),
});
const layersOf = (bytes: Uint8Array): JsonObject[] => JSON.parse(String(bytes)).layers;

describe("cosign's tags", () => {
  it('are the digest and the kind, and no tag at all for sha512', () => {
    assert.equal(legacyTag(digest('a'), 'sig'), `sha256-${digest('a').slice(7)}.sig`);
    assert.equal(isTag(legacyTag(digest('a'), 'sbom')), true);
    assert.equal(isTag(legacyTag(digestOf(Buffer.from('a'), 'sha512'), 'sig')), false);
  });
});

describe('a list of signatures', () => {
  it('is read with the fields that we do not know', () => {
    const odd = raw('a', 's1', { custom: { deep: [1] }, urls: ['https://example.test/'] });
    const { bytes, mediaType } = base([odd, raw('b', 's2')]);
    const parsed = parseLegacy(bytes, mediaType, 'sig');
    assert.deepEqual(
      parsed?.layers.map(({ json }) => json),
      [odd, raw('b', 's2')],
    );
    assert.equal(parsed?.layers[1]?.descriptor.digest, digest('b'));
  });

  it('is not what an index or an artifact is', () => {
    const index = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: [] };
    assert.equal(parseLegacy(Buffer.from(JSON.stringify(index)), MEDIA_TYPE.ociIndex, 'sig'), undefined);
    const artifact = base([raw('a', 's')], {
      artifactType: 'application/x',
      config: { mediaType: MEDIA_TYPE.ociEmpty, size: 2, digest: digest('{}') },
    });
    assert.equal(parseLegacy(artifact.bytes, artifact.mediaType, 'sig'), undefined);
    throwsWith(() => mergeLegacy(artifact, [layer('b', 's')]), 'E_OCI_MANIFEST', /no list of signatures/);
  });

  it('that is no manifest, or has more signatures than cosign reads, is an error', () => {
    throwsWith(() => parseLegacy(Buffer.from('{'), MEDIA_TYPE.ociManifest, 'sig'), 'E_OCI_MANIFEST');
    throwsWith(
      () => parseLegacy(base([{ ...raw('a', 's'), Digest: 'x' }]).bytes, MEDIA_TYPE.ociManifest, 'sig'),
      'E_OCI_MANIFEST',
    );
    const many = Array.from({ length: 1000 }, (_, i) => raw('a', `s${i}`));
    assert.equal(parseLegacy(base(many).bytes, MEDIA_TYPE.ociManifest, 'sig')?.layers.length, 1000);
    throwsWith(() => parseLegacy(base([...many, raw('a', 'x')]).bytes, MEDIA_TYPE.ociManifest, 'sig'), 'E_LIMIT', /1001/);
    throwsWith(() => mergeLegacy(base(many), [layer('b', 's')]), 'E_LIMIT', /1001/);
    const long = (i: number) => layer('a', `${i}`.repeat(1_500_000));
    throwsWith(() => mergeLegacy(undefined, [long(1), long(2), long(3)]), 'E_LIMIT', /bytes/);
  });
});

describe('the union of two lists of signatures', () => {
  it('made from nothing is the manifest that cosign writes', () => {
    const text = '{"critical":{}}';
    const merged = mergeLegacy(undefined, [layer(text, 'MEU=')]);
    assert.ok(merged !== undefined);
    const config = `{"architecture":"","created":"0001-01-01T00:00:00Z","history":[{"created":"0001-01-01T00:00:00Z"}],"os":"","rootfs":{"type":"layers","diff_ids":["${digest(text)}"]},"config":{}}`;
    assert.equal(String(merged.config.bytes), config);
    assert.equal(merged.config.digest, digest(config));
    assert.equal(
      String(merged.manifest.bytes),
      `{"schemaVersion":2,"mediaType":"${MEDIA_TYPE.ociManifest}","config":{"mediaType":"${MEDIA_TYPE.ociConfig}","size":233,"digest":"${digest(config)}"}`.replace(
        '233',
        String(config.length),
      ) +
        `,"layers":[{"mediaType":"${TYPE}","size":15,"digest":"${digest(text)}","annotations":{"dev.cosignproject.cosign/signature":"MEU="}}]}`,
    );
    assert.equal(merged.manifest.digest, digestOf(merged.manifest.bytes));
  });

  it('keeps what is there as it is, with its annotations, order and unknown fields, and adds behind it', () => {
    const foreign = [raw('z', 's9', { custom: 1, data: 'eg==' }), raw('a', 's1'), raw('a', 's1')];
    const there = base(foreign, { annotations: { who: 'them' }, custom: { x: [null] }, subject: null });
    const merged = mergeLegacy(there, [layer('b', 's2')]);
    assert.ok(merged !== undefined);
    const { config, layers, ...rest } = JSON.parse(String(merged.manifest.bytes));
    assert.deepEqual(layers, [...foreign, raw('b', 's2')]);
    const { config: _, layers: __, ...before } = JSON.parse(String(there.bytes));
    assert.deepEqual(rest, before);
    assert.deepEqual(config, { mediaType: MEDIA_TYPE.ociConfig, size: merged.config.bytes.length, digest: merged.config.digest });
    assert.deepEqual(JSON.parse(String(merged.config.bytes)).rootfs.diff_ids, ['z', 'a', 'a', 'b'].map(digest));
  });

  it('writes numbers and names of others as they were written', () => {
    const odd = '{"a":12345678901234567890,"b":1.0,"c":-0,"d":1e400,"__proto__":{"e":[0.10]},"f":"\\ud800"}';
    const text = String(base([raw('a', 's', { custom: 'ODD' })], { custom: 'ODD' }).bytes).replaceAll('"ODD"', odd);
    const merged = mergeLegacy({ mediaType: MEDIA_TYPE.ociManifest, bytes: Buffer.from(text) }, [layer('b', 't')]);
    assert.equal(String(merged?.manifest.bytes).split(odd).length, 3);
  });

  it("stays a Docker manifest when it is one, with Docker's config", () => {
    const there = base([raw('a', 's')], {
      mediaType: MEDIA_TYPE.dockerManifest,
      config: { mediaType: MEDIA_TYPE.dockerConfig, size: 3, digest: digest('config'), data: 'stale' },
    });
    const merged = mergeLegacy({ ...there, mediaType: MEDIA_TYPE.dockerManifest }, [layer('b', 's')]);
    assert.equal(merged?.manifest.mediaType, MEDIA_TYPE.dockerManifest);
    assert.equal(JSON.parse(String(merged?.manifest.bytes)).config.mediaType, MEDIA_TYPE.dockerConfig);
    assert.equal(JSON.parse(String(merged?.manifest.bytes)).config.data, undefined);
  });

  it('holds one payload twice when two keys signed it, and once when one did, however its annotations are ordered', () => {
    const [one, two] = [layer('a', 'key 1'), layer('a', 'key 2')];
    assert.equal(layersOf(mergeLegacy(undefined, [one, two, one])?.manifest.bytes as Uint8Array).length, 2);
    const annotated = (annotations: JsonObject): LegacyLayer => layer('a', '', { annotations });
    const there = base([raw('a', '', { annotations: { x: '1', y: '2' } })]);
    assert.equal(mergeLegacy(there, [annotated({ y: '2', x: '1' })]), undefined);
    assert.notEqual(mergeLegacy(there, [annotated({ y: '2', x: '1', z: '' })]), undefined);
    assert.notEqual(mergeLegacy(there, [annotated({ y: '1', x: '2' })]), undefined);
    const bare = base([raw('a', '', { annotations: {} })]);
    assert.equal(mergeLegacy(bare, [legacyLayer({ mediaType: TYPE, size: 1, digest: digest('a') })]), undefined);
  });

  it('with nothing to add is nothing to write', () => {
    assert.equal(mergeLegacy(undefined, []), undefined);
    assert.equal(mergeLegacy(base([raw('a', 's')]), []), undefined);
    assert.equal(mergeLegacy(base([raw('a', 's'), raw('b', 't')]), [layer('b', 't')]), undefined);
  });

  const some = fc
    .array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('1', '2'), fc.option(fc.string(), { nil: undefined })), {
      maxLength: 6,
    })
    .map((all) => all.map(([text, signature, custom]) => raw(text, signature, custom === undefined ? {} : { custom })));
  const identities = (layers: readonly JsonObject[]): string[] =>
    [...new Set(layers.map((l) => JSON.stringify([l.digest, l.annotations])))].sort();

  it('drops nothing, makes nothing up, settles at once whichever side wrote first, and is a manifest again', () => {
    fc.assert(
      fc.property(some, some, (left, right) => {
        const union = identities([...left, ...right]);
        for (const [first, second] of [
          [left, right],
          [right, left],
        ] as const) {
          const there = base(first);
          const merged = mergeLegacy(there, second.map(legacyLayer));
          const after = merged?.manifest ?? there;
          parseOciManifest(after.bytes, after.mediaType, 'sig');
          assert.deepEqual(layersOf(after.bytes).slice(0, first.length), first);
          assert.deepEqual(identities(layersOf(after.bytes)), union);
          for (const again of [left, right]) assert.equal(mergeLegacy(after, again.map(legacyLayer)), undefined);
          assert.deepEqual(mergeLegacy(there, second.map(legacyLayer)), merged);
        }
      }),
    );
  });
});
