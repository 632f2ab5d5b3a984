import assert from 'node:assert/strict';
import { createECDH, createPrivateKey, verify } from 'node:crypto';
import { describe, it } from 'node:test';
import { p256 } from '@noble/curves/nist.js';
import { privateKeyFromDer } from '../../../src/sign/private-key.ts';
import { toKeyObject } from '../../../src/sign/public-key.ts';
import { createKeySigner } from '../../../src/sign/signer.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { freshKey } from './test-keys.ts';

/** The key of RFC 6979 appendix A.2.5. */
function rfcKey() {
  const d = Buffer.from('C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721', 'hex');
  const ecdh = createECDH('prime256v1');
  ecdh.setPrivateKey(d);
  const point = ecdh.getPublicKey();
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((part) => part.toString('base64url')) as [string, string];
  const keyObject = createPrivateKey({ key: { kty: 'EC', crv: 'P-256', d: d.toString('base64url'), x, y }, format: 'jwk' });
  return privateKeyFromDer(keyObject.export({ format: 'der', type: 'pkcs8' }), 'pkcs8', 'RFC 6979');
}

describe('signing with a key file', () => {
  it('gives the signatures of RFC 6979 appendix A.2.5 (P-256, SHA-256)', async () => {
    const signer = createKeySigner(rfcKey());
    const vectors = {
      sample:
        'efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8',
      test: 'f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083',
    };
    for (const [message, want] of Object.entries(vectors)) {
      const { signature } = await signer.sign(Buffer.from(message));
      assert.equal(Buffer.from(p256.Signature.fromBytes(signature, 'der').toBytes('compact')).toString('hex'), want);
    }
  });

  it('gives the same signature each time, and Node verifies it', async () => {
    const key = freshKey();
    for (const data of [Buffer.alloc(0), Buffer.from('x'), Buffer.alloc(100_000, 7)]) {
      const [first, second] = [await createKeySigner(key).sign(data), await createKeySigner(key).sign(data)];
      assert.deepEqual(first, second);
      assert.ok(verify('sha256', data, toKeyObject(key.publicKey), first.signature));
    }
  });

  it('names the key as cosign does: PEM and the base64 SHA-256 of the SPKI', async () => {
    const key = freshKey();
    const { key: named } = await createKeySigner(key).sign(Buffer.from('x'));
    assert.deepEqual(named, { $case: 'publicKey', publicKey: key.publicKey.pem, hint: key.publicKey.hint });
  });

  it('throws a signature away that does not verify with the public half', async () => {
    const mixed = { keyObject: freshKey().keyObject, publicKey: freshKey().publicKey };
    await rejectsWith(createKeySigner(mixed).sign(Buffer.from('x')), 'E_SIGNATURE');
  });
});
