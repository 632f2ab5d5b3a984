import assert from 'node:assert/strict';
import { sign } from 'node:crypto';
import { test } from 'node:test';
import { digestOf } from '../../../src/core/digest.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { describeEvidence } from '../../../src/upstream/describe-evidence.ts';
import { bundlePiece, hintOf, IMAGE, keyedBundle, OTHER, type Piece, payloadOf, simpleLayer, taggedPiece } from './evidence.ts';
import { createFakeSigstore, ecPair, IDENTITY, ISSUER, keylessBundle, SIGN_TYPE, statement, url } from './fake-sigstore.ts';

const sigstore = createFakeSigstore();
const key = ecPair();

const describe = (...pieces: readonly Piece[]) => {
  const blobs = new Map(pieces.flatMap((piece) => piece.blobs.map((bytes) => [digestOf(bytes), bytes])));
  return describeEvidence(
    pieces.map((piece) => piece.graph),
    async ({ digest }) => blobs.get(digest) as Uint8Array,
  );
};

test('says of every signature what it claims: form, signer, kind and time', async () => {
  const payload = payloadOf(IMAGE);
  const hint = hintOf(key.publicKey);
  const pieces = [
    bundlePiece(keylessBundle(sigstore, IMAGE)),
    bundlePiece(keyedBundle(key.privateKey, statement(IMAGE, 'https://spdx.dev/Document'), hint)),
    taggedPiece('sig', [simpleLayer(payload, sign('sha256', payload, key.privateKey))]),
    bundlePiece(Buffer.from('{}'), IMAGE, 'application/spdx+json'),
  ];
  const described = await describe(...pieces);
  assert.deepEqual(
    described.map(({ digest: _, ...rest }) => rest),
    [
      {
        subject: IMAGE,
        format: 'bundle',
        signer: { issuer: ISSUER, identity: IDENTITY },
        predicateType: SIGN_TYPE,
        signedAt: '2026-06-01T10:00:00Z',
      },
      {
        subject: IMAGE,
        format: 'bundle',
        signer: { key: Buffer.from(hint, 'base64').toString('hex') },
        predicateType: 'https://spdx.dev/Document',
      },
      { subject: IMAGE, format: 'legacy', signer: {} },
      { subject: IMAGE, format: 'other', artifactType: 'application/vnd.dev.sigstore.bundle.v0.3+json' },
    ],
  );
  assert.equal(described[3]?.digest, pieces[3]?.graph.evidence.digest);
});

test('what is damaged, about something else or too large is said to be so, not passed over', async () => {
  const large = bundlePiece(keyedBundle(key.privateKey));
  assert.ok(large.graph.manifest.kind === 'manifest');
  const layers = large.graph.manifest.layers.map((layer) => ({ ...layer, size: LIMITS.evidenceBlobBytes + 1 }));
  const [damaged, other, tooLarge] = await describe(
    bundlePiece(Buffer.from('garbage')),
    bundlePiece(keyedBundle(key.privateKey, statement(OTHER))),
    { ...large, graph: { ...large.graph, manifest: { ...large.graph.manifest, layers } } },
  );
  assert.match(damaged?.fault ?? '', /not JSON/);
  assert.match(other?.fault ?? '', /another artifact/);
  assert.match(tooLarge?.fault ?? '', /more than/);
});

test('what outsiders wrote is shown short and without control characters', async () => {
  const evil = '\u001b[2J\u202e';
  const described = await describe(
    bundlePiece(
      keylessBundle(sigstore, IMAGE, {
        leaf: sigstore.leaf({ names: [url(`https://a/${evil}`)] }),
        statement: statement(IMAGE, evil + 'x'.repeat(5000)),
      }),
    ),
    bundlePiece(keyedBundle(key.privateKey, statement(IMAGE), evil + 'y'.repeat(5000))),
  );
  const shown = JSON.stringify(described);
  assert.ok(shown.length < 2500);
  assert.doesNotMatch(shown, /\\u001b|\u202e/);
});
