/** The journey in one process: an origin, a lock, a key, and pull and load as functions, over any file system and transport. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { lstat, mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type VerifiedBundle, type VerifyOptions, verifyBundle } from '../../src/bundle/verify.ts';
import type { Digest } from '../../src/core/digest.ts';
import { BundleError } from '../../src/core/errors.ts';
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
import { createTransport, type HttpRequest, type HttpResponse, type Transport } from '../../src/registry/transport.ts';
import type { RequestRecord } from '../../src/serve/access-log.ts';
import type { WritableContent } from '../../src/serve/content.ts';
import { createMemoryContent } from '../../src/serve/memory-content.ts';
import { type Registry, startRegistry } from '../../src/serve/server.ts';
import type { Trust } from '../../src/sign/trust.ts';
import { freshKey } from '../unit/sign/test-keys.ts';
import { Killed, withoutSync } from './fault-file-system.ts';
import { randomImage, randomIndex, type TestImage } from './random-image.ts';
import type { Ending } from './temp-dir.ts';

export const NOW = Date.parse('2026-11-21T08:00:00Z');
/** Kills and disk errors lose no page cache: nothing here waits for the disk itself. */
export const disk = withoutSync(nodeFileSystem);
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

export type Store = Registry &
  Readonly<{
    content: WritableContent;
    requests: RequestRecord[];
    writes(): RequestRecord[];
    /** Empties it and forgets the requests. */
    reset(): void;
  }>;

/** An embedded registry in memory that remembers what it was asked. */
export async function startStore(t: Ending): Promise<Store> {
  let current = createMemoryContent();
  const content = new Proxy(current, { get: (_, name) => current[name as keyof WritableContent] });
  const requests: RequestRecord[] = [];
  const registry = await startRegistry({ content, acceptSparse: true, onRequest: (record) => requests.push(record) });
  t.after(() => registry.close(0));
  const writes = (): RequestRecord[] => requests.filter((r) => !['GET', 'HEAD'].includes(r.method));
  const reset = (): void => {
    current = createMemoryContent();
    requests.length = 0;
  };
  return { ...registry, content, requests, writes, reset };
}

/** What each `repository:tag` means in a registry. */
export async function tagsIn(content: WritableContent, names: Iterable<string>): Promise<Record<string, string>> {
  const tags: Record<string, string> = {};
  for (const name of names) {
    const at = name.lastIndexOf(':');
    const found = await content.manifest(name.slice(0, at), name.slice(at + 1));
    if (found !== undefined) tags[name] = found.digest;
  }
  return tags;
}

/** Walks what a tag names, by a reading of its own: throws when anything under it is not there. */
export async function requireComplete(content: WritableContent, name: string): Promise<void> {
  const at = name.lastIndexOf(':');
  const repository = name.slice(0, at);
  const visit = async (reference: string): Promise<void> => {
    const found = await content.manifest(repository, reference);
    assert.ok(found, `${name}: ${reference} is not there`);
    const json = JSON.parse(Buffer.from(found.bytes).toString()) as Record<string, { digest: Digest }[] | { digest: Digest }>;
    for (const child of (json.manifests ?? []) as { digest: Digest }[]) await visit(child.digest);
    if (json.config === undefined) return;
    for (const { digest } of [json.config as { digest: Digest }, ...((json.layers ?? []) as { digest: Digest }[])]) {
      const blob = await content.blob(repository, digest);
      assert.ok(blob, `${name}: blob ${digest} is not there`);
      const hash = createHash('sha256');
      for await (const chunk of blob.open()) hash.update(chunk);
      assert.equal(`sha256:${hash.digest('hex')}`, digest, name);
    }
  };
  await visit(name.slice(at + 1));
}

/** Waits that take no time: what is waited for is not the network here. */
const clock = { now: () => Date.now(), sleep: async (_ms: number, signal?: AbortSignal) => signal?.throwIfAborted() };

export function clientOf(
  hosts: readonly string[],
  options: { transport?: Transport; concurrency?: number } = {},
): RegistryClient {
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
  const transport = readingTransport(origin.content);
  const client = clientOf([origin.host], { transport });
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
    pull: (
      directory: string,
      edition = 0,
      fs: FileSystem = disk,
      more: Partial<PullRequest> = {},
      transfers = 1,
    ): Promise<PullResult> =>
      pull(
        {
          manifest,
          lock: locks[edition] as LockFile,
          directory,
          keys: [key],
          keep: 2,
          dryRun: false,
          tool: 'bundle test',
          ...more,
        },
        { fs, client: transfers === 1 ? client : clientOf([origin.host], { transport, concurrency: transfers }), report: silent },
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
  const { fs = disk, transport, concurrency, now = NOW, ...request } = options;
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
    else if (stat.isFile())
      found[name] = createHash('sha256')
        .update(contentOf(name, await readFile(path)))
        .digest('hex');
    else found[name] = 'other';
  }
  return found;
}

/** A tree as text in which random names stand for themselves only: for telling states apart. */
export const nameless = (tree: Record<string, string>): string =>
  JSON.stringify(tree).replace(/(\.lock-(?:released-|stale-)?)[0-9a-f]{32}|(\.tmp-)[0-9a-f]{12}/g, '$1$2');

/** The owner of a lock has a random token in it. */
const contentOf = (name: string, bytes: Buffer): Buffer | string =>
  name.endsWith('/owner.json') ? bytes.toString().replace(/[0-9a-f]{32}/, 'token') : bytes;

/** What a registry would answer to a pull, without sockets: hundreds of pulls take seconds instead of half a minute. */
export function readingTransport(content: WritableContent): Transport {
  const answer = (request: HttpRequest, status: number, headers: Record<string, string>, bytes: Uint8Array): HttpResponse => ({
    status,
    url: request.url,
    header: (name) => headers[name],
    headerLines: (name) => (headers[name] === undefined ? [] : [headers[name]]),
    body: (async function* () {
      if (request.method !== 'HEAD' && bytes.length > 0) yield bytes;
    })(),
    discard: async () => undefined,
  });
  return {
    async send(request) {
      const [, repository = '', kind, reference = ''] =
        /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(decodeURIComponent(request.url.pathname)) ?? [];
      if (kind === 'manifests') {
        const found = await content.manifest(repository, reference);
        if (found === undefined) return answer(request, 404, {}, new Uint8Array());
        const { digest, mediaType, bytes } = found;
        const length = String(bytes.length);
        return answer(
          request,
          200,
          { 'docker-content-digest': digest, 'content-type': mediaType, 'content-length': length },
          bytes,
        );
      }
      const blob = await content.blob(repository, reference as Digest);
      if (blob === undefined) return answer(request, 404, {}, new Uint8Array());
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers?.range ?? '')?.[1] ?? 0);
      const chunks: Uint8Array[] = [];
      for await (const chunk of blob.open(from)) chunks.push(Buffer.from(chunk));
      const range = from === 0 ? {} : { 'content-range': `bytes ${from}-${blob.size - 1}/${blob.size}` };
      return answer(
        request,
        from === 0 ? 200 : 206,
        { 'content-length': String(blob.size - from), ...range },
        Buffer.concat(chunks),
      );
    },
    close: async () => undefined,
  };
}

/**
 * HTTP that ends at a request. `lost`: the request is not sent; `answer lost`: it is carried out and nobody hears of it.
 * `killed`: the process is dead from then on; `dropped`: this one connection goes away; `gone`: the host answers no more.
 */
export type WireFault = Readonly<{ at: number; when: 'lost' | 'answer lost'; leaves: 'killed' | 'dropped' | 'gone' }>;

export function faultyTransport(fault?: WireFault): Transport & { readonly sent: number } {
  const inner = createTransport({ environment: {} });
  let sent = 0;
  const failure = (request: HttpRequest): Error =>
    fault?.leaves === 'killed'
      ? new Killed()
      : new BundleError('E_NETWORK', `${request.method} ${request.url.host}: ECONNRESET`, { origin: 'target' });
  return {
    async send(request) {
      const n = ++sent;
      if (fault === undefined || n < fault.at || (n > fault.at && fault.leaves === 'dropped')) return inner.send(request);
      if (n === fault.at && fault.when === 'answer lost') await (await inner.send(request)).discard();
      throw failure(request);
    },
    get sent() {
      return sent;
    },
    close: () => inner.close(),
  };
}
