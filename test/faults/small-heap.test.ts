/**
 * Promise 5 where memory is short: hostile origins and media against the real program with a heap of 128 MiB. It ends with a promised exit code; a heap
 * that runs over would end it with a signal. test/faults/memory.test.ts measures the large and honest ones.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { cp, rm, truncate, writeFile } from 'node:fs/promises';
import { it, type TestContext } from 'node:test';
import { LIMITS } from '../../src/core/limits.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import { generationsOf, isWrite, type Journey, journey } from '../support/command-journey.ts';
import { type FaultRegistry, startFaultRegistry } from '../support/fault-registry.ts';
import { type Blobs, putImageManifest, putIndex } from '../support/hostile-bundle.ts';
import { digestOfBytes, randomImage } from '../support/random-image.ts';
import { bundleProgram } from '../support/real/bundle.ts';
import { run } from '../support/real/programs.ts';

const HEAP = '--max-old-space-size=128';

const runSmall = (j: Journey, hosts: readonly string[], ...argv: string[]) =>
  run(bundleProgram, argv, {
    env: { HOME: j.dir, BUNDLE_PLAIN_HTTP: hosts.join(','), NODE_OPTIONS: HEAP },
    timeoutMs: 60_000,
  });

type Entry = ReturnType<typeof putIndex>;

/** An index of an index of … `width` times each, `depth` deep. */
function nested(blobs: Blobs, depth: number, width: number): Entry {
  let entry: Entry = { ...putImageManifest(blobs), platform: { os: 'linux', architecture: 'amd64' } } as Entry;
  for (let i = 0; i < depth; i++) entry = putIndex(blobs, Array(width).fill(entry));
  return entry;
}

const raw = (blobs: Blobs, text: string): Entry => {
  const bytes = Buffer.from(text);
  const digest = digestOfBytes(bytes);
  blobs.set(digest, bytes);
  return { mediaType: MEDIA_TYPE.ociIndex, digest, size: bytes.length };
};

const HEAD = `{"schemaVersion":2,"mediaType":"${MEDIA_TYPE.ociIndex}","manifests":[`;
/** Descriptors that are all another: nothing of them is there. */
const many = (count: number): string =>
  Array.from(
    { length: count },
    (_, i) =>
      `{"mediaType":"${MEDIA_TYPE.ociManifest}","digest":"sha256:${i.toString(16).padStart(64, '0')}","size":500,"platform":{"os":"linux","architecture":"amd64"}}`,
  ).join(',');

type Origin = Readonly<{
  what: string;
  exit: number;
  code: RegExp;
  make?: (blobs: Blobs) => Entry;
  set?: (r: FaultRegistry) => void;
}>;

const ORIGINS: readonly Origin[] = [
  {
    what: 'an index of ten thousand images that are not there',
    exit: 5,
    code: /E_LIMIT/,
    make: (blobs) => raw(blobs, `${HEAD}${many(10_000)}]}`),
  },
  {
    what: 'an index of more descriptors than are allowed',
    exit: 5,
    code: /E_OCI_MANIFEST/,
    make: (blobs) => raw(blobs, `${HEAD}${many(LIMITS.descriptors + 1)}]}`),
  },
  { what: 'indexes nested too deep', exit: 5, code: /E_LIMIT/, make: (blobs) => nested(blobs, LIMITS.indexDepth + 2, 1) },
  {
    what: 'brackets a million deep',
    exit: 5,
    code: /E_OCI_MANIFEST|E_LIMIT/,
    make: (blobs) => raw(blobs, `${HEAD}${'['.repeat(1e6)}`),
  },
  {
    what: 'four mebibytes of empty lists',
    exit: 5,
    code: /E_OCI_MANIFEST|E_LIMIT/,
    make: (blobs) => raw(blobs, `${HEAD}${'[],'.repeat(1_300_000)}[]]}`),
  },
  {
    what: 'a manifest without end',
    exit: 5,
    code: /E_LIMIT/,
    set: (r) => void r.inject({ on: 'manifest', method: 'GET', does: { kind: 'endless' }, times: Number.POSITIVE_INFINITY }),
  },
  {
    what: 'a manifest of a gibibyte',
    exit: 5,
    code: /E_LIMIT/,
    set: (r) =>
      void r.inject({
        on: 'manifest',
        method: 'GET',
        does: { kind: 'answer', status: 200, body: 2 ** 30, headers: { 'content-type': MEDIA_TYPE.ociIndex } },
        times: Number.POSITIVE_INFINITY,
      }),
  },
  {
    what: 'a refusal of a gibibyte',
    exit: 4,
    code: /E_AUTH|E_REGISTRY/,
    set: (r) =>
      void r.inject({ on: 'manifest', does: { kind: 'answer', status: 403, body: 2 ** 30 }, times: Number.POSITIVE_INFINITY }),
  },
  {
    what: 'a layer without end',
    exit: 5,
    code: /E_SIZE|E_LIMIT/,
    set: (r) => void r.inject({ on: 'blob', does: { kind: 'endless' }, times: Number.POSITIVE_INFINITY }),
  },
];

it('an origin that never ends, or nests and repeats without measure, is refused by its limit in a heap of 128 MiB', async (t) => {
  const j = await journey(t);
  for (const { what, exit, code, make, set } of ORIGINS) {
    const registry = await startFaultRegistry(t);
    registry.add('team/app', '1.0', await randomImage({ files: 1, bytes: 500, layers: 1 }));
    if (make !== undefined) {
      const blobs: Blobs = new Map();
      const { manifests, tags } = registry.storage.repository('team/app');
      const root = make(blobs);
      for (const [digest, bytes] of blobs) manifests.set(digest, { digest, mediaType: typeOf(bytes), bytes });
      tags.set('1.0', root.digest);
    }
    set?.(registry);
    const name = what.replaceAll(/[^a-z]+/g, '-');
    const file = await j.manifest(name, 'platforms: [linux/amd64]', `images: ["${registry.host}/team/app:1.0"]`);
    const ran = await runSmall(j, [registry.host], 'pull', '-f', file, '-o', j.path(name), '--key', j.key.key);
    assert.equal(ran.code, exit, `${what}: ${ran.stderr}`);
    assert.match(ran.stderr, code, what);
    assert.ok(!existsSync(j.path(name, 'bundle.json')), `${what}: a generation was made`);
    assert.ok(registry.requests.length < 100, `${what}: ${registry.requests.length} requests`);
  }
  t.diagnostic(`${ORIGINS.length} origins`);
});

const typeOf = (bytes: Buffer): string =>
  bytes.includes('"manifests"') || bytes.includes(MEDIA_TYPE.ociIndex) ? MEDIA_TYPE.ociIndex : MEDIA_TYPE.ociManifest;

it('a medium with files of a terabyte, or of nothing but brackets, is refused in the same heap before the target hears anything', async (t: TestContext) => {
  const j = await journey(t);
  const [{ host, put }] = j.origins;
  await put('team/app', '1.0', await randomImage({ files: 1, bytes: 800, layers: 1 }));
  assert.equal((await j.pull(await j.manifest('lumen', `images: ["${host}/team/app:1.0"]`))).code, 0);
  const folder = `generations/${generationsOf(j.bundle)[0]}`;
  const sparse = (path: string) => truncate(path, 1024 ** 4);
  const media: readonly [string, (path: string) => Promise<void>][] = [
    [`${folder}/bundle.json`, sparse],
    [`${folder}/${j.key.keyid}.sigstore.json`, sparse],
    ['index.json', sparse],
    [`${folder}/bundle.json`, (path) => writeFile(path, '['.repeat(30 * 1024 * 1024))],
  ];
  for (const [file, harm] of media) {
    const stick = j.path('stick');
    await cp(j.bundle, stick, { recursive: true });
    await harm(`${stick}/${file}`);
    j.target.clear();
    const argv = ['load', stick, '--registry', j.target.host, '--trust', j.key.pub, '--state', j.path('state')];
    const ran = await runSmall(j, [j.target.host], ...argv);
    assert.ok([5, 6].includes(ran.code ?? -1), `${file}: ended with ${ran.code}: ${ran.stderr}`);
    assert.deepEqual(j.target.requests.filter(isWrite), [], file);
    await rm(stick, { recursive: true });
  }
  t.diagnostic(`${media.length} media`);
});
