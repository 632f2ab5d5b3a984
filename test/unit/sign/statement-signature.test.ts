import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { parsePublicKeys } from '../../../src/sign/public-key.ts';
import { countTrustedSignatures, requireThreshold, verifyStatementSignature } from '../../../src/sign/verify-statement.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { changed, freshKey, OCCASION, STATEMENT, signWith } from './test-keys.ts';

const [a, b, c] = [freshKey(), freshKey(), freshKey()];
const trustOf = (threshold: number, ...keys: (typeof a)[]) => ({ keys: keys.map((key) => key.publicKey), threshold });
const fileOf = async (key: typeof a, name = `${key.publicKey.keyid}.sigstore.json`) => ({ name, bytes: await signWith(key) });

describe('a signed statement', () => {
  it('is a Sigstore bundle v0.3 whose payload is the statement byte for byte, without a keyid', async () => {
    const odd = Buffer.from('{ "b": 1,\r\n "a": "\u00e9\\u0000" }\n');
    const bundle = JSON.parse(Buffer.from(await signWith(a, odd)).toString());
    assert.equal(bundle.mediaType, 'application/vnd.dev.sigstore.bundle.v0.3+json');
    assert.equal(bundle.dsseEnvelope.payload, odd.toString('base64'));
    assert.equal(bundle.dsseEnvelope.payloadType, 'application/vnd.in-toto+json');
    assert.deepEqual(Object.keys(bundle.dsseEnvelope.signatures[0]), ['sig']);
    assert.equal(bundle.verificationMaterial.publicKey.hint, a.publicKey.hint);
    assert.equal(await verifyStatementSignature(await signWith(a, odd), odd, [a.publicKey]), a.publicKey.keyid);
  });

  it('is the same bytes every time for the same statement and key', async () => {
    assert.deepEqual(await signWith(a), await signWith(a));
    assert.notDeepEqual(await signWith(a), await signWith(b));
  });

  it('verifies among several trusted keys, whatever its hint says, and says which key it was', async () => {
    const keys = [b.publicKey, c.publicKey, a.publicKey];
    for (const hint of [a.publicKey.hint, '', 'nobody', b.publicKey.hint]) {
      const bytes = changed(await signWith(a), (bundle) => {
        bundle.verificationMaterial.publicKey = { hint };
      });
      assert.equal(await verifyStatementSignature(bytes, STATEMENT, keys), a.publicKey.keyid);
    }
  });

  it('that cosign 3.1.1 made of our statement verifies', async () => {
    const fixture = (name: string) => readFileSync(new URL(`fixtures/${name}`, import.meta.url));
    const keys = parsePublicKeys(fixture('approver.pub').toString(), 'approver.pub');
    const bytes = fixture('statement.cosign-3.1.1.sigstore.json');
    assert.equal(await verifyStatementSignature(bytes, fixture('statement.json'), keys), keys[0]?.keyid);
  });

  it('by a stranger is untrusted; with the name or hint of a trusted key it is broken', async () => {
    await rejectsWith(verifyStatementSignature(await signWith(b), STATEMENT, [a.publicKey]), 'E_UNTRUSTED');
    const forged = changed(await signWith(b), (bundle) => {
      bundle.verificationMaterial.publicKey = { hint: a.publicKey.hint };
    });
    await rejectsWith(verifyStatementSignature(forged, STATEMENT, [a.publicKey]), 'E_SIGNATURE');
    const { refused } = await countTrustedSignatures({
      statementBytes: STATEMENT,
      signatures: [await fileOf(b), await fileOf(b, `${a.publicKey.keyid}.sigstore.json`)],
      trust: trustOf(1, a),
      ...OCCASION,
    });
    assert.deepEqual(
      refused.map((item) => item.code),
      ['E_UNTRUSTED', 'E_SIGNATURE'],
    );
  });
});

describe('the threshold', () => {
  const check = async (threshold: number, trusted: (typeof a)[], signatures: { name: string; bytes: Uint8Array }[]) =>
    requireThreshold({ statementBytes: STATEMENT, signatures, trust: trustOf(threshold, ...trusted), ...OCCASION });

  it('is met by distinct trusted keys, and a stranger beside them does no harm', async () => {
    const { signers, refused } = await check(2, [a, b], [await fileOf(a), await fileOf(c), await fileOf(b)]);
    assert.deepEqual(signers, [a.publicKey.keyid, b.publicKey.keyid].sort());
    assert.deepEqual(
      refused.map((item) => item.code),
      ['E_UNTRUSTED'],
    );
  });

  it('tells apart: no signature, none trusted, too few', async () => {
    await rejectsWith(check(1, [a], []), 'E_UNSIGNED');
    const untrusted = await rejectsWith(check(1, [a], [await fileOf(b)]), 'E_UNTRUSTED');
    assert.ok(untrusted.message.includes(a.publicKey.keyid.slice(0, 16)), untrusted.message);
    await rejectsWith(check(2, [a, b], [await fileOf(a), await fileOf(c)]), 'E_THRESHOLD', /1 .*want 2/);
  });

  it('counts a key once: the same file twice, under two names, or with two hints', async () => {
    const signed = await signWith(a);
    const other = changed(signed, (bundle) => {
      bundle.verificationMaterial.publicKey = { hint: 'another' };
      (bundle.dsseEnvelope.signatures[0] as { keyid?: string }).keyid = 'another';
    });
    const files = [signed, signed, other].map((bytes, i) => ({ name: `${i}.sigstore.json`, bytes }));
    await rejectsWith(check(2, [a, b], files), 'E_THRESHOLD', /1 .*want 2/);
  });

  it('counts a key once that is trusted twice', async () => {
    const error = await rejectsWith(check(2, [a, a], [await fileOf(a)]), 'E_TRUST_FILE', /1 to 1/);
    assert.match(error.hint ?? '', /counts once/);
  });

  it('of 0, -1, NaN, 1.5, Infinity or more than there are keys is refused, and so is trust in nobody', async () => {
    for (const threshold of [0, -1, Number.NaN, 1.5, Number.POSITIVE_INFINITY, 3]) {
      await rejectsWith(check(threshold, [a, b], [await fileOf(a)]), 'E_TRUST_FILE', /threshold/);
    }
    await rejectsWith(check(1, [], [await fileOf(a)]), 'E_TRUST_FILE');
    await rejectsWith(check(0, [], []), 'E_TRUST_FILE');
  });

  it('does not excuse a broken signature beside enough good ones', async () => {
    const broken = { name: 'x.sigstore.json', bytes: Buffer.from('') };
    await rejectsWith(check(1, [a], [await fileOf(a), broken]), 'E_SIGNATURE', /x\.sigstore\.json/);
  });

  it('stops at too many signature files', async () => {
    const one = await fileOf(a);
    await rejectsWith(check(1, [a], Array(65).fill(one)), 'E_LIMIT');
  });
});
