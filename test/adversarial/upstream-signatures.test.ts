import assert from 'node:assert/strict';
import { createHash, sign } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type ErrorCode, isBundleError } from '../../src/core/errors.ts';
import { LIMITS } from '../../src/core/limits.ts';
import type { VerifyPolicy } from '../../src/upstream/policy.ts';
import { rejectsWith } from '../support/assert-code.ts';
import { utf8 } from '../unit/upstream/der.ts';
import {
  ask,
  bundlePiece,
  byKey,
  hintOf,
  IMAGE,
  KEYLESS,
  keyedBundle,
  OTHER,
  type Piece,
  payloadOf,
  pemOf,
  simpleLayer,
  taggedPiece,
} from '../unit/upstream/evidence.ts';
import {
  type BundleJson,
  type BundleSpec,
  createFakeSigstore,
  ecPair,
  hashedRekord1,
  IDENTITY,
  ISSUER,
  type Json,
  keylessBundle,
  mail,
  pae,
  type RootJson,
  SIGNED_AT,
  statement,
  url,
} from '../unit/upstream/fake-sigstore.ts';

/** What must not pass for a signature of upstream's. Each test changes one thing in what passes (the unit tests show that it does). */

const sigstore = createFakeSigstore();
const key = ecPair();
const stranger = ecPair();
const PROVENANCE = 'https://slsa.dev/provenance/v1';
const iso = (ms: number): string => new Date(ms).toISOString();

const keyless = (spec: BundleSpec = {}, change: (bundle: BundleJson) => void = () => {}): Piece => {
  const bundle = keylessBundle(sigstore, IMAGE, spec);
  change(bundle);
  return bundlePiece(bundle);
};

const refuses = (piece: Piece, code: ErrorCode, message: RegExp, policy: VerifyPolicy = KEYLESS, root = sigstore.root()) =>
  rejectsWith(ask({ policy, pieces: [piece], root }), code, message);

const WITNESSES = ['rekor1', 'rekor2'] as const;

describe('log entries', () => {
  for (const witness of WITNESSES) {
    test(`a valid entry of another artifact does not vouch for this one (${witness})`, async () => {
      const leaf = sigstore.leaf();
      const foreign = keylessBundle(sigstore, OTHER, { leaf, witness, statement: statement(OTHER) });
      const piece = keyless({ leaf, witness }, (bundle) => {
        bundle.verificationMaterial.tlogEntries = foreign.verificationMaterial.tlogEntries ?? [];
      });
      await refuses(piece, 'E_SIGNATURE', /mismatch/);
    });

    test(`an entry of somebody else's log does not count (${witness})`, async () => {
      const foreign = createFakeSigstore();
      const root = sigstore.root((json) => {
        json.tlogs = (JSON.parse(foreign.root().toString()) as RootJson).tlogs;
      });
      await refuses(keyless({ witness }), 'E_SIGNATURE', /does not verify/, KEYLESS, root);
    });

    test(`one entry twice is not two, and no entry is too few (${witness})`, async () => {
      const twice = keyless({ witness }, ({ verificationMaterial: material }) => {
        material.tlogEntries = [...(material.tlogEntries ?? []), ...(material.tlogEntries ?? [])];
      });
      await refuses(twice, 'E_SIGNATURE', /duplicate/);
    });

    test(`a log key that was retired before, or begins after the time of signing, does not count (${witness})`, async () => {
      for (const validFor of [{ start: iso(0), end: iso(SIGNED_AT - 1000) }, { start: iso(SIGNED_AT + 1000) }]) {
        const root = sigstore.root((json) => {
          for (const log of json.tlogs) log.publicKey.validFor = validFor;
        });
        await refuses(keyless({ witness }), 'E_SIGNATURE', /does not verify/, KEYLESS, root);
      }
    });

    test(`a body, a proof or a checkpoint that was changed is refused (${witness})`, async () => {
      const changes: ((entry: Json & { inclusionProof: Json }) => void)[] = [
        (entry) => {
          entry.canonicalizedBody = Buffer.from('{"kind":"hashedrekord","apiVersion":"0.0.1"}').toString('base64');
        },
        ({ inclusionProof }) => {
          inclusionProof.checkpoint = { envelope: 'rekor\n1\nAAAA\n\n\u2014 rekor AAAAAAAA\n' };
        },
        ({ inclusionProof }) => {
          inclusionProof.hashes = [Buffer.alloc(32).toString('base64')];
        },
        ({ inclusionProof }) => {
          inclusionProof.logIndex = 'x';
        },
      ];
      for (const change of changes) {
        const piece = keyless({ witness }, ({ verificationMaterial }) =>
          change(verificationMaterial.tlogEntries?.[0] as Json & { inclusionProof: Json }),
        );
        await refuses(piece, 'E_SIGNATURE', /./);
      }
    });
  }

  test('a signature without an entry is refused where the root has logs', async () => {
    await refuses(keyless({ witness: 'timestamp' }), 'E_SIGNATURE', /tlog entries/);
  });

  test('more entries and timestamps than anybody needs are refused before one is checked', async () => {
    const piece = keyless({}, ({ verificationMaterial: material }) => {
      material.tlogEntries = Array.from({ length: LIMITS.bundleWitnesses + 1 }, () => material.tlogEntries?.[0] as Json);
    });
    await refuses(piece, 'E_SIGNATURE', /limit/);
  });
});

describe('keys that come with the signature', () => {
  test('a key inside a bundle is never what it is verified with', async () => {
    const bundle = keyedBundle(stranger.privateKey, statement(IMAGE), hintOf(key.publicKey));
    const embedded = {
      hint: hintOf(key.publicKey),
      rawBytes: stranger.spki.toString('base64'),
      keyDetails: 'PKIX_ECDSA_P256_SHA_256',
    };
    await refuses(
      bundlePiece({ ...bundle, verificationMaterial: { publicKey: embedded } }),
      'E_SIGNATURE',
      /names the key/,
      byKey(key.publicKey),
    );
  });

  test('a key that the log entry of a legacy signature quotes is not either', async () => {
    const payload = payloadOf(IMAGE);
    const signature = sign('sha256', payload, stranger.privateKey);
    const body = hashedRekord1(createHash('sha256').update(payload).digest(), signature) as { spec: { signature: Json } };
    body.spec.signature.publicKey = { content: Buffer.from(pemOf(stranger.publicKey)).toString('base64') };
    const entry = sigstore.entry(body as unknown as Json, { log: 'rekor1' }) as Json & {
      inclusionPromise: Json;
      logId: { keyId: string };
    };
    const annotation = JSON.stringify({
      SignedEntryTimestamp: entry.inclusionPromise.signedEntryTimestamp,
      Payload: {
        body: entry.canonicalizedBody,
        integratedTime: Number(entry.integratedTime),
        logIndex: 0,
        logID: Buffer.from(entry.logId.keyId, 'base64').toString('hex'),
      },
    });
    const piece = taggedPiece('sig', [simpleLayer(payload, signature, { 'dev.sigstore.cosign/bundle': annotation })]);
    await refuses(piece, 'E_UNTRUSTED', /another key/, byKey(key.publicKey));
    await refuses(piece, 'E_UNTRUSTED', /by a key/);
  });

  test('the signature of a trusted key over other bytes is not one over these', async () => {
    const bundle = keyedBundle(key.privateKey);
    bundle.dsseEnvelope.payload = Buffer.from(JSON.stringify({ ...statement(IMAGE), predicate: { other: true } })).toString(
      'base64',
    );
    await refuses(bundlePiece(bundle), 'E_UNTRUSTED', /another key/, byKey(key.publicKey));
  });
});

describe('what is signed', () => {
  const cases: readonly (readonly [string, Json | Buffer, ErrorCode, RegExp])[] = [
    ['garbage', Buffer.from('not json'), 'E_SIGNATURE', /not JSON/],
    ['an empty object', {}, 'E_SIGNATURE', /type/],
    ['a list', Buffer.from('[]'), 'E_SIGNATURE', /JSON object/],
    ['a statement about another image', statement(OTHER), 'E_SIGNATURE', /another image/],
    ['a statement about nothing', { ...statement(IMAGE), subject: [] }, 'E_SIGNATURE', /about nothing/],
    ['subjects without a digest', { ...statement(IMAGE), subject: [{ name: IMAGE }] }, 'E_SIGNATURE', /another image/],
    [
      'the digest under another hash',
      { ...statement(IMAGE), subject: [{ digest: { sha512: IMAGE.slice(7) } }] },
      'E_SIGNATURE',
      /another image/,
    ],
    [
      'the digest in capitals',
      { ...statement(IMAGE), subject: [{ digest: { sha256: IMAGE.slice(7).toUpperCase() } }] },
      'E_SIGNATURE',
      /another image/,
    ],
    ['another predicate type', statement(IMAGE, PROVENANCE), 'E_UNSIGNED', /provenance/],
    ['no predicate type', { ...statement(IMAGE), predicateType: undefined }, 'E_SIGNATURE', /predicate type/],
    ['another statement type', { ...statement(IMAGE), _type: 'https://in-toto.io/Statement/v9' }, 'E_SIGNATURE', /Statement\/v9/],
    [
      'two subjects under one name',
      Buffer.from(JSON.stringify(statement(IMAGE)).replace('"subject"', '"subject":[],"subject"')),
      'E_SIGNATURE',
      /twice/,
    ],
  ];
  for (const [what, about, code, message] of cases)
    test(`a valid signature over ${what} is none of the image, keyless and by key`, async () => {
      await refuses(keyless({ statement: about }), code, message);
      await refuses(bundlePiece(keyedBundle(key.privateKey, about)), code, message, byKey(key.publicKey));
    });

  test('another payload type is refused', async () => {
    await refuses(keyless({ payloadType: 'application/json' }), 'E_SIGNATURE', /payload type/);
  });

  test('a legacy payload about another image, of another type, or with another signature is refused', async () => {
    const policy = byKey(key.publicKey);
    const by = (payload: Buffer): Piece => taggedPiece('sig', [simpleLayer(payload, sign('sha256', payload, key.privateKey))]);
    await refuses(by(payloadOf(OTHER)), 'E_SIGNATURE', /another image/, policy);
    await refuses(by(payloadOf(IMAGE, 'atomic container signature')), 'E_SIGNATURE', /type/, policy);
    const empty = taggedPiece('sig', [simpleLayer(payloadOf(IMAGE), Buffer.alloc(0))]);
    await refuses(empty, 'E_SIGNATURE', /want a signature/, policy);
  });

  test('the exact bytes are signed: the same JSON, written anew, is not', async () => {
    const payload = payloadOf(IMAGE);
    const signature = sign('sha256', payload, key.privateKey);
    const again = Buffer.from(JSON.stringify(JSON.parse(payload.toString()), null, 1));
    await refuses(taggedPiece('sig', [simpleLayer(again, signature)]), 'E_UNTRUSTED', /another key/, byKey(key.publicKey));
  });

  test('a signature of a file is none of an image, even of the bytes of its manifest', async () => {
    const signature = sign('sha256', Buffer.from('the image'), key.privateKey).toString('base64');
    const messageSignature = {
      messageDigest: { algorithm: 'SHA2_256', digest: Buffer.from(IMAGE.slice(7), 'hex').toString('base64') },
      signature,
    };
    const { dsseEnvelope: _, ...bundle } = keyedBundle(key.privateKey);
    await refuses(bundlePiece({ ...bundle, messageSignature }), 'E_SIGNATURE', /signs a file/, byKey(key.publicKey));
  });

  test('evidence about another manifest is passed over, whatever it holds', async () => {
    await refuses(bundlePiece(keyedBundle(key.privateKey), OTHER), 'E_UNSIGNED', /nothing/, byKey(key.publicKey));
  });

  test('an attestation is not a signature, nor a signature the attestation that is asked for', async () => {
    const policy = { ...byKey(key.publicKey), attestation: PROVENANCE } as VerifyPolicy;
    await refuses(bundlePiece(keyedBundle(key.privateKey)), 'E_UNSIGNED', /cosign\/sign\/v1/, policy);
    const payload = payloadOf(IMAGE);
    await refuses(
      taggedPiece('sig', [simpleLayer(payload, sign('sha256', payload, key.privateKey))]),
      'E_UNSIGNED',
      /not what is asked for/,
      policy,
    );
  });
});

describe('times and certificates', () => {
  for (const witness of WITNESSES)
    test(`a certificate that had expired when it signed, or was not yet valid, is refused (${witness})`, async () => {
      await refuses(keyless({ witness, at: SIGNED_AT + 3_600_000 }), 'E_SIGNATURE', /certificate/);
      await refuses(keyless({ witness, at: SIGNED_AT - 3_600_000 }), 'E_SIGNATURE', /certificate/);
    });

  test('without any proof of the time a certificate is refused', async () => {
    await refuses(
      keyless({}, ({ verificationMaterial }) => delete verificationMaterial.timestampVerificationData),
      'E_SIGNATURE',
      /timestamp/,
    );
  });

  test('a timestamp of another signature, of another authority, twice, or garbage is refused', async () => {
    const with_ = (...stamps: readonly Buffer[]): Piece =>
      keyless({}, ({ verificationMaterial }) => {
        verificationMaterial.timestampVerificationData = {
          rfc3161Timestamps: stamps.map((each) => ({ signedTimestamp: each.toString('base64') })),
        };
      });
    await refuses(with_(sigstore.timestamp(Buffer.from('another'))), 'E_SIGNATURE', /timestamp/);
    await refuses(with_(Buffer.from('3003020101', 'hex')), 'E_SIGNATURE', /./);
    await refuses(with_(Buffer.alloc(64, 0x30)), 'E_SIGNATURE', /./);
    const twice = keyless({}, ({ verificationMaterial: { timestampVerificationData: data } }) =>
      data?.rfc3161Timestamps.push(data.rfc3161Timestamps[0] as Json),
    );
    await refuses(twice, 'E_SIGNATURE', /duplicate/);
    const leaf = sigstore.leaf();
    const data = pae(Buffer.from(JSON.stringify(statement(IMAGE))));
    const signature = sign('sha256', data, leaf.privateKey);
    const forged = keyless({ leaf, signature }, ({ verificationMaterial }) => {
      const signedTimestamp = sigstore.timestamp(signature, SIGNED_AT, stranger.privateKey).toString('base64');
      verificationMaterial.timestampVerificationData = { rfc3161Timestamps: [{ signedTimestamp }] };
    });
    await refuses(forged, 'E_SIGNATURE', /timestamp/);
  });

  test("authorities that ended before, begin later, or are a stranger's, are not believed", async () => {
    for (const list of ['certificateAuthorities', 'timestampAuthorities'] as const)
      for (const validFor of [{ start: iso(0), end: iso(SIGNED_AT - 1000) }, { start: iso(SIGNED_AT + 1000) }]) {
        const root = sigstore.root((json) => {
          for (const authority of json[list]) authority.validFor = validFor;
        });
        await refuses(keyless(), 'E_SIGNATURE', /does not verify/, KEYLESS, root);
      }
    await refuses(keyless(), 'E_SIGNATURE', /does not verify/, KEYLESS, createFakeSigstore().root());
    const foreignCa = createFakeSigstore().leaf();
    await refuses(keyless({ leaf: foreignCa }), 'E_SIGNATURE', /certificate chain/);
  });

  test('a root with logs of certificates demands a proof of them', async () => {
    await refuses(keyless(), 'E_SIGNATURE', /SCTs/, KEYLESS, sigstore.rootWithCtlog(stranger));
  });

  test('a certificate for something else than code, of an authority, or with two names, is refused', async () => {
    await refuses(keyless({ leaf: sigstore.leaf({ usage: '1.3.6.1.5.5.7.3.1' }) }), 'E_SIGNATURE', /signing code/);
    await refuses(keyless({ leaf: sigstore.leaf({ ca: true }) }), 'E_SIGNATURE', /authority/);
    await refuses(
      keyless({ leaf: sigstore.leaf({ names: [url(IDENTITY), mail('eve@example.test')] }) }),
      'E_SIGNATURE',
      /2 names/,
    );
    await refuses(keyless({ leaf: sigstore.leaf({ names: [] }) }), 'E_SIGNATURE', /0 names/);
    const long = sigstore.leaf({ names: [url(`https://a/${'x'.repeat(LIMITS.identityChars)}`)] });
    await refuses(keyless({ leaf: long }), 'E_SIGNATURE', /bytes/);
  });

  test("a certificate of one's own making is refused", async () => {
    const leaf = sigstore.leaf();
    const damaged = Buffer.from(leaf.der);
    damaged[damaged.length - 10] = (damaged[damaged.length - 10] as number) ^ 1;
    await refuses(keyless({ leaf: { ...leaf, der: damaged } }), 'E_SIGNATURE', /./);
  });
});

describe('identities', () => {
  const by = (names: readonly Buffer[], identity: string, issuer = ISSUER): Promise<unknown> =>
    refuses(keyless({ leaf: sigstore.leaf({ names }) }), 'E_UNTRUSTED', /by /, { kind: 'keyless', issuer, identity });

  test('another issuer, a longer, a shorter one, and one of other case, are others', async () => {
    for (const issuer of [
      `${ISSUER}/`,
      ISSUER.slice(0, -1),
      ISSUER.toUpperCase(),
      `${ISSUER}.evil.test`,
      'https://tokenXexample.test',
    ])
      await refuses(keyless({ leaf: sigstore.leaf({ issuer: utf8(issuer) }) }), 'E_UNTRUSTED', /says/);
  });

  test('look-alikes of an address: before it, behind it, any character for the dot', async () => {
    for (const name of [
      'user@x.example.evil',
      'auser@x.example',
      'user@xZexample',
      'user@x.exampl',
      'USER@x.example',
      'user@x.example\n',
      'user@x.example\0',
    ])
      await by([mail(name)], 'user@x.example');
  });

  test('look-alikes by the eighth bit, which the library drops: ± is not B1', async () => {
    await by([url(Buffer.from('https://forge.example.test/team\u00b1'))], 'https://forge.example.test/teamB1');
    await refuses(
      keyless({ leaf: sigstore.leaf({ names: [url(Buffer.from([...Buffer.from('https://a/'), 0xe1]))] }) }),
      'E_SIGNATURE',
      /not text/,
    );
    const issuer = `${ISSUER}/\u00b1`;
    await refuses(keyless({ leaf: sigstore.leaf({ issuer: utf8(issuer) }) }), 'E_UNTRUSTED', /says/, {
      kind: 'keyless',
      issuer: `${ISSUER}/B1`,
      identity: IDENTITY,
    });
  });

  test('a star stays within a path', async () => {
    await by([url(IDENTITY)], 'https://forge.example.test/org/app/*');
    await by([url('https://forge.example.test.evil.test/org/app')], 'https://forge.example.test*/app');
  });
});

describe('damage and excess', () => {
  const policy = byKey(key.publicKey);
  const BROKEN: readonly (readonly [string, Uint8Array | Json])[] = [
    ['nothing', Buffer.alloc(0)],
    ['garbage', Buffer.from('\u0000garbage')],
    ['null', Buffer.from('null')],
    ['no material', { mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json' }],
    ['an unknown version', { ...keyedBundle(key.privateKey), mediaType: 'application/vnd.dev.sigstore.bundle.v0.9+json' }],
    [
      'two signatures',
      ((bundle) => ({
        ...bundle,
        dsseEnvelope: {
          ...bundle.dsseEnvelope,
          signatures: [bundle.dsseEnvelope.signatures[0], bundle.dsseEnvelope.signatures[0]],
        },
      }))(keyedBundle(key.privateKey)),
    ],
    [
      'numbers where text belongs',
      { mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json', verificationMaterial: 7, dsseEnvelope: 7 },
    ],
    [
      'a certificate that is none',
      { ...keyedBundle(key.privateKey), verificationMaterial: { certificate: { rawBytes: 'AAAA' } } },
    ],
  ];
  for (const [what, bundle] of BROKEN)
    test(`a bundle of ${what} is broken, never a crash and never a signature`, async () => {
      await refuses(bundlePiece(bundle), 'E_SIGNATURE', /./, policy);
      await refuses(bundlePiece(bundle), 'E_SIGNATURE', /./);
    });

  test('a legacy signature with a damaged certificate, log entry or timestamp is broken', async () => {
    const payload = payloadOf(IMAGE);
    const signature = sign('sha256', payload, key.privateKey);
    const logID = 'a'.repeat(64);
    const entry = (change: Json): string =>
      JSON.stringify({
        SignedEntryTimestamp: 'AAAA',
        Payload: { body: 'e30=', integratedTime: 1, logIndex: 0, logID, ...change },
      });
    for (const [annotation, value] of [
      ['certificate', 'garbage'],
      ['certificate', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'],
      ['certificate', pemOf(key.publicKey)],
      ['bundle', 'garbage'],
      ['bundle', '{}'],
      ['bundle', entry({ body: 'not base64' })],
      ['bundle', entry({ body: 'AAAA' })],
      ['bundle', entry({ integratedTime: -1 })],
      ['bundle', entry({ logIndex: '0' })],
      ['bundle', entry({ logID: 'x' })],
      ['rfc3161timestamp', '{"SignedRFC3161Timestamp":7}'],
      ['rfc3161timestamp', '{"SignedRFC3161Timestamp":"AAAA"}'],
    ] as const) {
      const piece = taggedPiece('sig', [simpleLayer(payload, signature, { [`dev.sigstore.cosign/${annotation}`]: value })]);
      await refuses(piece, 'E_SIGNATURE', /./, policy);
    }
  });

  test('bytes that are not those of the digest are refused, though the reader gave them', async () => {
    const piece = bundlePiece(keyedBundle(key.privateKey));
    const { graph } = bundlePiece(keyedBundle(stranger.privateKey));
    const layer = graph.manifest.kind === 'manifest' ? graph.manifest.layers[0] : undefined;
    const { verifyImage } = await import('../../src/upstream/verify-image.ts');
    const asked = {
      digest: IMAGE,
      ref: 'x',
      policy,
      evidence: [graph],
      readBlob: async () => piece.blobs[0] as Uint8Array,
      root: undefined,
      now: 0,
    };
    await rejectsWith(verifyImage(asked), 'E_SIGNATURE', new RegExp(`not those of ${layer?.digest}`));
  });

  test('a blob that can not be read is a failure of reading, not a missing signature', async () => {
    const { graph } = bundlePiece(keyedBundle(key.privateKey));
    const { verifyImage } = await import('../../src/upstream/verify-image.ts');
    const readBlob = (): Promise<Uint8Array> => Promise.reject(new Error('connection lost'));
    await assert.rejects(
      verifyImage({ digest: IMAGE, ref: 'x', policy, evidence: [graph], readBlob, root: undefined, now: 0 }),
      /connection lost/,
    );
  });

  test('a layer that says it is larger than any signature is not read', async () => {
    const piece = bundlePiece(keyedBundle(key.privateKey));
    const { manifest } = piece.graph;
    assert.ok(manifest.kind === 'manifest');
    const layers = manifest.layers.map((layer) => ({ ...layer, size: LIMITS.evidenceBlobBytes + 1 }));
    await refuses({ graph: { ...piece.graph, manifest: { ...manifest, layers } }, blobs: [] }, 'E_SIGNATURE', /limit/, policy);
  });

  test('of endless signatures a bounded number is tried, and the message stays short and printable', async () => {
    const payload = payloadOf(IMAGE);
    const signature = sign('sha256', payload, stranger.privateKey);
    const layers = Array.from({ length: 5000 }, () => simpleLayer(payload, signature));
    const good = simpleLayer(payload, sign('sha256', payload, key.privateKey));
    const error = await refuses(taggedPiece('sig', [...layers, good]), 'E_UNTRUSTED', /and 4996 more/, policy);
    assert.ok(error.message.length < 3000);

    const evil = keyless({ leaf: sigstore.leaf({ names: [url('https://evil.test/\u001b[2J\u202e')] }) });
    const shown = await refuses(evil, 'E_UNTRUSTED', /evil/);
    assert.doesNotMatch(shown.message, /[\p{Cc}\p{Cf}]/u);
  });

  test('one changed byte anywhere changes nothing or is refused, with a code', async () => {
    const bytes = Buffer.from(JSON.stringify(keylessBundle(sigstore, IMAGE, { witness: 'rekor1' })));
    const root = sigstore.root();
    const position = fc.integer({ min: 0, max: bytes.length - 1 });
    const change = async (at: number, value: number): Promise<void> => {
      const changed = Buffer.from(bytes);
      changed[at] = value;
      try {
        const verdict = await ask({ policy: KEYLESS, pieces: [bundlePiece(changed)], root });
        assert.ok(verdict.result === 'verified' && verdict.signedAt === '2026-06-01T10:00:00Z');
        assert.deepEqual(verdict.by, { issuer: ISSUER, identity: IDENTITY });
      } catch (error) {
        if (!isBundleError(error)) throw error;
        assert.match(error.code, /^E_(SIGNATURE|UNTRUSTED|UNSIGNED)$/);
      }
    };
    await fc.assert(fc.asyncProperty(position, fc.integer({ min: 0, max: 255 }), change), { numRuns: 150 });
  });
});
