/** What somebody who holds the medium could do to a signature file. */
import assert from 'node:assert/strict';
import { createHash, sign as nodeSign } from 'node:crypto';
import { describe, it } from 'node:test';
import { toPem } from '../../src/sign/pem.ts';
import { countTrustedSignatures, requireThreshold, verifyStatementSignature } from '../../src/sign/verify-statement.ts';
import { rejectsWith } from '../support/assert-code.ts';
import { changed, freshKey, type Loose, OCCASION, STATEMENT, signWith } from '../unit/sign/test-keys.ts';

const key = freshKey();
const attacker = freshKey();
const good = await signWith(key);
const verify = (bytes: Uint8Array, statement: Uint8Array = STATEMENT) =>
  verifyStatementSignature(bytes, statement, [key.publicKey], 'x.sigstore.json');
const text = Buffer.from(good).toString();

/** Signs like `attacker` would who can compute any DSSE signature with his own key. */
function forged(payloadType: string, payload: Uint8Array, by = key): string {
  const type = Buffer.from(payloadType);
  const pae = Buffer.concat([Buffer.from(`DSSEv1 ${type.length} `), type, Buffer.from(` ${payload.length} `), payload]);
  return nodeSign('sha256', pae, by.keyObject).toString('base64');
}

describe('a signature file', () => {
  it('with any byte changed is refused, except in the hint, which nobody believes', async () => {
    const hintAt = text.indexOf(key.publicKey.hint);
    for (let i = 0; i < good.length; i++) {
      const bytes = Uint8Array.from(good);
      bytes[i] = (bytes[i] as number) ^ 1;
      const inHint = i >= hintAt && i < hintAt + key.publicKey.hint.length;
      const result = await verify(bytes).catch((error) => error.code);
      if (inHint) assert.equal(result, key.publicKey.keyid, `byte ${i}`);
      else assert.equal(result, 'E_SIGNATURE', `byte ${i}: ${text.slice(i - 10, i + 10)}`);
    }
  });

  it('cut anywhere, empty, or with something after it is refused', async () => {
    for (let length = 0; length < good.length; length += 7) await rejectsWith(verify(good.subarray(0, length)), 'E_SIGNATURE');
    await rejectsWith(verify(Buffer.from(`${text}{}`)), 'E_SIGNATURE');
    await rejectsWith(verify(Buffer.from(`\ufeff${text}`)), 'E_SIGNATURE');
  });

  it('for another statement is refused, be it one byte or only the formatting that differs', async () => {
    const other = Uint8Array.from(STATEMENT);
    other[70] = (other[70] as number) ^ 1;
    await rejectsWith(verify(good, other), 'E_SIGNATURE', /other bytes/);
    const reformatted = Buffer.from(JSON.stringify(JSON.parse(STATEMENT.toString()), null, 2));
    await rejectsWith(verify(good, reformatted), 'E_SIGNATURE', /other bytes/);
    await rejectsWith(verify(good, Buffer.concat([STATEMENT, Buffer.from('\n')])), 'E_SIGNATURE', /other bytes/);
    await rejectsWith(verify(good, new Uint8Array(0)), 'E_SIGNATURE', /other bytes/);
  });

  it('whose payload was put right but whose signature is of other bytes is refused', async () => {
    const elsewhere = Buffer.from('{"_type":"other"}');
    const bytes = changed(await signWith(key, elsewhere), (bundle) => {
      bundle.dsseEnvelope.payload = STATEMENT.toString('base64');
    });
    await rejectsWith(verify(bytes), 'E_SIGNATURE', /does not verify/);
  });

  it('signed well over a payload type of another meaning is refused', async () => {
    for (const type of ['application/json', 'application/vnd.in-toto+JSON', '', 'application/vnd.in-toto+json ']) {
      const bytes = changed(good, ({ dsseEnvelope }) => {
        dsseEnvelope.payloadType = type;
        dsseEnvelope.signatures[0] = { sig: forged(type, STATEMENT) };
      });
      await rejectsWith(verify(bytes), 'E_SIGNATURE', /payload type/);
    }
  });

  it('signed over the bare statement, without the DSSE framing, is refused', async () => {
    const bytes = changed(good, ({ dsseEnvelope }) => {
      dsseEnvelope.signatures[0] = { sig: nodeSign('sha256', STATEMENT, key.keyObject).toString('base64') };
    });
    await rejectsWith(verify(bytes), 'E_SIGNATURE', /does not verify/);
  });

  it('that brings its own key is refused, signed by that key or not', async () => {
    const raw = Buffer.from(attacker.publicKey.spkiDer).toString('base64');
    const sig = forged('application/vnd.in-toto+json', STATEMENT, attacker);
    const keys: Loose[] = [
      { rawBytes: raw },
      { hint: key.publicKey.hint, rawBytes: raw },
      { hint: key.publicKey.hint, publicKey: attacker.publicKey.pem },
    ];
    for (const publicKey of keys) {
      const bytes = changed(good, (bundle) => {
        bundle.verificationMaterial.publicKey = publicKey;
        bundle.dsseEnvelope.signatures[0] = { sig };
      });
      await rejectsWith(verify(bytes), 'E_SIGNATURE', /does not belong/);
    }
    const asHint = changed(await signWith(attacker), (bundle) => {
      bundle.verificationMaterial.publicKey = { hint: attacker.publicKey.pem };
    });
    await rejectsWith(verify(asHint), 'E_UNTRUSTED');
  });

  it('by a certificate, alone or beside the key, is not accepted in this form', async () => {
    const rawBytes = Buffer.from(toPem('CERTIFICATE', attacker.publicKey.spkiDer)).toString('base64');
    for (const material of [{ certificate: { rawBytes } }, { x509CertificateChain: { certificates: [{ rawBytes }] } }]) {
      for (const beside of [{}, { publicKey: { hint: key.publicKey.hint } }]) {
        const bytes = changed(good, (bundle) => {
          (bundle as Loose).verificationMaterial = { ...beside, ...material };
        });
        await rejectsWith(verify(bytes), 'E_UNTRUSTED', /keyless/);
      }
    }
  });

  it('with a log entry or timestamp, which nobody here checks, is not accepted', async () => {
    const entry = { logIndex: '1', logId: { keyId: 'AA==' }, kindVersion: { kind: 'dsse', version: '0.0.1' } };
    const extras: Loose[] = [
      { tlogEntries: [entry] },
      { timestampVerificationData: { rfc3161Timestamps: [{ signedTimestamp: 'AA==' }] } },
    ];
    for (const extra of extras) {
      const bytes = changed(good, (bundle) => void Object.assign(bundle.verificationMaterial, extra));
      await rejectsWith(verify(bytes), 'E_UNTRUSTED', /can not be checked/);
    }
  });

  it('with no signature, two, or an empty one is refused, even when the good one is among them', async () => {
    const [sig] = JSON.parse(text).dsseEnvelope.signatures;
    const lists: unknown[] = [
      [],
      [sig, sig],
      [{ sig: 'AAAA' }, sig],
      [{ sig: '' }],
      [null],
      ['x'],
      {},
      undefined,
      [{}],
      [{ sig: [1] }],
    ];
    for (const list of lists) {
      const bytes = changed(good, (bundle) => void Object.assign(bundle.dsseEnvelope, { signatures: list }));
      const counted = Array.isArray(list) && list.length !== 1;
      await rejectsWith(verify(bytes), 'E_SIGNATURE', counted ? /want exactly one/ : undefined);
    }
  });

  it('of another version or of another kind of content is refused', async () => {
    const types = ['0.1', '0.2', '0.4'].map((version) => `application/vnd.dev.sigstore.bundle+json;version=${version}`);
    types.push('application/vnd.dev.sigstore.bundle.v0.3+jsonX', 'application/vnd.dev.sigstore.bundle.v0.4+json', '');
    for (const mediaType of [...types, undefined, 3]) {
      await rejectsWith(
        verify(changed(good, (bundle) => void Object.assign(bundle, { mediaType }))),
        'E_SIGNATURE',
        /media type/,
      );
    }
    const digest = createHash('sha256').update(STATEMENT).digest('base64');
    const messageSignature = { messageDigest: { algorithm: 'SHA2_256', digest }, signature: forged('x', STATEMENT) };
    await rejectsWith(verify(changed(good, (bundle) => void Object.assign(bundle, { messageSignature }))), 'E_SIGNATURE');
  });

  it('with one member twice is refused: readers differ on which one counts', async () => {
    const doubled = text.replace('"payloadType":', `"payload":"${Buffer.from('{}').toString('base64')}","payloadType":`);
    assert.notEqual(doubled, text);
    await rejectsWith(verify(Buffer.from(doubled)), 'E_SIGNATURE', /twice/);
  });

  it('with base64 that only a lenient reader takes is refused', async () => {
    const spellings = [
      (b: string) => b.replace(/=+$/, ''),
      (b: string) => `${b}\n`,
      (b: string) => ` ${b}`,
      (b: string) => `${b.slice(0, 4)}-${b.slice(4)}`,
    ];
    for (const spelling of spellings) {
      const payload = changed(
        good,
        ({ dsseEnvelope }) => void Object.assign(dsseEnvelope, { payload: spelling(String(dsseEnvelope.payload)) }),
      );
      if (!Buffer.from(payload).equals(good)) await rejectsWith(verify(payload), 'E_SIGNATURE');
      const sig = changed(good, ({ dsseEnvelope }) => {
        dsseEnvelope.signatures[0] = { sig: spelling(String(dsseEnvelope.signatures[0]?.sig)) };
      });
      if (!Buffer.from(sig).equals(good)) await rejectsWith(verify(sig), 'E_SIGNATURE');
    }
  });

  it('that makes parsers suffer is refused before they do', async () => {
    const started = performance.now();
    const deep = '['.repeat(200_000) + ']'.repeat(200_000);
    const bombs: [string, RegExp][] = [
      [deep, /nested deeper/],
      [`{"mediaType":${deep}}`, /nested deeper/],
      [`{"a":"${'x'.repeat(45 * 1024 * 1024)}"}`, /limit/],
      ['{"__proto__":{"mediaType":"x"}}', /media type none/],
    ];
    for (const [bomb, why] of bombs) await rejectsWith(verify(Buffer.from(bomb)), 'E_SIGNATURE', why);
    assert.ok(performance.now() - started < 10_000);
  });

  it('made with a P-384 key, or of zeros, or with r and s out of range is refused', async () => {
    const zero = Buffer.from('3006020100020100', 'hex').toString('base64');
    const order = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551';
    const big = Buffer.from(`3046022100${order}022100${order}`, 'hex').toString('base64');
    for (const sig of [zero, big, Buffer.alloc(64).toString('base64'), Buffer.alloc(3000, 255).toString('base64')]) {
      const bytes = changed(good, ({ dsseEnvelope }) => {
        dsseEnvelope.signatures[0] = { sig };
      });
      await rejectsWith(verify(bytes), 'E_SIGNATURE', /does not verify/);
    }
  });
});

describe('signatures together', () => {
  const trust = { keys: [key.publicKey, attacker.publicKey].slice(0, 1), threshold: 1 };

  it('are refused without an exception of any other kind, whatever the file holds', async () => {
    const junk = [
      '',
      'null',
      '[]',
      '{}',
      '1',
      '"x"',
      '\0',
      '{"verificationMaterial":null}',
      text.replace('{"publicKey"', '{"publicKey":1,"x"'),
    ];
    const signatures = junk.map((item, i) => ({ name: `${i}\u001b[2J.sigstore.json`, bytes: Buffer.from(item) }));
    const { signers, refused } = await countTrustedSignatures({ statementBytes: STATEMENT, signatures, trust, ...OCCASION });
    assert.deepEqual([signers, refused.length], [[], junk.length]);
    for (const item of refused) {
      assert.equal(item.code, 'E_SIGNATURE');
      assert.ok(!item.reason.includes('\u001b'), 'a file name must not drive the terminal');
    }
  });

  it('from a medium whose owner signed with a key of his own are untrusted, even with our names on them', async () => {
    const bytes = await signWith(attacker);
    const name = `${attacker.publicKey.keyid}.sigstore.json`;
    await rejectsWith(
      requireThreshold({ statementBytes: STATEMENT, signatures: [{ name, bytes }], trust, ...OCCASION }),
      'E_UNTRUSTED',
    );
    const posing = [{ name: `${key.publicKey.keyid}.sigstore.json`, bytes }];
    await rejectsWith(requireThreshold({ statementBytes: STATEMENT, signatures: posing, trust, ...OCCASION }), 'E_SIGNATURE');
  });
});
