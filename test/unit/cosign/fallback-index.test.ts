import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Descriptor } from '../../../src/core/descriptor.ts';
import { digestOf } from '../../../src/core/digest.ts';
import type { JsonObject } from '../../../src/core/json.ts';
import { MEDIA_TYPE } from '../../../src/core/media-types.ts';
import { parseOciManifest } from '../../../src/core/oci-manifest.ts';
import { mergeFallbackIndex } from '../../../src/cosign/fallback-index.ts';
import { throwsWith } from '../../support/assert-code.ts';

const entry = (text: string, more: Partial<Descriptor> = {}): Descriptor => ({
  mediaType: MEDIA_TYPE.ociManifest,
  size: text.length,
  digest: digestOf(Buffer.from(text)),
  ...more,
});
const index = (manifests: readonly unknown[], more: JsonObject = {}, mediaType: string = MEDIA_TYPE.ociIndex) => ({
  mediaType,
  bytes: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests, ...more })),
});
const read = (bytes: Uint8Array | undefined) => JSON.parse(String(bytes));

describe('the index of referrers under the fallback tag', () => {
  it('begins with the first referrer, with the type and the annotations by which readers choose', () => {
    const ours = entry('a', { artifactType: 'application/x', annotations: { 'dev.sigstore.bundle.content': 'dsse-envelope' } });
    assert.deepEqual(read(mergeFallbackIndex(undefined, [ours, ours])), {
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.ociIndex,
      manifests: [ours],
    });
  });

  it('keeps the entries of others as they are, even those that say less than they could', () => {
    const theirs = [
      { ...entry('z'), artifactType: 'application/vnd.oci.empty.v1+json', custom: ['BIG'] },
      { ...entry('b'), annotations: null },
    ];
    const there = index(theirs, { annotations: { who: 'them' }, custom: true });
    const merged = read(mergeFallbackIndex(there, [entry('z', { artifactType: 'application/x' }), entry('a')]));
    assert.deepEqual(merged, { ...read(there.bytes), manifests: [...theirs, entry('a')] });
    assert.equal(mergeFallbackIndex(there, [entry('z', { artifactType: 'application/x' })]), undefined);
    const big = { ...there, bytes: Buffer.from(String(there.bytes).replace('"BIG"', '12345678901234567890')) };
    assert.match(String(mergeFallbackIndex(big, [entry('a')])), /\[12345678901234567890\]/);
  });

  it('takes the place of what is no index, and keeps the entries of an index of another type', () => {
    const manifest = { schemaVersion: 2, config: entry('config'), layers: [] };
    const image = { mediaType: MEDIA_TYPE.ociManifest, bytes: Buffer.from(JSON.stringify(manifest)) };
    assert.deepEqual(read(mergeFallbackIndex(image, [entry('a')])).manifests, [entry('a')]);
    assert.equal(mergeFallbackIndex(image, []), undefined);
    const docker = index([entry('z')], {}, MEDIA_TYPE.dockerList);
    const merged = mergeFallbackIndex(docker, [entry('a')]);
    assert.equal(parseOciManifest(merged as Uint8Array, MEDIA_TYPE.ociIndex, 'index').kind, 'index');
    assert.deepEqual(read(merged).manifests, [entry('z'), entry('a')]);
    const untyped = { mediaType: MEDIA_TYPE.ociIndex, bytes: Buffer.from('{"schemaVersion":2,"manifests":[]}') };
    assert.equal(read(mergeFallbackIndex(untyped, [entry('a')])).mediaType, MEDIA_TYPE.ociIndex);
  });

  it('that is broken or has no room is an error, never overwritten', () => {
    const broken = { mediaType: MEDIA_TYPE.ociIndex, bytes: Buffer.from('{"schemaVersion":2,"manifests":{}}') };
    throwsWith(() => mergeFallbackIndex(broken, [entry('a')]), 'E_OCI_MANIFEST');
    const mistyped = { mediaType: MEDIA_TYPE.ociManifest, bytes: Buffer.from('{"schemaVersion":2,"manifests":[]}') };
    throwsWith(() => mergeFallbackIndex(mistyped, [entry('a')]), 'E_OCI_MANIFEST');
    const anything = { mediaType: MEDIA_TYPE.ociManifest, bytes: Buffer.from('{"anything":1}') };
    throwsWith(() => mergeFallbackIndex(anything, [entry('a')]), 'E_OCI_MANIFEST');
    const full = index(Array.from({ length: 10_000 }, (_, i) => entry(`${i}`)));
    throwsWith(() => mergeFallbackIndex(full, [entry('a')]), 'E_LIMIT', /10001/);
    throwsWith(() => mergeFallbackIndex(undefined, [entry('a', { annotations: { a: 'x'.repeat(5_000_000) } })]), 'E_LIMIT');
  });

  it('holds all of both sides after one merge, and a second writes nothing', () => {
    const some = fc.array(
      fc.constantFrom('a', 'b', 'c', 'd').map((text) => entry(text)),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(some, some, (left, right) => {
        const there = index(left);
        const bytes = mergeFallbackIndex(there, right) ?? there.bytes;
        const after = { mediaType: MEDIA_TYPE.ociIndex, bytes };
        const digests = (list: readonly Descriptor[]): string[] => [...new Set(list.map((d) => d.digest))].sort();
        assert.deepEqual(digests(read(bytes).manifests), digests([...left, ...right]));
        assert.deepEqual(read(bytes).manifests.slice(0, left.length), left);
        assert.equal(mergeFallbackIndex(after, [...left, ...right]), undefined);
      }),
    );
  });
});
