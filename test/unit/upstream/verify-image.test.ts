import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { describe, test } from 'node:test';
import { verdictSchema } from '../../../src/upstream/verdict.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import {
  ask,
  attestationLayer,
  bundlePiece,
  byKey,
  hintOf,
  IMAGE,
  KEYLESS,
  keyedBundle,
  NOW,
  payloadOf,
  policyKey,
  simpleLayer,
  taggedPiece,
} from './evidence.ts';
import {
  createFakeSigstore,
  dsse1,
  ecPair,
  hashedRekord1,
  IDENTITY,
  ISSUER,
  keylessBundle,
  mail,
  pae,
  SIGNED_AT,
  statement,
  utf8Name,
} from './fake-sigstore.ts';

const sigstore = createFakeSigstore();
const key = ecPair();
const other = ecPair();
const PROVENANCE = 'https://slsa.dev/provenance/v1';
const rootDigest = `sha256:${createHash('sha256').update(sigstore.root()).digest('hex')}`;
const keyid = (pair: { spki: Buffer }): string => createHash('sha256').update(pair.spki).digest('hex');

/** A legacy log entry as cosign keeps it in an annotation. */
function rekorAnnotation(body: Record<string, unknown>): string {
  const entry = sigstore.entry(body, { log: 'rekor1' }) as {
    inclusionPromise: { signedEntryTimestamp: string };
    canonicalizedBody: string;
    integratedTime: string;
    logId: { keyId: string };
  };
  return JSON.stringify({
    SignedEntryTimestamp: entry.inclusionPromise.signedEntryTimestamp,
    Payload: {
      body: entry.canonicalizedBody,
      integratedTime: Number(entry.integratedTime),
      logIndex: 0,
      logID: Buffer.from(entry.logId.keyId, 'base64').toString('hex'),
    },
  });
}
const pemOfLeaf = (leaf: { der: Buffer }): string =>
  `-----BEGIN CERTIFICATE-----\n${leaf.der.toString('base64')}\n-----END CERTIFICATE-----\n`;

describe('what nobody asks for', () => {
  test('without a policy nothing is read, and the verdict says that nothing was asked', async () => {
    assert.deepEqual(await ask({ pieces: [] }), { result: 'not-asked' });
  });

  test('unsigned: allowed is recorded as such, also where there is a signature', async () => {
    const pieces = [bundlePiece(Buffer.from('broken'))];
    assert.deepEqual(await ask({ policy: { kind: 'unsigned' }, pieces }), { result: 'unsigned-allowed' });
  });
});

describe('keyless', () => {
  for (const version of ['0.1', '0.2', '0.3', 'v0.3'] as const)
    test(`a bundle of version ${version} with the identity, its issuer, a log entry and a time is verified`, async () => {
      const bundle = keylessBundle(sigstore, IMAGE, { version, witness: 'rekor1' });
      const piece = bundlePiece(bundle);
      const verdict = await ask({ policy: KEYLESS, pieces: [piece], sigstore });
      assert.deepEqual(verdict, {
        result: 'verified',
        format: 'bundle',
        signature: piece.graph.manifest.kind === 'manifest' && piece.graph.manifest.layers[0]?.digest,
        by: { issuer: ISSUER, identity: IDENTITY },
        signedAt: '2026-06-01T10:00:00Z',
        root: rootDigest,
        asked: { issuer: ISSUER, identity: IDENTITY },
      });
      assert.deepEqual(verdictSchema.parse(JSON.parse(JSON.stringify(verdict))), verdict);
    });

  test('an entry of Rekor v2, which has no time of its own, needs the timestamp authority and gets it', async () => {
    const verdict = await ask({ policy: KEYLESS, pieces: [bundlePiece(keylessBundle(sigstore, IMAGE))], sigstore });
    assert.equal(verdict.result === 'verified' && verdict.signedAt, '2026-06-01T10:00:00Z');
  });

  test('a root without logs asks for no entry, but still for a time', async () => {
    const root = sigstore.root((json) => json.tlogs.splice(0));
    const stamped = bundlePiece(keylessBundle(sigstore, IMAGE, { witness: 'timestamp' }));
    assert.equal((await ask({ policy: KEYLESS, pieces: [stamped], root })).result, 'verified');
    const bare = bundlePiece(keylessBundle(sigstore, IMAGE, { witness: 'none' }));
    await rejectsWith(ask({ policy: KEYLESS, pieces: [bare], root }), 'E_SIGNATURE', /timestamp/);
  });

  test('a root with logs of certificates, as the public one, takes a certificate that one of them has seen', async () => {
    const [ctlog, another] = [ecPair(), ecPair()];
    const pieces = [bundlePiece(keylessBundle(sigstore, IMAGE, { leaf: sigstore.leaf({ ctlog }) }))];
    assert.equal((await ask({ policy: KEYLESS, pieces, root: sigstore.rootWithCtlog(ctlog) })).result, 'verified');
    await rejectsWith(ask({ policy: KEYLESS, pieces, root: sigstore.rootWithCtlog(another) }), 'E_SIGNATURE', /SCT/);
  });

  test('the identity may be a mail address, a URL or a user name', async () => {
    for (const [name, identity] of [
      [mail('dev@example.test'), 'dev@example.test'],
      [utf8Name('octo'), 'octo'],
    ] as const) {
      const bundle = keylessBundle(sigstore, IMAGE, { leaf: sigstore.leaf({ names: [name] }) });
      const verdict = await ask({
        policy: { kind: 'keyless', issuer: ISSUER, identity },
        pieces: [bundlePiece(bundle)],
        sigstore,
      });
      assert.deepEqual(verdict.result === 'verified' && verdict.by, { issuer: ISSUER, identity });
    }
  });

  test('the issuer is read from the old extension too', async () => {
    const bundle = keylessBundle(sigstore, IMAGE, { leaf: sigstore.leaf({ oldIssuer: ISSUER }) });
    assert.equal((await ask({ policy: KEYLESS, pieces: [bundlePiece(bundle)], sigstore })).result, 'verified');
  });

  test('a pattern names the identities that it names, and the verdict keeps both', async () => {
    const identity = 'https://forge.example.test/org/*/.github/workflows/release.yaml@refs/tags/**';
    const verdict = await ask({
      policy: { kind: 'keyless', issuer: ISSUER, identity },
      pieces: [bundlePiece(keylessBundle(sigstore, IMAGE))],
      sigstore,
    });
    assert.ok(verdict.result === 'verified');
    assert.deepEqual(
      [verdict.by, verdict.asked],
      [
        { issuer: ISSUER, identity: IDENTITY },
        { issuer: ISSUER, identity },
      ],
    );
  });

  test('a legacy signature with certificate and log entry, or with a timestamp, is verified', async () => {
    const leaf = sigstore.leaf();
    const payload = payloadOf(IMAGE);
    const signature = sign('sha256', payload, leaf.privateKey);
    const certificate = { 'dev.sigstore.cosign/certificate': pemOfLeaf(leaf), 'dev.sigstore.cosign/chain': 'never read' };
    const entry = rekorAnnotation(hashedRekord1(createHash('sha256').update(payload).digest(), signature));
    const logged = taggedPiece('sig', [simpleLayer(payload, signature, { ...certificate, 'dev.sigstore.cosign/bundle': entry })]);
    const verdict = await ask({ policy: KEYLESS, pieces: [logged], sigstore });
    assert.ok(verdict.result === 'verified' && verdict.format === 'legacy' && verdict.signedAt === '2026-06-01T10:00:00Z');

    const stamp = JSON.stringify({ SignedRFC3161Timestamp: sigstore.timestamp(signature).toString('base64') });
    const stamped = taggedPiece('sig', [
      simpleLayer(payload, signature, {
        ...certificate,
        'dev.sigstore.cosign/bundle': '',
        'dev.sigstore.cosign/rfc3161timestamp': stamp,
      }),
    ]);
    const root = sigstore.root((json) => json.tlogs.splice(0));
    assert.equal((await ask({ policy: KEYLESS, pieces: [stamped], root })).result, 'verified');
    await rejectsWith(ask({ policy: KEYLESS, pieces: [stamped], sigstore }), 'E_SIGNATURE', /tlog entries/);
  });

  test('an attestation of the type asked for counts, in a bundle and in .att', async () => {
    const policy = { ...KEYLESS, attestation: PROVENANCE } as typeof KEYLESS;
    const bundle = bundlePiece(keylessBundle(sigstore, IMAGE, { statement: statement(IMAGE, PROVENANCE) }));
    const verdict = await ask({ policy, pieces: [bundle], sigstore });
    assert.deepEqual(verdict.result === 'verified' && verdict.asked, {
      issuer: ISSUER,
      identity: IDENTITY,
      attestation: PROVENANCE,
    });

    const leaf = sigstore.leaf();
    const payload = Buffer.from(JSON.stringify({ ...statement(IMAGE, PROVENANCE), _type: 'https://in-toto.io/Statement/v0.1' }));
    const signature = sign('sha256', pae(payload), leaf.privateKey);
    const layer = attestationLayer(payload, signature, {
      'dev.sigstore.cosign/certificate': pemOfLeaf(leaf),
      'dev.sigstore.cosign/bundle': rekorAnnotation(dsse1(payload, signature)),
      predicateType: PROVENANCE,
    });
    const legacy = await ask({ policy, pieces: [taggedPiece('att', [layer])], sigstore });
    assert.equal(legacy.result === 'verified' && legacy.format, 'attestation');
    await rejectsWith(
      ask({ policy: KEYLESS, pieces: [taggedPiece('att', [layer]), bundle], sigstore }),
      'E_UNSIGNED',
      /provenance/,
    );
  });

  test("cosign 2's timestamp over the whole envelope of a .att counts; one over something else does not", async () => {
    const leaf = sigstore.leaf();
    const payload = Buffer.from(JSON.stringify(statement(IMAGE, PROVENANCE)));
    const signature = sign('sha256', pae(payload), leaf.privateKey);
    const stampedOver = (data: Uint8Array) =>
      attestationLayer(payload, signature, {
        'dev.sigstore.cosign/certificate': pemOfLeaf(leaf),
        'dev.sigstore.cosign/rfc3161timestamp': JSON.stringify({
          SignedRFC3161Timestamp: sigstore.timestamp(data).toString('base64'),
        }),
      });
    const policy = { ...KEYLESS, attestation: PROVENANCE } as typeof KEYLESS;
    const root = sigstore.root((json) => json.tlogs.splice(0));
    const verdictOn = (data: Uint8Array) => ask({ policy, pieces: [taggedPiece('att', [stampedOver(data)])], root });
    const { bytes: envelope } = attestationLayer(payload, signature);
    assert.equal((await verdictOn(envelope)).result, 'verified');
    assert.equal((await verdictOn(signature)).result, 'verified');
    await rejectsWith(verdictOn(payload), 'E_SIGNATURE', /timestamp/);
  });

  test('the clock plays no part: the verdict of 1999 is that of 2099', async () => {
    const pieces = [bundlePiece(keylessBundle(sigstore, IMAGE))];
    const [old, late] = await Promise.all(
      ['1999-01-01', '2099-01-01'].map((day) => ask({ policy: KEYLESS, pieces, sigstore, now: Date.parse(day) })),
    );
    assert.deepEqual(old, late);
    assert.equal(old?.result, 'verified');
  });

  test('without a trusted root it fails before anything is read', async () => {
    await rejectsWith(ask({ policy: KEYLESS, pieces: [] }), 'E_TRUST_FILE', /trusted root/);
  });
});

describe('by a key', () => {
  const policy = byKey(key.publicKey);

  test('a bundle and a legacy signature by the key are verified without root, log or time', async () => {
    const bundle = await ask({ policy, pieces: [bundlePiece(keyedBundle(key.privateKey))] });
    assert.ok(bundle.result === 'verified');
    assert.deepEqual(
      [bundle.format, bundle.by, bundle.asked, 'signedAt' in bundle, 'root' in bundle],
      ['bundle', { key: keyid(key) }, { keys: [keyid(key)] }, false, false],
    );
    const payload = payloadOf(IMAGE);
    const legacy = await ask({
      policy,
      pieces: [taggedPiece('sig', [simpleLayer(payload, sign('sha256', payload, key.privateKey))])],
    });
    assert.equal(legacy.result === 'verified' && legacy.format, 'legacy');
  });

  test('one of several keys is enough, and the verdict names the one that signed and all that were asked', async () => {
    const verdict = await ask({
      policy: byKey(other.publicKey, key.publicKey),
      pieces: [bundlePiece(keyedBundle(key.privateKey))],
    });
    assert.ok(verdict.result === 'verified');
    assert.deepEqual([verdict.by, verdict.asked], [{ key: keyid(key) }, { keys: [keyid(key), keyid(other)].sort() }]);
  });

  test('P-384 and P-521 by the hash of cosign 2 and of cosign 3, RSA, and Ed25519', async () => {
    const cases = [
      [generateKeyPairSync('ec', { namedCurve: 'P-384' }), ['sha256', 'sha384']],
      [generateKeyPairSync('ec', { namedCurve: 'P-521' }), ['sha256', 'sha512']],
      [generateKeyPairSync('rsa', { modulusLength: 2048 }), ['sha256']],
      [generateKeyPairSync('ed25519'), [null]],
    ] as const;
    for (const [pair, hashes] of cases)
      for (const hash of hashes) {
        const pieces = [bundlePiece(keyedBundle(pair.privateKey, statement(IMAGE), '', hash))];
        assert.equal(
          (await ask({ policy: byKey(pair.publicKey), pieces })).result,
          'verified',
          `${pair.publicKey.asymmetricKeyType} ${hash}`,
        );
        await rejectsWith(ask({ policy, pieces }), 'E_UNTRUSTED');
      }
  });

  test('Ed25519 prehashed, as cosign 3 signs with it, is that key too', async () => {
    const { ed25519ph } = await import('@noble/curves/ed25519.js');
    const secret = ed25519ph.utils.randomSecretKey();
    const { createPublicKey } = await import('node:crypto');
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(ed25519ph.getPublicKey(secret)).toString('base64url') };
    const payload = payloadOf(IMAGE);
    const pieces = [taggedPiece('sig', [simpleLayer(payload, ed25519ph.sign(payload, secret))])];
    assert.equal((await ask({ policy: byKey(createPublicKey({ key: jwk, format: 'jwk' })), pieces })).result, 'verified');
  });

  test('a signature by anyone else is untrusted, one that names the key and is not its own is broken, none is unsigned', async () => {
    await rejectsWith(ask({ policy, pieces: [bundlePiece(keyedBundle(other.privateKey))] }), 'E_UNTRUSTED', /another key/);
    const lie = keyedBundle(other.privateKey, statement(IMAGE), hintOf(key.publicKey));
    await rejectsWith(ask({ policy, pieces: [bundlePiece(lie)] }), 'E_SIGNATURE', /names the key/);
    await rejectsWith(ask({ policy, pieces: [] }), 'E_UNSIGNED', /found nothing that is signed/);
    await rejectsWith(ask({ policy, pieces: [bundlePiece(keylessBundle(sigstore, IMAGE))] }), 'E_UNTRUSTED');
  });

  test('a good signature suffices beside broken ones and those of others', async () => {
    const pieces = [
      bundlePiece(Buffer.from('{}')),
      bundlePiece(keyedBundle(other.privateKey)),
      bundlePiece(keyedBundle(key.privateKey)),
    ];
    assert.equal((await ask({ policy, pieces })).result, 'verified');
  });

  test('the message names the reference, what was found and what was asked; the hint says what to do', async () => {
    const error = await rejectsWith(ask({ policy, pieces: [bundlePiece(keyedBundle(other.privateKey))] }), 'E_UNTRUSTED');
    assert.match(error.message, /registry\.example\.test\/org\/app:v1\.2\.3/);
    assert.match(error.message, new RegExp(IMAGE));
    assert.match(error.message, new RegExp(`${keyid(key).slice(0, 16)}… \\(up\\.pub\\)`));
    assert.match(error.message, /found bundle sha256:/);
    assert.ok(error.hint);
  });

  test('it does not matter in what order the evidence was listed', async () => {
    const payload = payloadOf(IMAGE);
    const pieces = [
      taggedPiece('sig', [simpleLayer(payload, sign('sha256', payload, key.privateKey))]),
      bundlePiece(keyedBundle(key.privateKey)),
      bundlePiece(keyedBundle(key.privateKey, { ...statement(IMAGE), predicate: { more: 'yes' } })),
    ];
    assert.deepEqual(await ask({ policy, pieces }), await ask({ policy, pieces: pieces.toReversed() }));
  });

  test('the artifact type above a bundle is not needed: cosign 3 writes the empty one at registries without a referrers API', async () => {
    const piece = bundlePiece(keyedBundle(key.privateKey), IMAGE, undefined, {
      artifactType: 'application/vnd.oci.empty.v1+json',
    });
    assert.equal((await ask({ policy, pieces: [piece] })).result, 'verified');
  });
});

describe('a key that ends', () => {
  const until = Date.parse('2026-07-01');
  const policy = { kind: 'key', keys: [policyKey(key.publicKey, until)] } as const;
  const bare = () => bundlePiece(keyedBundle(key.privateKey));
  const stamped = (at: number) => {
    const bundle = keyedBundle(key.privateKey);
    const signature = Buffer.from(bundle.dsseEnvelope.signatures[0]?.sig as string, 'base64');
    const signedTimestamp = sigstore.timestamp(signature, at).toString('base64');
    return bundlePiece({
      ...bundle,
      verificationMaterial: { publicKey: { hint: '' }, timestampVerificationData: { rfc3161Timestamps: [{ signedTimestamp }] } },
    });
  };

  test('counts before its end and not from then on, when no time of signing is proved', async () => {
    assert.equal((await ask({ policy, pieces: [bare()], now: until - 1 })).result, 'verified');
    await rejectsWith(ask({ policy, pieces: [bare()], now: until }), 'E_UNTRUSTED', /ended at 2026-07-01T00:00:00Z/);
  });

  test('counts for ever for what was provably signed before its end', async () => {
    const verdict = await ask({ policy, pieces: [stamped(SIGNED_AT)], sigstore, now: NOW });
    assert.ok(verdict.result === 'verified');
    assert.deepEqual([verdict.signedAt, verdict.root], ['2026-06-01T10:00:00Z', rootDigest]);
  });

  test('does not count for what was signed after it, nor by a time that nobody of the root vouches for', async () => {
    await rejectsWith(
      ask({ policy, pieces: [stamped(until + 1000)], sigstore, now: until - 1 }),
      'E_UNTRUSTED',
      /signed at 2026-07-01/,
    );
    await rejectsWith(
      ask({ policy, pieces: [stamped(SIGNED_AT)], sigstore: createFakeSigstore(), now: NOW }),
      'E_UNTRUSTED',
      /nothing proves/,
    );
    await rejectsWith(ask({ policy, pieces: [stamped(SIGNED_AT)], now: NOW }), 'E_UNTRUSTED', /nothing proves/);
  });
});
