/** One registry per test over each kind of content, and an HTTP client that hides nothing. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { type Digest, type DigestAlgorithm, digestOf } from '../../src/core/digest.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import type { WritableContent } from '../../src/serve/content.ts';
import { type DiskContent, openDiskContent } from '../../src/serve/disk-content.ts';
import { createMemoryContent } from '../../src/serve/memory-content.ts';
import { type Registry, type RegistryOptions, startRegistry } from '../../src/serve/server.ts';
import { type Ending, tempDir } from '../support/temp-dir.ts';

export type Store = Readonly<{ name: string; open(t: Ending): Promise<WritableContent> }>;

export const STORES: readonly Store[] = [
  { name: 'memory', open: async () => createMemoryContent() },
  {
    name: 'disk',
    async open(t) {
      let content: DiskContent | undefined;
      t.after(() => content?.close()); // before its directory goes
      content = await openDiskContent(nodeFileSystem, await tempDir(t));
      return content;
    },
  },
];

export type Reply = Readonly<{ status: number; headers: IncomingHttpHeaders; body: Buffer }>;
export type CallOptions = Readonly<{
  headers?: Record<string, string | string[]>;
  body?: Uint8Array;
  /** Transfer-Encoding: chunked instead of Content-Length. */
  chunked?: boolean;
}>;
export type Call = (method: string, path: string, options?: CallOptions) => Promise<Reply>;

export function caller(base: string, agent: Agent): Call {
  return (method, path, { headers = {}, body, chunked = false } = {}) =>
    new Promise((resolve, reject) => {
      const length =
        chunked || (body === undefined && method !== 'POST' && method !== 'PUT') ? {} : { 'content-length': body?.length ?? 0 };
      const coding = chunked ? { 'transfer-encoding': 'chunked' } : {};
      const url = new URL(path, base);
      const sent = request(url, { method, agent, headers: { ...length, ...coding, ...headers } }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
        );
      });
      sent.on('error', reject);
      sent.end(body);
    });
}

export type Bench = Readonly<{ registry: Registry; content: WritableContent; call: Call }>;

export async function bench(t: Ending, store: Store, options: Partial<RegistryOptions> = {}): Promise<Bench> {
  const content = await store.open(t);
  const registry = await startRegistry({ content, ...options });
  const agent = new Agent({ keepAlive: true });
  t.after(async () => {
    agent.destroy();
    await registry.close(0);
  });
  return { registry, content, call: caller(registry.url, agent) };
}

export const bytes = (length: number): Buffer => randomBytes(length);
export const encoded = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

/** A location plus a digest, the way the conformance suite does it: parsed, added, encoded again. */
export function withDigest(location: string | undefined, digest: string): string {
  assert.ok(location, 'no Location');
  const url = new URL(location, 'http://x');
  url.searchParams.set('digest', digest);
  return url.pathname + url.search;
}

export async function pushBlob(
  call: Call,
  repository: string,
  body: Uint8Array,
  algorithm: DigestAlgorithm = 'sha256',
): Promise<Digest> {
  const digest = digestOf(body, algorithm);
  const reply = await call('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, { body });
  assert.equal(reply.status, 201, reply.body.toString());
  return digest;
}

export type Pushed = Readonly<{ digest: Digest; bytes: Buffer; mediaType: string; size: number; reply: Reply }>;

export async function pushManifest(call: Call, repository: string, value: object, reference?: string): Promise<Pushed> {
  const body = encoded(value);
  const digest = digestOf(body);
  const mediaType = (value as { mediaType: string }).mediaType;
  const reply = await call('PUT', `/v2/${repository}/manifests/${reference ?? digest}`, {
    body,
    headers: { 'content-type': mediaType },
  });
  return { digest, bytes: body, mediaType, size: body.length, reply };
}

/** A small image whose blobs are there. */
export async function pushImage(call: Call, repository: string, extra: object = {}, reference?: string): Promise<Pushed> {
  const [config, layer] = [encoded({ os: 'linux', architecture: 'amd64', salt: bytes(8).toString('hex') }), bytes(300)];
  const pushed = await pushManifest(
    call,
    repository,
    {
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.ociManifest,
      config: { mediaType: MEDIA_TYPE.ociConfig, digest: await pushBlob(call, repository, config), size: config.length },
      layers: [
        {
          mediaType: 'application/vnd.oci.image.layer.v1.tar',
          digest: await pushBlob(call, repository, layer),
          size: layer.length,
        },
      ],
      ...extra,
    },
    reference,
  );
  assert.equal(pushed.reply.status, 201, pushed.reply.body.toString());
  return pushed;
}

export const descriptorOf = ({ mediaType, digest, size }: Pushed) => ({ mediaType, digest, size });

/** distribution-spec "Error Codes": one error, its code, and a Content-Length that fits. */
export function assertRefused(reply: Reply, status: number, code: string): void {
  assert.equal(reply.status, status, reply.body.toString());
  assert.equal(reply.headers['content-type'], 'application/json');
  assert.equal(reply.headers['content-length'], String(reply.body.length));
  const { errors } = JSON.parse(reply.body.toString()) as { errors: { code: string; message: string }[] };
  assert.deepEqual(
    errors.map((error) => error.code),
    [code],
  );
  assert.ok((errors[0]?.message ?? '').length > 0);
}
