import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { digestOf } from '../../../src/core/digest.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { MEDIA_TYPE } from '../../../src/core/media-types.ts';
import { artifactTypeOf, encodeIndex, parseOciManifest } from '../../../src/core/oci-manifest.ts';

const descriptor = (mediaType: string, fill = 'a') => ({ mediaType, digest: `sha256:${fill.repeat(64)}`, size: 10 });
const config = descriptor(MEDIA_TYPE.ociConfig);
const layer = descriptor('application/vnd.oci.image.layer.v1.tar+gzip', 'b');
const image = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest, config, layers: [layer] };
const index = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: [descriptor(MEDIA_TYPE.ociManifest, 'c')] };

const parse = (value: unknown, type: string) =>
  parseOciManifest(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), type, 'x@sha256:…');
const OCI = MEDIA_TYPE.ociManifest;
const INDEX = MEDIA_TYPE.ociIndex;

describe('parseOciManifest takes', () => {
  test('an OCI image, an OCI index and both of Docker', () => {
    assert.equal(parse(image, OCI).kind, 'manifest');
    assert.equal(parse(index, INDEX).kind, 'index');
    assert.equal(parse({ ...image, mediaType: MEDIA_TYPE.dockerManifest }, MEDIA_TYPE.dockerManifest).kind, 'manifest');
    assert.equal(parse({ ...index, mediaType: MEDIA_TYPE.dockerList }, MEDIA_TYPE.dockerList).kind, 'index');
  });

  test('an OCI image that leaves mediaType out, as the specification of 1.0 allowed', () => {
    const { mediaType: _, ...without } = image;
    assert.equal(parse(without, OCI).mediaType, OCI);
  });

  test('fields of the other kind that are null, and unknown fields', () => {
    assert.equal(parse({ ...image, manifests: null, 'x-vendor': 1 }, OCI).kind, 'manifest');
  });

  test('subject, artifactType and annotations', () => {
    const manifest = parse(
      { ...image, subject: descriptor(OCI, 'd'), artifactType: 'a/b', annotations: { k: 'v', K: 'w' } },
      OCI,
    );
    assert.equal(manifest.subject?.digest, `sha256:${'d'.repeat(64)}`);
    assert.equal(artifactTypeOf(manifest), 'a/b');
    assert.deepEqual(manifest.annotations, { k: 'v', K: 'w' });
    assert.equal(artifactTypeOf(parse(image, OCI)), MEDIA_TYPE.ociConfig);
    assert.equal(artifactTypeOf(parse(index, INDEX)), undefined);
  });
});

// CVE-2021-41190: the same bytes are a manifest to one reader and an index to another.
describe('parseOciManifest refuses what two readers could understand differently', () => {
  const schema1 = { schemaVersion: 1, fsLayers: [], history: [] };
  const many = Array.from({ length: LIMITS.descriptors + 1 }, () => layer);
  const duplicate = JSON.stringify(image).replace('"layers"', '"layers":[],"layers"');
  const table: readonly [string, unknown, string, string][] = [
    ['manifests and layers, called an image', { ...image, manifests: index.manifests }, OCI, 'E_OCI_MANIFEST'],
    ['manifests and layers, called an index', { ...index, layers: image.layers }, INDEX, 'E_OCI_MANIFEST'],
    ['manifests and config, called an index', { ...index, config }, INDEX, 'E_OCI_MANIFEST'],
    ['empty manifests in an image', { ...image, manifests: [] }, OCI, 'E_OCI_MANIFEST'],
    ['"Manifests" in an image, which Go takes for manifests', { ...image, Manifests: index.manifests }, OCI, 'E_OCI_MANIFEST'],
    ['"layerſ" in an index, which Go takes for layers', { ...index, 'layer\u017f': [] }, INDEX, 'E_OCI_MANIFEST'],
    ['an index labelled as an image', index, OCI, 'E_OCI_MANIFEST'],
    ['an image labelled as an index', image, INDEX, 'E_OCI_MANIFEST'],
    ['an index without mediaType labelled as an image', { schemaVersion: 2, manifests: index.manifests }, OCI, 'E_OCI_MANIFEST'],
    ['an OCI image labelled as Docker', image, MEDIA_TYPE.dockerManifest, 'E_OCI_MANIFEST'],
    ['mediaType null', { ...image, mediaType: null }, OCI, 'E_OCI_MANIFEST'],
    ['an image with fsLayers', { ...image, fsLayers: [] }, OCI, 'E_OCI_MANIFEST'],
    ['schema 1 by version', schema1, OCI, 'E_SCHEMA1'],
    ['schema 1 by type', schema1, MEDIA_TYPE.dockerSchema1, 'E_SCHEMA1'],
    ['schema 1 signed', schema1, MEDIA_TYPE.dockerSchema1Signed, 'E_SCHEMA1'],
    ['no schemaVersion', { ...image, schemaVersion: undefined }, OCI, 'E_OCI_MANIFEST'],
    ['schemaVersion "2"', { ...image, schemaVersion: '2' }, OCI, 'E_OCI_MANIFEST'],
    ['schemaVersion of a megabyte', { ...image, schemaVersion: 'x'.repeat(1e6) }, OCI, 'E_OCI_MANIFEST'],
    ['another media type', { schemaVersion: 2 }, 'application/json', 'E_OCI_MANIFEST'],
    ['no media type', image, '', 'E_OCI_MANIFEST'],
    ['no config', { ...image, config: undefined }, OCI, 'E_OCI_MANIFEST'],
    ['layers that are a map', { ...image, layers: {} }, OCI, 'E_OCI_MANIFEST'],
    ['no layers', { ...image, layers: undefined }, OCI, 'E_OCI_MANIFEST'],
    ['a layer that is null', { ...image, layers: [null] }, OCI, 'E_OCI_MANIFEST'],
    ['a layer whose digest is a path', { ...image, layers: [{ ...layer, digest: 'sha256:../x' }] }, OCI, 'E_DIGEST_INVALID'],
    ['too many layers', { ...image, layers: many }, OCI, 'E_OCI_MANIFEST'],
    ['a duplicate key', duplicate, OCI, 'E_OCI_MANIFEST'],
    ['annotations that are a list', { ...image, annotations: ['a'] }, OCI, 'E_OCI_MANIFEST'],
    ['an annotation that is a number', { ...image, annotations: { a: 1 } }, OCI, 'E_OCI_MANIFEST'],
    ['a subject that is text', { ...image, subject: 'sha256:x' }, OCI, 'E_OCI_MANIFEST'],
    ['a list', [image], OCI, 'E_OCI_MANIFEST'],
    ['nothing', '', OCI, 'E_OCI_MANIFEST'],
    ['deep nesting', { ...image, x: JSON.parse(`${'['.repeat(100)}${']'.repeat(100)}`) }, OCI, 'E_OCI_MANIFEST'],
    ['more than 4 MiB', `${JSON.stringify(image)}${' '.repeat(LIMITS.ociManifestBytes)}`, OCI, 'E_LIMIT'],
  ];
  for (const [name, value, type, code] of table)
    test(`${name}: ${code}`, () => {
      assert.throws(
        () => parse(value, type),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, code, error.message);
          assert.ok(error.message.startsWith('x@sha256:…') && error.message.length < 500, error.message.slice(0, 600));
          return true;
        },
      );
    });

  test('exactly 4 MiB is taken', () => {
    const text = JSON.stringify(image);
    assert.equal(parse(text + ' '.repeat(LIMITS.ociManifestBytes - text.length), OCI).kind, 'manifest');
  });
});

test('a derived index has the same bytes every time, and parses', () => {
  const bytes = encodeIndex(INDEX, index.manifests);
  assert.equal(digestOf(bytes), digestOf(encodeIndex(INDEX, structuredClone(index.manifests))));
  assert.equal(Buffer.from(bytes).toString(), JSON.stringify(index));
  assert.equal(parseOciManifest(bytes, INDEX, 'x').kind, 'index');
});
