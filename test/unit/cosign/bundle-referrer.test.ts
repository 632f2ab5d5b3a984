import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Descriptor } from '../../../src/core/descriptor.ts';
import { digestOf } from '../../../src/core/digest.ts';
import { MEDIA_TYPE } from '../../../src/core/media-types.ts';
import { type OciManifest, parseOciManifest } from '../../../src/core/oci-manifest.ts';
import { encodeBundleReferrer, isBundleReferrer } from '../../../src/cosign/bundle-referrer.ts';

const TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const bundle = Buffer.from('{"mediaType":"…"}');
const subject: Descriptor = { mediaType: MEDIA_TYPE.ociManifest, digest: digestOf(Buffer.from('image')), size: 5 };
const made = (of: Descriptor = subject) =>
  encodeBundleReferrer({ subject: of, bundle, predicateType: 'https://example.test/p', created: '2026-01-02T03:04:05Z' });
const parsed = (): OciManifest => parseOciManifest(made().manifest.bytes, made().manifest.mediaType, 'referrer');

describe('a bundle as a referrer', () => {
  it('has its one layer, the empty config, its subject, and says in annotations what it states', () => {
    const annotations = {
      'dev.sigstore.bundle.content': 'dsse-envelope',
      'dev.sigstore.bundle.predicateType': 'https://example.test/p',
      'org.opencontainers.image.created': '2026-01-02T03:04:05Z',
    };
    assert.deepEqual(JSON.parse(String(made().manifest.bytes)), {
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.ociManifest,
      artifactType: TYPE,
      config: {
        mediaType: 'application/vnd.oci.empty.v1+json',
        digest: 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
        size: 2,
      },
      layers: [{ mediaType: TYPE, digest: digestOf(bundle), size: bundle.length }],
      subject,
      annotations,
    });
    const { manifest, blobs } = made();
    assert.equal(manifest.digest, digestOf(manifest.bytes));
    assert.deepEqual(
      blobs.map((b) => [String(b.bytes), b.digest, b.descriptor.size]),
      [
        ['{}', 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a', 2],
        [String(bundle), digestOf(bundle), bundle.length],
      ],
    );
  });

  it('is the same whatever an index says of its subject besides', () => {
    const listed = { ...subject, platform: { os: 'linux', architecture: 'amd64' }, annotations: { a: 'b' } };
    assert.deepEqual(made(listed), made());
  });

  it('is known by its type in any version, also where only the config has it, and by its single layer', () => {
    const manifest = parsed();
    assert.equal(isBundleReferrer(manifest), true);
    assert.equal(isBundleReferrer({ ...manifest, artifactType: 'application/vnd.dev.sigstore.bundle+json;version=0.1' }), true);
    assert.ok(manifest.kind === 'manifest');
    const { artifactType: _, ...old } = manifest;
    assert.equal(isBundleReferrer(old), false);
    assert.equal(isBundleReferrer({ ...old, config: { ...old.config, mediaType: TYPE } }), true);
    assert.equal(isBundleReferrer({ ...manifest, layers: [] }), false);
    assert.equal(isBundleReferrer({ ...manifest, layers: [...manifest.layers, ...manifest.layers] }), false);
    assert.equal(isBundleReferrer({ kind: 'index', mediaType: MEDIA_TYPE.ociIndex, manifests: [], artifactType: TYPE }), false);
  });
});
