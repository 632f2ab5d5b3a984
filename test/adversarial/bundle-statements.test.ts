/** What a trusted key signed is still read as if an enemy had written it: wrong statements and wrong graphs are refused with a promised code. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { verifyBundle } from '../../src/bundle/verify.ts';
import { exitCodeOf, isBundleError } from '../../src/core/errors.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import {
  type Blobs,
  type Entry,
  type Hostile,
  type Loose,
  put,
  putImageManifest,
  putIndex,
  putJson,
  refOf,
  writeHostile,
} from '../support/hostile-bundle.ts';
import { disk, loadInto, NOW, startStore } from '../support/journey.ts';
import { tempDir } from '../support/temp-dir.ts';
import { freshKey } from '../unit/sign/test-keys.ts';

const key = freshKey();
const trust = { keys: [key.publicKey], threshold: 1, sources: [] };

function good(): { blobs: Blobs; roots: Entry[] } {
  const blobs: Blobs = new Map();
  return { blobs, roots: [putImageManifest(blobs, {}, 'a'), putImageManifest(blobs, {}, 'b')] };
}
const withStatement = (statement: (s: Loose) => unknown): Hostile => ({ ...good(), statement });
const withPredicate = (change: (p: Loose) => unknown): Hostile => withStatement((s) => change(s.predicate));
const withText = (from: RegExp, to: string): Hostile => ({
  ...good(),
  text: (json) => {
    const changed = json.replace(from, to);
    assert.notEqual(changed, json, String(from));
    return changed;
  },
});
const ZERO = `sha256:${'0'.repeat(64)}`;

/** Statements: E_STATEMENT unless named. */
const STATEMENTS: Readonly<Record<string, Hostile | { code: string; hostile: Hostile }>> = {
  'no JSON': { ...good(), text: () => 'hello' },
  'not UTF-8': { ...good(), text: (json) => Buffer.concat([Buffer.from(json.slice(0, -1)), Buffer.from([0xff, 0x7d])]) },
  'a byte order mark': { ...good(), text: (json) => `\ufeff${json}` },
  'a list': { ...good(), text: (json) => `[${json}]` },
  'nested a hundred thousand deep': { ...good(), text: () => `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}` },
  'another _type': withStatement((s) => Object.assign(s, { _type: 'https://in-toto.io/Statement/v0.1' })),
  'another predicateType': withStatement((s) => Object.assign(s, { predicateType: 'https://slsa.dev/provenance/v1' })),
  'no predicateType': withStatement((s) => delete s.predicateType),
  'no subject': withStatement((s) => Object.assign(s, { subject: [] })),
  'two subjects': withStatement((s) => s.subject.push(s.subject[0])),
  'a subject of another name': withStatement((s) => Object.assign(s.subject[0], { name: 'other.json' })),
  'a subject of other bytes': {
    code: 'E_DIGEST',
    hostile: withStatement((s) => Object.assign(s.subject[0].digest, { sha256: '0'.repeat(64) })),
  },
  'a subject by two digests': withStatement((s) => Object.assign(s.subject[0].digest, { sha512: '0'.repeat(128) })),
  'an unknown member': withPredicate((p) => Object.assign(p, { extra: 1 })),
  'a __proto__': withText(/"tool":/, '"__proto__":{"sequence":9},"tool":'),
  'one member twice': withText(/"sequence":5/, '"sequence":5,"sequence":6'),
  'one member of a blob twice': withText(/("blobs":\[\{"digest":"[^"]+")/, `$1,"digest":"${ZERO}"`),
  'the name ../x': withPredicate((p) => Object.assign(p, { name: '../x' })),
  'the name .': withPredicate((p) => Object.assign(p, { name: '.' })),
  'a name in capitals': withPredicate((p) => Object.assign(p, { name: 'Lumen' })),
  'a name of 300 characters': withPredicate((p) => Object.assign(p, { name: 'x'.repeat(300) })),
  'sequence 0': withPredicate((p) => Object.assign(p, { sequence: 0 })),
  'sequence -1': withPredicate((p) => Object.assign(p, { sequence: -1 })),
  'sequence 1.5': withPredicate((p) => Object.assign(p, { sequence: 1.5 })),
  'sequence "5"': withPredicate((p) => Object.assign(p, { sequence: '5' })),
  'sequence 1e308': withText(/"sequence":5/, '"sequence":1e308'),
  'sequence 1e400': withText(/"sequence":5/, '"sequence":1e400'),
  'sequence 2^53': withText(/"sequence":5/, '"sequence":9007199254740992'),
  'another sequence than its folder': { ...good(), folder: 6 },
  'created yesterday': withPredicate((p) => Object.assign(p, { created: 'yesterday' })),
  'created on the 40th': withPredicate((p) => Object.assign(p, { created: '2026-11-40T08:00:00Z' })),
  'expires never': withPredicate((p) => Object.assign(p, { expires: 'never' })),
  'size -1': withText(/("blobs":\[\{"digest":"[^"]+","size":)\d+/, '$1-1'),
  'size 1.5': withText(/("blobs":\[\{"digest":"[^"]+","size":)\d+/, '$11.5'),
  'size 1e400': withText(/("blobs":\[\{"digest":"[^"]+","size":)\d+/, '$11e400'),
  'size 2^53': withText(/("blobs":\[\{"digest":"[^"]+","size":)\d+/, '$19007199254740993'),
  'size "5"': withText(/("blobs":\[\{"digest":"[^"]+","size":)(\d+)/, '$1"$2"'),
  'a digest with ../': withPredicate((p) => Object.assign(p.blobs[0], { digest: 'sha256:../../../etc/passwd' })),
  'a digest in capitals': withPredicate((p) =>
    Object.assign(p.blobs[0], { digest: p.blobs[0].digest.replace('sha256:', 'sha256:A') }),
  ),
  'a digest of 65 characters': withPredicate((p) => Object.assign(p.blobs[0], { digest: `${p.blobs[0].digest}0` })),
  'a digest with a line break': withPredicate((p) => Object.assign(p.blobs[0], { digest: `${p.blobs[0].digest}\n` })),
  'a digest by md5': withPredicate((p) => Object.assign(p.blobs[0], { digest: 'md5:d41d8cd98f00b204e9800998ecf8427e' })),
  'the file ../x': withPredicate((p) => p.files.push({ name: '../x', digest: ZERO, size: 1 })),
  'the file /etc/passwd': withPredicate((p) => p.files.push({ name: '/etc/passwd', digest: ZERO, size: 1 })),
  'a file that is not known': withPredicate((p) => p.files.push({ name: 'something_else.json', digest: ZERO, size: 1 })),
  'a file twice': withPredicate((p) => p.files.push(p.files[0])),
  'a blob twice': withPredicate((p) => p.blobs.push(p.blobs[0])),
  'a blob twice with two sizes': withPredicate((p) => p.blobs.push({ ...p.blobs[0], size: 1 })),
  'a reference twice': withPredicate((p) => p.contents.push(p.contents[0])),
  'a reference that is short': withPredicate((p) => Object.assign(p.contents[0], { ref: 'redis' })),
  'a reference with ../': withPredicate((p) => Object.assign(p.contents[0], { ref: 'docker.io/../x:1' })),
  'an alias with ../': withPredicate((p) => Object.assign(p.contents[0], { aliases: ['../x:1'] })),
  'an alias without a tag': withPredicate((p) => Object.assign(p.contents[0], { aliases: ['team/app'] })),
  'another kind': withPredicate((p) => Object.assign(p.contents[0], { kind: 'chart' })),
  'a blob that nothing needs': (({ blobs, roots }) => ({ blobs, roots, stray: put(blobs, 'stray') }))(good()),
  'a lock of another digest': {
    code: 'E_DIGEST',
    hostile: withPredicate((p) => Object.assign(p.files[0], { digest: ZERO })),
  },
  'a lock of another size': { code: 'E_SIZE', hostile: withPredicate((p) => Object.assign(p.files[0], { size: 999 })) },
  'a root that index.json has not': {
    code: 'E_LAYOUT',
    hostile: { ...good(), index: (index) => index.manifests.pop() },
  },
  'not a root that index.json has': {
    code: 'E_UNLISTED',
    hostile: { ...good(), index: (index) => index.manifests.push({ ...index.manifests[0], digest: ZERO }) },
  },
  'an expiry that is over': {
    code: 'E_EXPIRED',
    hostile: withPredicate((p) => Object.assign(p, { expires: '2026-11-21T07:59:59Z' })),
  },
};

/** One image whose manifest is changed, the rest as it should be. */
const withManifest = (more: object): Hostile => {
  const blobs: Blobs = new Map();
  return { blobs, roots: [putImageManifest(blobs, more)] };
};
const withRoot = (make: (blobs: Blobs) => Entry): Hostile => {
  const blobs: Blobs = new Map();
  return { blobs, roots: [make(blobs)] };
};

function nested(blobs: Blobs, depth: number, width = 1): Entry {
  let entry = putImageManifest(blobs);
  for (let i = 1; i < depth; i++) entry = putIndex(blobs, Array(width).fill(entry));
  return entry;
}

const GRAPHS: Readonly<Record<string, { code: string; hostile: Hostile }>> = {
  'a child that the statement does not list': {
    code: 'E_UNLISTED',
    hostile: {
      ...withRoot((blobs) => putIndex(blobs, [putImageManifest(blobs)])),
      statement: (s) => {
        const [child] = s.predicate.blobs.splice(2, 1);
        assert.ok(child);
      },
    },
  },
  'a layer that the statement does not list': {
    code: 'E_UNLISTED',
    hostile: { ...withManifest({}), statement: (s) => s.predicate.blobs.splice(1, 1) },
  },
  'a child with another size than the statement says': {
    code: 'E_SIZE',
    hostile: withRoot((blobs) => putIndex(blobs, [{ ...putImageManifest(blobs), size: 7 }])),
  },
  'a layer with another size than the statement says': {
    code: 'E_SIZE',
    hostile: withRoot((blobs) => {
      const layer = put(blobs, 'layer', 'application/vnd.oci.image.layer.v1.tar');
      return putImageManifest(blobs, { layers: [{ ...layer, size: layer.size + 1 }] });
    }),
  },
  'one layer with two sizes': {
    code: 'E_OCI_MANIFEST',
    hostile: withRoot((blobs) => {
      const layer = put(blobs, 'layer', 'application/vnd.oci.image.layer.v1.tar');
      return putImageManifest(blobs, { layers: [layer, { ...layer, size: layer.size + 1 }] });
    }),
  },
  'one manifest under two types': {
    code: 'E_OCI_MANIFEST',
    hostile: withRoot((blobs) => {
      const child = putImageManifest(blobs);
      return putIndex(blobs, [child, { ...child, mediaType: MEDIA_TYPE.dockerManifest }]);
    }),
  },
  'both manifests and layers in an image': { code: 'E_OCI_MANIFEST', hostile: withManifest({ manifests: [] }) },
  'both manifests and layers in an index': {
    code: 'E_OCI_MANIFEST',
    hostile: withRoot((blobs) => putIndex(blobs, [putImageManifest(blobs)], { layers: [] })),
  },
  'both, by a name in capitals': { code: 'E_OCI_MANIFEST', hostile: withManifest({ Manifests: [] }) },
  'an index that is listed as an image': {
    code: 'E_OCI_MANIFEST',
    hostile: withRoot((blobs) => ({ ...putIndex(blobs, [putImageManifest(blobs)]), mediaType: MEDIA_TYPE.ociManifest })),
  },
  'an image that is listed as an index': {
    code: 'E_OCI_MANIFEST',
    hostile: withRoot((blobs) => ({ ...putImageManifest(blobs, { mediaType: undefined }), mediaType: MEDIA_TYPE.ociIndex })),
  },
  'a type that nobody knows': {
    code: 'E_OCI_MANIFEST',
    hostile: withRoot((blobs) => ({ ...putImageManifest(blobs, { mediaType: undefined }), mediaType: 'text/plain' })),
  },
  'schema 1': {
    code: 'E_SCHEMA1',
    hostile: withRoot((blobs) => putJson(blobs, MEDIA_TYPE.dockerSchema1Signed, { schemaVersion: 1, fsLayers: [] })),
  },
  'a layer digest with ../': {
    code: 'E_DIGEST_INVALID',
    hostile: withManifest({ layers: [{ mediaType: 'x', digest: 'sha256:../../../etc/passwd', size: 1 }] }),
  },
  'a layer size of -1': {
    code: 'E_OCI_MANIFEST',
    hostile: withManifest({ layers: [{ mediaType: 'x', digest: ZERO, size: -1 }] }),
  },
  'a layer size of 2^53': {
    code: 'E_OCI_MANIFEST',
    hostile: withManifest({ layers: [{ mediaType: 'x', digest: ZERO, size: 2 ** 53 }] }),
  },
  'one member twice': {
    code: 'E_OCI_MANIFEST',
    hostile: withRoot((blobs) => put(blobs, '{"schemaVersion":2,"layers":[],"layers":[]}', MEDIA_TYPE.ociManifest)),
  },
  'a manifest that is no JSON': {
    code: 'E_OCI_MANIFEST',
    hostile: withRoot((blobs) => put(blobs, 'hello', MEDIA_TYPE.ociManifest)),
  },
  'a manifest that is empty': { code: 'E_OCI_MANIFEST', hostile: withRoot((blobs) => put(blobs, '', MEDIA_TYPE.ociManifest)) },
  'a manifest of five megabytes': {
    code: 'E_LIMIT',
    hostile: withManifest({ annotations: { x: 'x'.repeat(5 * 1024 * 1024) } }),
  },
  'ten thousand and one layers': {
    code: 'E_OCI_MANIFEST',
    hostile: withManifest({ layers: Array(10_001).fill({ mediaType: 'x', digest: ZERO, size: 1 }) }),
  },
  'indexes ten deep': { code: 'E_LIMIT', hostile: withRoot((blobs) => nested(blobs, 10)) },
  'an index that says it is its own child': {
    code: 'E_DIGEST',
    hostile: {
      // Nobody can make one that hashes right: the bytes under the name are others.
      ...withRoot((blobs) => {
        const index = putIndex(blobs, [{ mediaType: MEDIA_TYPE.ociIndex, digest: ZERO, size: 0 }]);
        const bytes = Buffer.from((blobs.get(index.digest) as Buffer).toString().replace(ZERO, index.digest));
        blobs.set(index.digest, bytes);
        return { ...index, size: bytes.length };
      }),
    },
  },
  'a manifest met as a layer first, whose own layer is not listed': {
    code: 'E_UNLISTED',
    hostile: {
      ...withRoot((blobs) => {
        const hidden = putImageManifest(blobs, {}, 'hidden');
        const first = putImageManifest(blobs, { layers: [{ ...hidden, mediaType: 'application/octet-stream' }] }, 'first');
        return putIndex(blobs, [first, hidden]);
      }),
      statement: (s) => {
        const [layer] = s.predicate.blobs.splice(1, 1);
        assert.equal(layer.size, 'layer hidden'.length);
        s.predicate.blobs = s.predicate.blobs.filter((b: { size: number }) => b.size !== 'layer first'.length);
      },
    },
  },
  'a foreign layer that is listed': {
    code: 'E_STATEMENT',
    hostile: withRoot((blobs) => {
      const layer = put(blobs, 'foreign', 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip');
      return putImageManifest(blobs, { layers: [{ ...layer, urls: ['http://169.254.169.254/x'] }] });
    }),
  },
  'another digest than its bytes have': {
    code: 'E_DIGEST',
    hostile: withRoot((blobs) => {
      const root = putImageManifest(blobs);
      blobs.set(
        root.digest,
        Buffer.from((blobs.get(root.digest) as Buffer).toString().replace('"schemaVersion":2', '"schemaVersion":3')),
      );
      return root;
    }),
  },
};

it('what a trusted key signed is refused when the statement or the graph under it is wrong, and nothing is written', async (t) => {
  const directory = `${await tempDir(t)}/bundle`;
  const store = await startStore(t);
  const cases = [
    ...Object.entries(STATEMENTS).map(([what, c]) => [
      'code' in c ? c.hostile : c,
      'code' in c ? c.code : 'E_STATEMENT',
      `statement: ${what}`,
    ]),
    ...Object.entries(GRAPHS).map(([what, { hostile, code }]) => [hostile, code, `graph: ${what}`]),
  ] as [Hostile, string, string][];
  const wrong: string[] = [];
  for (const [hostile, code, what] of cases) {
    await writeHostile(directory, key, hostile);
    const attempt = async () => loadInto(store, await verifyBundle(disk, directory, { trust, now: NOW }), `${directory}-state`);
    const error = await attempt().then(
      () => 'it was loaded',
      (e: unknown) => e,
    );
    if (!isBundleError(error)) wrong.push(`${what}: want ${code}, ${error instanceof Error ? error.stack : String(error)}`);
    else if (error.code !== code) wrong.push(`${what}: want ${code}, got ${error.code}: ${error.message.slice(0, 200)}`);
    else {
      // A schema 1 image has the code that it has at pull, where it is the manifest's fault (3).
      assert.ok([5, 6].includes(exitCodeOf(error.code)) || code === 'E_SCHEMA1', what);
      assert.ok(error.message.length < 20_000, `${what}: a message of ${error.message.length} characters`);
    }
  }
  assert.deepEqual(wrong, []);
  assert.deepEqual(store.writes(), []);
  t.diagnostic(`${cases.length} hostile statements and graphs`);
});

it('a good statement of the same making is loaded: the refusals above are not for another reason', async (t) => {
  const directory = `${await tempDir(t)}/bundle`;
  const store = await startStore(t);
  await writeHostile(directory, key, good());
  const bundle = await verifyBundle(disk, directory, { trust, now: NOW });
  assert.deepEqual(bundle.signers, [key.publicKey.keyid]);
  const result = await loadInto(store, bundle, `${directory}-state`);
  assert.equal(result.tagsMoved, 2);
  assert.ok(await store.content.manifest(refOf(1).split(':')[0] as string, '1.0'));
});

it('a diamond of thirty ways at each of seven levels is walked once per digest', async (t) => {
  const directory = `${await tempDir(t)}/bundle`;
  await writeHostile(
    directory,
    key,
    withRoot((blobs) => nested(blobs, 8, 30)),
  );
  const started = performance.now();
  const bundle = await verifyBundle(disk, directory, { trust, now: NOW });
  assert.equal(bundle.contents[0]?.target.manifests.length, 8);
  assert.ok(performance.now() - started < 3000, `${performance.now() - started} ms`);
});

it('a config that several artifacts share under types of their own is no confusion', async (t) => {
  const directory = `${await tempDir(t)}/bundle`;
  await writeHostile(
    directory,
    key,
    withRoot((blobs) => {
      const empty = put(blobs, '{}', MEDIA_TYPE.ociEmpty);
      const artifact = (type: string): Entry =>
        putJson(blobs, MEDIA_TYPE.ociManifest, {
          schemaVersion: 2,
          mediaType: MEDIA_TYPE.ociManifest,
          config: { ...empty, mediaType: type },
          layers: [empty],
        });
      return putIndex(blobs, [artifact('application/vnd.one'), artifact('application/vnd.two')]);
    }),
  );
  await verifyBundle(disk, directory, { trust, now: NOW });
});

it('a manifest that is a layer of another image too is carried as both', async (t) => {
  const directory = `${await tempDir(t)}/bundle`;
  const hostile = withRoot((blobs) => {
    const child = putImageManifest(blobs, {}, 'child');
    return putIndex(blobs, [putImageManifest(blobs, { layers: [{ ...child, mediaType: 'application/octet-stream' }] }), child]);
  });
  await writeHostile(directory, key, hostile);
  const graph = (await verifyBundle(disk, directory, { trust, now: NOW })).contents[0]?.target;
  assert.equal(graph?.manifests.length, 3);
  const child = graph?.manifests[1]?.descriptor.digest;
  assert.ok(graph?.blobs.some((d) => d.digest === child));
});
