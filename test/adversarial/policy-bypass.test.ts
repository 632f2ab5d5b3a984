import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { legacyTag, mergeLegacy } from '../../src/cosign/legacy.ts';
import { signImage } from '../../src/cosign/sign-image.ts';
import { journey, type Ran } from '../support/command-journey.ts';
import { type Blobs, putImageManifest, putIndex, writeHostile } from '../support/hostile-bundle.ts';
import type { Ending } from '../support/temp-dir.ts';
import { freshKey } from '../unit/sign/test-keys.ts';

/** Who pulls is trusted to sign bundles, and lies about upstream: node-1 asks for upstream's key under docker.io. */
async function liar(t: Ending) {
  const j = await journey(t);
  const [release, upstream] = [freshKey(), freshKey()];
  const trust = j.path('trust');
  mkdirSync(`${trust}/keys`, { recursive: true });
  writeFileSync(`${trust}/release.pub`, release.publicKey.pem);
  writeFileSync(`${trust}/keys/upstream.pub`, upstream.publicKey.pem);
  writeFileSync(`${trust}/trust.yaml`, 'policies: {docker.io: {key: keys/upstream.pub}}\n');
  const blobs: Blobs = new Map();
  const [good, evil] = [putImageManifest(blobs, {}, 'good'), putImageManifest(blobs, {}, 'evil')];
  const signature = async (subject: { digest: string; mediaType: string; size: number }) => {
    const descriptor = { ...subject, digest: subject.digest as Digest };
    const signed = await signImage(upstream, descriptor, ['docker.io/team/image-0:1.0'], '2026-11-21T08:00:00Z');
    const merged = mergeLegacy(undefined, signed.layers) ?? assert.fail('nothing was signed');
    for (const blob of [...signed.blobs.slice(0, 1), merged.config, merged.manifest])
      blobs.set(blob.digest, Buffer.from(blob.bytes));
    const { digest, mediaType, bytes } = merged.manifest;
    return { subject: descriptor.digest, tag: legacyTag(descriptor.digest, 'sig'), digest, mediaType, size: bytes.length };
  };
  const load = (): Promise<Ran> =>
    j.run(['load', j.bundle, '--registry', j.target.host, '--trust', trust, '--state', j.path('state'), '--skip-mirrors']);
  return { j, release, blobs, good, evil, signature, load };
}

test("what upstream signed as one image can't stand for another under the tag: neither as its part nor as an index of parts", async (t) => {
  const { j, release, blobs, good, evil, signature, load } = await liar(t);
  const evidence = await signature(good);
  const strange = putIndex(blobs, [evil]);
  for (const [form, target] of [
    ['single', evil],
    ['derived', strange],
    ['whole', evil],
    ['derived', evil],
  ] as const) {
    await writeHostile(j.bundle, release, {
      blobs,
      roots: [good],
      index: (index) => {
        index.manifests = [{ ...target }, { mediaType: evidence.mediaType, digest: evidence.digest, size: evidence.size }];
      },
      statement: ({ predicate }) => {
        const meant = { targetDigest: target.digest, targetMediaType: target.mediaType, targetSize: target.size, form };
        Object.assign(predicate.contents[0], meant, { evidence: [evidence] });
      },
    });
    const ran = await load();
    assert.equal(ran.code, 5, `${form}: ${ran.stderr}`);
    assert.match(ran.stderr, /is no part of|and means sha256|is no index/);
    assert.match(ran.stderr, /E_STATEMENT/);
  }
  assert.deepEqual(j.target.requests, []);
});

test("an extra name can't look like another origin's, whose policy nobody would ask", async (t) => {
  const { j, release, blobs, evil, load } = await liar(t);
  await writeHostile(j.bundle, release, {
    blobs,
    roots: [evil],
    statement: ({ predicate }) => {
      Object.assign(predicate.contents[0], { ref: 'quay.io/evil/x:1', aliases: ['docker.io/team/image-0:1.0'] });
    },
  });
  const ran = await load();
  assert.equal(ran.code, 5, ran.stderr);
  assert.match(ran.stderr, /not an extra name/);
  assert.deepEqual(j.target.requests, []);
});
