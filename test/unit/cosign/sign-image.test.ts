import assert from 'node:assert/strict';
import { verify } from 'node:crypto';
import { describe, it } from 'node:test';
import type { Descriptor } from '../../../src/core/descriptor.ts';
import { digestOf, hexOf } from '../../../src/core/digest.ts';
import { MEDIA_TYPE } from '../../../src/core/media-types.ts';
import { parseOciManifest } from '../../../src/core/oci-manifest.ts';
import { isBundleReferrer } from '../../../src/cosign/bundle-referrer.ts';
import { signImage } from '../../../src/cosign/sign-image.ts';
import { parseSimpleSigning } from '../../../src/cosign/simple-signing.ts';
import { toKeyObject } from '../../../src/sign/public-key.ts';
import { verifyStatementSignature } from '../../../src/sign/verify-statement.ts';
import { freshKey } from '../sign/test-keys.ts';

const key = freshKey();
const subject: Descriptor = { mediaType: MEDIA_TYPE.ociIndex, digest: digestOf(Buffer.from('image')), size: 5 };
const CREATED = '2026-01-02T03:04:05Z';
const sign = (references: readonly string[], of = subject) => signImage(key, of, references, CREATED);
const blobOf = (signed: Awaited<ReturnType<typeof sign>>, digest: string): Buffer =>
  Buffer.from(signed.blobs.find((blob) => blob.digest === digest)?.bytes ?? assert.fail(`no blob ${digest}`));

describe('an image that we signed', () => {
  it('has one legacy signature per name, over a payload that says just that name and the digest', async () => {
    const signed = await sign(['ghcr.io/a:1', 'ghcr.io/a:2', 'ghcr.io/a:1']);
    assert.equal(signed.layers.length, 2);
    for (const [i, { descriptor, json }] of signed.layers.entries()) {
      const payload = blobOf(signed, descriptor.digest);
      assert.deepEqual(parseSimpleSigning(payload, 'sig'), { reference: `ghcr.io/a:${i + 1}`, digest: subject.digest });
      assert.equal(descriptor.size, payload.length);
      const signature = Buffer.from(descriptor.annotations?.['dev.cosignproject.cosign/signature'] ?? '', 'base64');
      assert.equal(verify('sha256', payload, toKeyObject(key.publicKey), signature), true);
      assert.deepEqual(Object.keys(json.annotations as object), ['dev.cosignproject.cosign/signature']);
      assert.equal(json.mediaType, 'application/vnd.dev.cosign.simplesigning.v1+json');
    }
  });

  it('has one bundle, over the statement that cosign makes, without a keyid', async () => {
    const signed = await sign(['ghcr.io/a:1']);
    const manifest = parseOciManifest(signed.referrer.bytes, signed.referrer.mediaType, 'referrer');
    assert.ok(isBundleReferrer(manifest));
    assert.equal(manifest.subject?.digest, subject.digest);
    const bundle = blobOf(signed, manifest.layers[0]?.digest ?? '');
    const statement = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"${hexOf(subject.digest)}"},"annotations":{}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`;
    assert.equal(await verifyStatementSignature(bundle, Buffer.from(statement), [key.publicKey]), key.publicKey.keyid);
    assert.deepEqual(Object.keys(JSON.parse(String(bundle)).dsseEnvelope.signatures[0]), ['sig']);
    for (const blob of [manifest.config, ...manifest.layers]) assert.equal(blobOf(signed, blob.digest).length, blob.size);
  });

  it('is signed with the same bytes every time', async () => {
    assert.deepEqual(await sign(['ghcr.io/a:1', 'ghcr.io/b:1']), await sign(['ghcr.io/a:1', 'ghcr.io/b:1']));
  });

  it('by a sha512 digest has a bundle only, as cosign has no tag for it', async () => {
    const signed = await sign(['ghcr.io/a:1'], { ...subject, digest: digestOf(Buffer.from('image'), 'sha512') });
    assert.deepEqual(signed.layers, []);
    const bundle = JSON.parse(String(signed.blobs.at(-1)?.bytes));
    const statement = JSON.parse(Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString());
    assert.deepEqual(statement.subject[0].digest, { sha512: hexOf(digestOf(Buffer.from('image'), 'sha512')) });
  });

  it('is not signed when the signer fails', async () => {
    const broken = { publicKey: key.publicKey, signer: { sign: () => Promise.reject(new Error('no card in the reader')) } };
    await assert.rejects(signImage(broken, subject, ['ghcr.io/a:1'], CREATED), /no card/);
  });
});
