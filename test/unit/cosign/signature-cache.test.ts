import assert from 'node:assert/strict';
import { sign as nodeSign, verify } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Descriptor } from '../../../src/core/descriptor.ts';
import { digestOf } from '../../../src/core/digest.ts';
import { MEDIA_TYPE } from '../../../src/core/media-types.ts';
import { legacyLayer, mergeLegacy } from '../../../src/cosign/legacy.ts';
import { COSIGN_ANNOTATION, COSIGN_TYPE } from '../../../src/cosign/media-types.ts';
import { signImage } from '../../../src/cosign/sign-image.ts';
import { createSignatureCache, type SignatureCache } from '../../../src/cosign/signature-cache.ts';
import { toKeyObject } from '../../../src/sign/public-key.ts';
import type { SigningKey } from '../../../src/sign/signing-key.ts';
import { freshKey } from '../sign/test-keys.ts';

const subject: Descriptor = { mediaType: MEDIA_TYPE.ociIndex, digest: digestOf(Buffer.from('image')), size: 5 };
const CREATED = '2026-01-02T03:04:05Z';
const DATA = Buffer.from('some bytes');

/** Signs with a fresh nonce each time, as a KMS does, and counts. */
function randomKey(key = freshKey()): SigningKey & { calls(): number } {
  let calls = 0;
  const { publicKey, keyObject } = key;
  return {
    publicKey,
    calls: () => calls,
    signer: {
      async sign(data) {
        calls++;
        const signature = nodeSign('sha256', data, keyObject);
        return { signature, key: { $case: 'publicKey', publicKey: publicKey.pem, hint: publicKey.hint } };
      },
    },
  };
}

const images = (key: SigningKey) => signImage(key, subject, ['ghcr.io/a:1', 'ghcr.io/a:2'], CREATED);

/** What was carried the night before. */
function remember(cache: SignatureCache, signed: Awaited<ReturnType<typeof images>>): void {
  const { manifest } = mergeLegacy(undefined, signed.layers) ?? assert.fail();
  cache.addLegacy(manifest.bytes, manifest.mediaType);
  for (const { bytes } of signed.blobs) cache.addBundle(bytes);
}

/** A `.sig` that says that this is a signature over DATA. */
function claim(cache: SignatureCache, signature: Buffer): void {
  const annotations = { [COSIGN_ANNOTATION.signature]: signature.toString('base64') };
  const layer = legacyLayer({ mediaType: COSIGN_TYPE.simpleSigning, digest: digestOf(DATA), size: DATA.length, annotations });
  const { manifest } = mergeLegacy(undefined, [layer]) ?? assert.fail();
  cache.addLegacy(manifest.bytes, manifest.mediaType);
}

describe('signatures of the night before', () => {
  it('are used again, in both formats, so that a signer with fresh nonces makes the same bytes without being asked', async () => {
    const key = randomKey();
    const before = await images(key);
    const cache = createSignatureCache();
    remember(cache, before);
    const asked = key.calls();
    assert.deepEqual(await images(cache.wrap(key)), before);
    assert.equal(key.calls(), asked);
    assert.notDeepEqual(await images(key), before);
  });

  it('by another key or over other bytes are not', async () => {
    const [key, stranger] = [randomKey(), randomKey()];
    const cache = createSignatureCache();
    remember(cache, await images(stranger));
    claim(cache, (await stranger.signer.sign(DATA)).signature);
    claim(cache, (await key.signer.sign(Buffer.from('other bytes'))).signature);
    claim(cache, Buffer.from('garbage'));
    claim(cache, Buffer.alloc(0));
    const asked = key.calls();
    const { signature } = await cache.wrap(key).signer.sign(DATA);
    assert.equal(verify('sha256', DATA, toKeyObject(key.publicKey), signature), true);
    await images(cache.wrap(key));
    assert.equal(key.calls() - asked, 1 + 3);
  });

  it('are chosen without regard to the order in which several were found', async () => {
    const key = randomKey();
    const both = [(await key.signer.sign(DATA)).signature, (await key.signer.sign(DATA)).signature];
    const chosen = async (order: readonly Buffer[]): Promise<Buffer> => {
      const cache = createSignatureCache();
      for (const signature of order) claim(cache, signature);
      return (await cache.wrap(key).signer.sign(DATA)).signature;
    };
    assert.deepEqual(await chosen(both), await chosen(both.toReversed()));
  });

  it('say which key they are by, as the signer would', async () => {
    const key = randomKey();
    const wrapped = createSignatureCache().wrap(key);
    const fresh = await wrapped.signer.sign(DATA);
    assert.deepEqual(await wrapped.signer.sign(DATA), fresh);
    assert.equal(wrapped.publicKey, key.publicKey);
    assert.equal(key.calls(), 1);
  });

  it('are made once for two who ask at the same time, and again after a failure', async () => {
    const key = randomKey();
    const { signer } = createSignatureCache().wrap(key);
    const [one, two] = await Promise.all([signer.sign(DATA), signer.sign(DATA)]);
    assert.deepEqual(one.signature, two.signature);
    assert.equal(key.calls(), 1);
    let failing = true;
    const shaky = {
      ...key,
      signer: { sign: (data: Buffer) => (failing ? Promise.reject(new Error('busy')) : key.signer.sign(data)) },
    };
    const wrapped = createSignatureCache().wrap(shaky);
    await assert.rejects(wrapped.signer.sign(DATA), /busy/);
    failing = false;
    assert.equal((await wrapped.signer.sign(DATA)).signature.length > 0, true);
  });

  it('that can not be read are passed over', async () => {
    const cache = createSignatureCache();
    const dsse = (envelope: unknown): string => JSON.stringify({ dsseEnvelope: envelope });
    const texts = [
      ...['', '{', '[]', '{}', 'null', '{"layers":[{}]}', dsse(null), dsse({ payload: 1, payloadType: 'a' })],
      dsse({ payload: '!', payloadType: 'a', signatures: [{ sig: 'AA==' }] }),
      dsse({ payload: 'AA==', payloadType: 'a' }),
      dsse({ payload: 'AA==', payloadType: 'a', signatures: [null] }),
      dsse({ payload: 'AA==', payloadType: 'a', signatures: [{ sig: 7 }] }),
    ];
    for (const text of texts) {
      cache.addBundle(Buffer.from(text));
      for (const type of [MEDIA_TYPE.ociManifest, MEDIA_TYPE.ociIndex, 'text/plain']) cache.addLegacy(Buffer.from(text), type);
    }
    fc.assert(
      fc.property(fc.json(), fc.uint8Array(), (json, bytes) => {
        cache.addBundle(Buffer.from(`{"dsseEnvelope":${json}}`));
        cache.addBundle(bytes);
        cache.addLegacy(bytes, MEDIA_TYPE.ociManifest);
      }),
    );
    const key = randomKey();
    await cache.wrap(key).signer.sign(DATA);
    assert.equal(key.calls(), 1);
  });
});
