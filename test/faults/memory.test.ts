/**
 * Promise 5: memory stays flat whatever the size. A layer that exists only while it is sent is pulled, verified, pushed and pushed again by real
 * processes. `BUNDLE_TEST_LAYER_MIB=1024` makes it a gigabyte; `npm test` takes 272 MiB, more than is allowed, for time; `.ci/run` takes the gigabyte.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import type { Staging, WritableContent } from '../../src/serve/content.ts';
import { createMemoryContent } from '../../src/serve/memory-content.ts';
import { startRegistry } from '../../src/serve/server.ts';
import { testKey } from '../support/command-journey.ts';
import { blobOf, digestOfBytes, syntheticBlob, type TestBlob } from '../support/random-layer.ts';
import { type Ending, tempDir } from '../support/temp-dir.ts';

const MIB = 1024 * 1024;
const LAYER = Number(process.env.BUNDLE_TEST_LAYER_MIB ?? 272) * MIB;
/** What is promised for any size; Node and the libraries take 100 of it. */
const LIMIT = 200 * MIB;

/** An origin with one image of one huge layer, made while it is sent. */
async function startOrigin(t: Ending, layer: TestBlob): Promise<string> {
  const config = blobOf(
    JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [layer.digest] } }),
  );
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.ociManifest,
      config: { mediaType: MEDIA_TYPE.ociConfig, digest: config.digest, size: config.size },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layer.digest, size: layer.size }],
    }),
  );
  const memory = createMemoryContent();
  await memory.putManifest('team/huge', { mediaType: MEDIA_TYPE.ociManifest, digest: digestOfBytes(bytes), bytes }, ['1']);
  const content: WritableContent = {
    ...memory,
    async blob(_repository, digest) {
      const blob = [layer, config].find((b) => b.digest === digest);
      if (blob === undefined) return undefined;
      return {
        size: blob.size,
        async *open(start = 0, end = blob.size) {
          yield* blob.read(start, end);
        },
      };
    },
  };
  const registry = await startRegistry({ content, readOnly: true });
  t.after(() => registry.close(0));
  return registry.host;
}

/** A target that hashes what it gets, remembers that it has it, and keeps none of it. */
async function startTarget(t: Ending): Promise<string> {
  const memory = createMemoryContent();
  const held = new Map<Digest, number>();
  const content: WritableContent = {
    ...memory,
    async blob(_repository, digest) {
      const size = held.get(digest);
      return size === undefined ? undefined : { size, open: () => assert.fail('nobody reads it back') };
    },
    async stage(): Promise<Staging> {
      let size = 0;
      return {
        async write(chunk) {
          size += chunk.length;
        },
        read: () => assert.fail('it was hashed as it came'),
        async commit(_repository, digest) {
          held.set(digest, size);
        },
        async announce() {},
        async flush() {},
        async suspend() {},
        async discard() {},
      };
    },
  };
  const registry = await startRegistry({ content });
  t.after(() => registry.close(0));
  return registry.host;
}

it(`a layer of ${LAYER / MIB} MiB is pulled, verified and loaded in less than ${LIMIT / MIB} MiB`, {
  timeout: 180_000,
}, async (t) => {
  const directory = await tempDir(t);
  const layer = syntheticBlob(5, LAYER);
  const [origin, target] = [await startOrigin(t, layer), await startTarget(t)];
  const key = testKey(directory, 'release');
  const manifest = join(directory, 'huge.yaml');
  await writeFile(manifest, `apiVersion: bundle/v1\nname: huge\nplatforms: [linux/amd64]\nimages: ["${origin}/team/huge:1"]\n`);
  const bundle = join(directory, 'bundle');

  async function run(...argv: string[]): Promise<number> {
    const report = join(directory, 'memory');
    const started = performance.now();
    const child = spawn(join(import.meta.dirname, '../../scripts/bundle'), argv, {
      env: {
        PATH: process.env.PATH,
        HOME: directory,
        BUNDLE_PLAIN_HTTP: `${origin},${target}`,
        NODE_OPTIONS: `--import ${join(import.meta.dirname, '../support/report-memory.mjs')}`,
        REPORT_MEMORY: report,
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    const code = await new Promise((resolve) => child.once('close', resolve));
    assert.equal(code, 0, stderr);
    const bytes = Number(await readFile(report, 'utf8')) * 1024;
    t.diagnostic(`${argv[0]}: ${Math.round(bytes / MIB)} MiB, ${Math.round(performance.now() - started)} ms`);
    assert.ok(bytes < LIMIT, `${argv[0]} held ${Math.round(bytes / MIB)} MiB`);
    return bytes;
  }
  await run('pull', '-f', manifest, '-o', bundle, '--key', key.key);
  // It verifies first.
  await run('load', bundle, '--registry', target, '--trust', key.pub, '--state', join(directory, 'state'), '--skip-mirrors');
});
