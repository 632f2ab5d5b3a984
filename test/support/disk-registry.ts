/** A registry directory with a clock and timers of its own, the changes that clients make to it, and what must hold whatever happens. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, digestOf } from '../../src/core/digest.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import type { FileSystem } from '../../src/files/file-system.ts';
import type { StoredManifest } from '../../src/serve/content.ts';
import { type DiskContent, type DiskOptions, openDiskContent } from '../../src/serve/disk-content.ts';
import { collectGarbage } from '../../src/serve/garbage.ts';
import { createUploads, type Uploads } from '../../src/serve/uploads.ts';
import { requireComplete } from './journey.ts';
import { type Ending, tempDir } from './temp-dir.ts';

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;

export type DiskBench = Readonly<{ content: DiskContent; uploads: Uploads; clock: { now: number }; warnings: string[] }>;

/** The timers never fire: index.json is written when the directory is opened and closed. */
export async function openBench(fs: FileSystem, root: string, options: DiskOptions = {}): Promise<DiskBench> {
  const clock = { now: Date.now() };
  const warnings: string[] = [];
  const now = (): number => clock.now;
  const content = await openDiskContent(fs, root, {
    now,
    elapsed: now,
    warn: (message) => warnings.push(message),
    timer: () => () => undefined,
    ...options,
  });
  return { content, uploads: createUploads(content, { now }), clock, warnings };
}

/** In a directory of its own that is let go of and removed when the test ends. */
export async function temporaryBench(
  t: Ending,
  fs: FileSystem,
  options: DiskOptions = {},
): Promise<DiskBench & { root: string }> {
  let bench: DiskBench | undefined;
  t.after(() => bench && closeBench(bench)); // before its directory goes
  const root = await tempDir(t);
  bench = await openBench(fs, root, options);
  return { ...bench, root };
}

export async function closeBench({ content, uploads }: DiskBench): Promise<void> {
  await uploads.close();
  await content.close();
}

export async function* chunksOf(bytes: Uint8Array, size = 700): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

export async function pushBytes({ uploads }: DiskBench, repository: string, bytes: Uint8Array): Promise<Digest> {
  const digest = digestOf(bytes);
  const upload = await uploads.start(repository);
  await uploads.receive(upload, chunksOf(bytes));
  await uploads.finish(await uploads.find(repository, upload.id), digest);
  return digest;
}

const described = (bytes: Uint8Array, mediaType: string) => ({ mediaType, digest: digestOf(bytes), size: bytes.length });

const manifestOf = (value: { mediaType: string }): StoredManifest & { size: number } => {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, ...value }));
  return { mediaType: value.mediaType, digest: digestOf(bytes), bytes, size: bytes.length };
};

/** An image of two blobs. */
export function imageOf(config: Uint8Array, layer: Uint8Array, subject?: StoredManifest): StoredManifest & { size: number } {
  return manifestOf({
    mediaType: MEDIA_TYPE.ociManifest,
    config: described(config, MEDIA_TYPE.ociConfig),
    layers: [described(layer, 'application/vnd.oci.image.layer.v1.tar')],
    ...(subject ? { subject: described(subject.bytes, subject.mediaType) } : {}),
  } as { mediaType: string });
}

export const indexOf = (...images: readonly StoredManifest[]): StoredManifest & { size: number } =>
  manifestOf({
    mediaType: MEDIA_TYPE.ociIndex,
    manifests: images.map(({ bytes, mediaType }) => described(bytes, mediaType)),
  } as { mediaType: string });

/** What clients see: `blob <repository> <digest>`, `manifest <repository> <digest>`, `tag <repository>:<tag> <digest>`. */
export async function visible({ content }: Pick<DiskBench, 'content'>, digests: Iterable<Digest>): Promise<Set<string>> {
  const found = new Set<string>();
  for (const repository of await content.repositories()) {
    for (const digest of digests) {
      const blob = await content.blob(repository, digest);
      if (blob !== undefined) {
        const hash = createHash('sha256');
        for await (const chunk of blob.open()) hash.update(chunk);
        assert.equal(`sha256:${hash.digest('hex')}`, digest, `blob of ${repository}`);
        found.add(`blob ${repository} ${digest}`);
      }
      const manifest = await content.manifest(repository, digest);
      if (manifest !== undefined) {
        assert.equal(digestOf(manifest.bytes), digest, `manifest of ${repository}`);
        found.add(`manifest ${repository} ${digest}`);
      }
    }
    for (const tag of (await content.tags(repository)) ?? []) {
      const manifest = await content.manifest(repository, tag);
      assert.ok(manifest, `tag ${repository}:${tag} points at nothing`);
      found.add(`tag ${repository}:${tag} ${manifest.digest}`);
    }
  }
  return found;
}

/** Every tag is whole. */
export async function requireWhole(content: DiskContent): Promise<void> {
  for (const repository of await content.repositories())
    for (const tag of (await content.tags(repository)) ?? []) await requireComplete(content, `${repository}:${tag}`);
}

/** Right after a start: nothing (but locks of the dead, which go at the end) lies there that nobody can reach, and index.json says what the tags say. */
export async function requireTidy(root: string, { content }: Pick<DiskBench, 'content'>): Promise<void> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
  const members = new Set(files.map((path) => /_(?:blobs|manifests)\/(sha\d+\/[0-9a-f]+)$/.exec(path)?.[1]));
  const allowed = (path: string): boolean =>
    /^(?:oci-layout|index\.json|\.lock[^/]*\/owner\.json)$/.test(path) ||
    (path.startsWith('blobs/') && members.has(path.slice('blobs/'.length))) ||
    (path.startsWith('uploads/') &&
      files.includes(`${path.replace(/\.json$/, '')}.json`) &&
      files.includes(path.replace(/\.json$/, ''))) ||
    (/\/_(?:blobs|manifests)\//.test(path) && files.includes(`blobs/${path.split('/').slice(-2).join('/')}`)) ||
    /\/_tags\/[^./][^/]*$/.test(path) ||
    /\/_referrers\/sha\d+\/[0-9a-f]+\/sha\d+-[0-9a-f]+$/.test(path);
  assert.deepEqual(
    files.filter((path) => !allowed(path)),
    [],
  );
  const index = JSON.parse(await readFile(join(root, 'index.json'), 'utf8')) as {
    manifests: { digest: string; annotations: Record<string, string> }[];
  };
  const tags: string[] = [];
  for (const repository of await content.repositories())
    for (const tag of (await content.tags(repository)) ?? [])
      tags.push(`${repository}:${tag} ${(await content.manifest(repository, tag))?.digest}`);
  assert.deepEqual(
    index.manifests.map(({ digest, annotations }) => `${annotations['org.opencontainers.image.ref.name']} ${digest}`),
    tags.sort(),
  );
}

/** Something that clients do: it may be done again. */
export type Step = Readonly<{
  name: string;
  run(bench: DiskBench): Promise<unknown>;
  adds?: readonly string[];
  removes?: readonly string[];
}>;

const BYTES = ['config one', 'layer one', 'config two', 'layer two', 'signature'].map((text) => Buffer.from(text.repeat(200)));
const [c1, l1, c2, l2, s1] = BYTES as [Buffer, Buffer, Buffer, Buffer, Buffer];
const one = imageOf(c1, l1);
const two = imageOf(c2, l2);
const both = indexOf(one, two);
const signature = imageOf(s1, s1, one);
export const DIGESTS: readonly Digest[] = [...BYTES.map((b) => digestOf(b)), ...[one, two, both, signature].map((m) => m.digest)];

const push = (repository: string, bytes: Buffer): Step => ({
  name: `push ${bytes.subarray(0, 10)} to ${repository}`,
  run: (bench) => pushBytes(bench, repository, bytes),
  adds: [`blob ${repository} ${digestOf(bytes)}`],
});
const put = (repository: string, manifest: StoredManifest, tags: string[], moved: string[] = []): Step => ({
  name: `put ${manifest.digest.slice(0, 12)} as ${tags}`,
  run: ({ content }) => content.putManifest(repository, manifest, tags),
  adds: [`manifest ${repository} ${manifest.digest}`, ...tags.map((tag) => `tag ${repository}:${tag} ${manifest.digest}`)],
  removes: moved,
});

/** From an empty directory. */
export const PUSHES: readonly Step[] = [
  push('team/app', c1),
  push('team/app', l1),
  put('team/app', one, ['v1', 'latest']),
  {
    name: 'mount',
    run: ({ content }) => content.mount('mirror', digestOf(l1), 'team/app'),
    adds: [`blob mirror ${digestOf(l1)}`],
  },
  push('team/app', s1),
  put('team/app', signature, []),
  push('team/app', c2),
  push('team/app', l2),
  put('team/app', two, ['latest'], [`tag team/app:latest ${one.digest}`]),
  put('team/app', both, ['both']),
];

/** From where {@link PUSHES} end. */
export const REMOVALS: readonly Step[] = [
  {
    name: 'delete a tag',
    run: ({ content }) => content.deleteTag('team/app', 'latest'),
    removes: [`tag team/app:latest ${two.digest}`],
  },
  {
    name: 'delete a manifest with its tag',
    run: ({ content }) => content.deleteManifest('team/app', both.digest),
    removes: [`tag team/app:both ${both.digest}`, `manifest team/app ${both.digest}`],
  },
  {
    name: 'delete a mounted blob',
    run: ({ content }) => content.deleteBlob('mirror', digestOf(l1)),
    removes: [`blob mirror ${digestOf(l1)}`],
  },
  push('other', l2),
  {
    name: 'collect garbage',
    async run({ content, clock }) {
      clock.now += 3 * DAY;
      await collectGarbage(content, { graceMs: DAY, untaggedMs: DAY });
    },
    removes: [
      `manifest team/app ${two.digest}`,
      `blob team/app ${digestOf(c2)}`,
      `blob team/app ${digestOf(l2)}`,
      `blob other ${digestOf(l2)}`,
    ],
  },
  {
    name: 'delete what has a referrer',
    run: ({ content }) => content.deleteManifest('team/app', one.digest),
    removes: [`manifest team/app ${one.digest}`, `tag team/app:v1 ${one.digest}`],
  },
  {
    name: 'delete a referrer',
    run: ({ content }) => content.deleteManifest('team/app', signature.digest),
    removes: [`manifest team/app ${signature.digest}`],
  },
];

export function stateAfter(steps: readonly Step[], start: ReadonlySet<string> = new Set()): Set<string> {
  const state = new Set(start);
  for (const { adds = [], removes = [] } of steps) {
    for (const item of removes) state.delete(item);
    for (const item of adds) state.add(item);
  }
  return state;
}

/** All that holds before and after a step is there, and nothing that holds neither before nor after. */
export function requireBetween(
  seen: ReadonlySet<string>,
  before: ReadonlySet<string>,
  after: ReadonlySet<string>,
  name: string,
): void {
  assert.deepEqual(
    [...before].filter((item) => after.has(item) && !seen.has(item)),
    [],
    `${name}: lost`,
  );
  assert.deepEqual(
    [...seen].filter((item) => !before.has(item) && !after.has(item)),
    [],
    `${name}: made up`,
  );
}
