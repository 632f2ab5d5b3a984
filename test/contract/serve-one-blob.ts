/** A registry with one blob whose source is the test's, and a client that tells a cut from an end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import type { Digest } from '../../src/core/digest.ts';
import type { RegistryContent, StoredBlob } from '../../src/serve/content.ts';
import { type RegistryOptions, startRegistry } from '../../src/serve/server.ts';
import type { Ending } from '../support/temp-dir.ts';
import { caller } from './serve-harness.ts';

export const CHUNK = 64 * 1024;

/** One blob whose source is the test's. */
export function oneBlob(digest: Digest, blob: StoredBlob): RegistryContent {
  return {
    manifest: async () => undefined,
    blob: async (_, asked) => (asked === digest ? blob : undefined),
    repositories: async () => [],
    tags: async () => undefined,
    referrers: async () => [],
  };
}

export const inChunks = (body: Buffer, promised = body.length): StoredBlob => ({
  size: promised,
  async *open(start = 0, end = body.length) {
    for (let at = start; at < end; at += CHUNK) yield body.subarray(at, Math.min(end, at + CHUNK));
  },
});

export async function serve(t: Ending, options: RegistryOptions) {
  const registry = await startRegistry(options);
  const agent = new Agent({ keepAlive: true });
  t.after(async () => {
    agent.destroy();
    await registry.close(0);
  });
  return { registry, call: caller(registry.url, agent) };
}

/** What arrived, and whether the connection ended before the promised length. */
export async function fetchRaw(url: string, range?: string): Promise<{ status: number; received: number; whole: boolean }> {
  const sent = request(url, { headers: range === undefined ? {} : { range } }).end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  let received = 0;
  try {
    for await (const chunk of response) received += (chunk as Buffer).length;
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ECONNRESET');
  }
  return { status: response.statusCode ?? 0, received, whole: response.complete };
}
