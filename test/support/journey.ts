/** The journey in one process: an origin, a lock, a key, and pull and load as functions, over any file system and transport. */
import { createHash } from 'node:crypto';
import { lstat, mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type VerifiedBundle, type VerifyOptions, verifyBundle } from '../../src/bundle/verify.ts';
import { parsePlatform } from '../../src/core/platform.ts';
import { parseReference } from '../../src/core/reference.ts';
import type { FileSystem } from '../../src/files/file-system.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { type LoadRequest, type LoadResult, load } from '../../src/load/load.ts';
import { parseTarget } from '../../src/load/target.ts';
import { makeLock } from '../../src/lock/lock.ts';
import type { LockFile } from '../../src/lock/lock-file.ts';
import { createConfigReader, createManifestReader } from '../../src/lock/resolve.ts';
import type { Manifest } from '../../src/manifest/manifest.ts';
import { type PullRequest, type PullResult, pull } from '../../src/pull/pull.ts';
import { createRegistryClient, type RegistryClient } from '../../src/registry/client.ts';
import { createTransport, type Transport } from '../../src/registry/transport.ts';
import type { RequestRecord } from '../../src/serve/access-log.ts';
import type { WritableContent } from '../../src/serve/content.ts';
import { createMemoryContent } from '../../src/serve/memory-content.ts';
import { type Registry, startRegistry } from '../../src/serve/server.ts';
import type { Trust } from '../../src/sign/trust.ts';
import { freshKey } from '../unit/sign/test-keys.ts';
import { randomImage, randomIndex, type TestImage } from './random-image.ts';
import type { Ending } from './temp-dir.ts';

export const NOW = Date.parse('2026-11-21T08:00:00Z');
export const silent = (): void => undefined;

export async function putImage(content: WritableContent, repository: string, tag: string, image: TestImage): Promise<void> {
  for (const blob of image.blobs) {
    const staging = await content.stage();
    for (const chunk of blob.read(0, blob.size)) await staging.write(chunk);
    await staging.commit(repository, blob.digest);
  }
  for (const manifest of image.manifests)
    await content.putManifest(repository, manifest, manifest.digest === image.digest ? [tag] : []);
}

export type Store = Registry & Readonly<{ content: WritableContent; requests: RequestRecord[]; writes(): RequestRecord[] }>;

/** An embedded registry in memory that remembers what it was asked. */
export async function startStore(t: Ending): Promise<Store> {
  const content = createMemoryContent();
  const requests: RequestRecord[] = [];
  const registry = await startRegistry({ content, acceptSparse: true, onRequest: (record) => requests.push(record) });
  t.after(() => registry.close(0));
  return { ...registry, content, requests, writes: () => requests.filter((r) => !['GET', 'HEAD'].includes(r.method)) };
}

/** Waits that take no time: what is waited for is not the network here. */
const clock = { now: () => Date.now(), sleep: async (_ms: number, signal?: AbortSignal) => signal?.throwIfAborted() };

export function clientOf(hosts: readonly string[], options: { transport?: Transport; concurrency?: number } = {}): RegistryClient {
  return createRegistryClient({
    credentials: { find: async () => undefined },
    plainHttp: hosts,
    environment: {},
    clock,
    concurrency: options.concurrency ?? 1,
    ...(options.transport === undefined ? {} : { transport: options.transport }),
  });
}

export type Journey = Awaited<ReturnType<typeof startJourney>>;

/**
 * An origin with two small images, one of them an index of two platforms of which one is taken, in two editions.
 * One transfer at a time, so that the changes come in the same order each time.
 */
export async function startJourney(t: Ending) {
  const origin = await startStore(t);
  const key = freshKey();
  const trust: Trust = { keys: [key.publicKey], threshold: 1, sources: [] };
  const size = { files: 1, bytes: 600, layers: 1 };
  const app = [await randomImage({ seed: 1, ...size }), await randomImage({ seed: 2, ...size })] as const;
  const tool = await randomIndex({ seed: 3, ...size, platforms: ['linux/amd64', 'linux/arm64'] });
  await putImage(origin.content, 'team/tool', '2.0', tool);
  const client = clientOf([origin.host]);
  t.after(() => client.close());
  const entry = (text: string, aliases: { repository: string; tag: string }[] = []): Manifest['images'][number] => ({
    ref: parseReference(`${origin.host}/${text}`),
    text,
    platforms: [parsePlatform('linux/amd64')],
    aliases,
    where: 'lumen.yaml:1:1',
  });
  const manifest: Manifest = {
    name: 'lumen',
    platforms: [parsePlatform('linux/amd64')],
    images: [entry('team/app:1.0', [{ repository: 'app', tag: 'v1' }]), entry('team/tool:2.0')],
    imageLists: [],
  };
  const locks: LockFile[] = [];
  for (const [i, image] of app.entries()) {
    await putImage(origin.content, 'team/app', '1.0', image);
    const ports = { client, readManifest: createManifestReader(client), readConfig: createConfigReader(client) };
    const now = (): number => NOW + i * 3_600_000;
    const { lock } = await makeLock({ manifest, previous: locks[0], update: 'all' }, { ...ports, now });
    locks.push(lock);
  }
  const root = await mkdtemp(join(tmpdir(), 'bundle-faults-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  let serial = 0;

  return {
    origin,
    key,
    trust,
    manifest,
    /** What edition 0 and edition 1 are locked to: edition 1 moves the tag of the first image. */
    locks: locks as [LockFile, LockFile],
    client,
    images: { app, tool },
    /** A path that does not exist yet. */
    path: (name = 'dir'): string => join(root, `${name}-${++serial}`),
    pull: (directory: string, edition = 0, fs: FileSystem = nodeFileSystem, more: Partial<PullRequest> = {}): Promise<PullResult> =>
      pull(
        { manifest, lock: locks[edition] as LockFile, directory, keys: [key], keep: 2, dryRun: false, tool: 'bundle test', ...more },
        { fs, client, report: silent },
      ),
    verify: (directory: string, more: Partial<VerifyOptions> = {}, fs: FileSystem = nodeFileSystem): Promise<VerifiedBundle> =>
      verifyBundle(fs, directory, { trust, now: NOW, ...more }),
  };
}

export type LoadOptions = Partial<Omit<LoadRequest, 'bundle' | 'target' | 'stateRoot'>> & {
  fs?: FileSystem;
  transport?: Transport;
  concurrency?: number;
  now?: number;
};

/** Loads a verified bundle into an embedded registry. */
export async function loadInto(
  store: Pick<Store, 'host'>,
  bundle: VerifiedBundle,
  stateRoot: string,
  options: LoadOptions = {},
): Promise<LoadResult> {
  const { fs = nodeFileSystem, transport, concurrency, now = NOW, ...request } = options;
  const client = clientOf([store.host], { ...(transport ? { transport } : {}), concurrency: concurrency ?? 1 });
  try {
    return await load(
      {
        bundle,
        target: parseTarget(store.host),
        stateRoot,
        allowRollback: false,
        forceTags: false,
        breakLock: false,
        dryRun: false,
        ...request,
      },
      { fs, client, report: silent, now: () => now },
    );
  } finally {
    await client.close();
  }
}

/** Every name below a directory with its kind and a digest of its content. */
export async function treeOf(root: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const name of (await readdir(root, { recursive: true })).sort()) {
    const path = join(root, name);
    const stat = await lstat(path);
    if (stat.isDirectory()) found[name] = 'directory';
    else if (stat.isSymbolicLink()) found[name] = `link to ${await readlink(path)}`;
    else if (stat.isFile()) found[name] = createHash('sha256').update(await readFile(path)).digest('hex');
    else found[name] = 'other';
  }
  return found;
}

/** A transport with something in front of every request. */
export function interceptedTransport(before: (request: Parameters<Transport['send']>[0], n: number) => void | Promise<void>): Transport {
  const inner = createTransport({ environment: {} });
  let n = 0;
  return {
    async send(request) {
      await before(request, ++n);
      return inner.send(request);
    },
    close: () => inner.close(),
  };
}
