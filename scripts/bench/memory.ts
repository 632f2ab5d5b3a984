/**
 * `npm run bench -- --memory-gib 10`: the most memory that pull, verify and load take for a layer of 1 GiB and of N, which should be the same. Both
 * registries are ours and in this process; the layer is made while it is sent, and the target keeps nothing. The disk takes N GiB.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { WritableContent } from '../../src/serve/content.ts';
import { createMemoryContent } from '../../src/serve/memory-content.ts';
import { startRegistry } from '../../src/serve/server.ts';
import { blobOf, syntheticBlob, type TestBlob } from '../../test/support/random-layer.ts';
import { createSuiteScope } from '../../test/support/real/scope.ts';
import type { Ending } from '../../test/support/temp-dir.ts';
import { type Command, measure } from './measure.ts';
import * as ours from './ours.ts';
import type { Row } from './rounds.ts';
import { type BenchImage, imageOf } from './sets.ts';

const GIB = 1024 ** 3;
const TYPE = 'application/vnd.oci.image.manifest.v1+json';

export async function benchMemory(directory: string, sizesGiB: readonly number[]): Promise<readonly Row[]> {
  if (!sizesGiB.every((size) => size > 0)) throw new Error('--memory-gib is a positive number');
  const rows: Row[] = [];
  for (const size of sizesGiB) {
    const place = join(directory, `${size}-gib`);
    mkdirSync(place, { recursive: true });
    const scope = createSuiteScope();
    try {
      for (const [stage, command] of await stagesOf(scope, place, size * GIB)) {
        const cost = await measure(command);
        console.error(`  ${stage}, ${size} GiB: ${cost.rssMiB.toFixed(0)} MiB`);
        rows.push({ set: 'memory', stage, name: `${size} GiB`, role: 'ours', samples: [{ ...cost, requests: undefined }] });
      }
    } finally {
      await scope.end();
      rmSync(place, { recursive: true, force: true });
    }
  }
  return rows.sort((a, b) => a.stage.localeCompare(b.stage));
}

async function stagesOf(scope: Ending, directory: string, bytes: number): Promise<readonly (readonly [string, Command])[]> {
  const image = imageOf('bench/huge', [syntheticBlob(5, bytes)]);
  const blobs = [...image.blobs, blobOf(image.config)];
  const origin = await serve(scope, await originOf(image, blobs));
  const target = await serve(scope, targetOf(blobs));
  const site = { host: origin, directory, images: [image] };
  const bundle = join(directory, 'bundle');
  ours.writeManifest(site);
  await measure(ours.makeKeys(site));
  await measure(ours.lock(site));
  return [
    ['1 pull', ours.pull(site, bundle, ['--key', 'bench.key'])],
    ['2 verify', ours.verify(site, bundle)],
    ['3 load', ours.load(site, bundle, target, join(directory, 'state'))],
  ];
}

async function serve(scope: Ending, content: WritableContent): Promise<string> {
  const registry = await startRegistry({ content });
  scope.after(() => registry.close(0));
  return registry.host;
}

async function originOf({ repository, tag, manifest, digest }: BenchImage, blobs: readonly TestBlob[]): Promise<WritableContent> {
  const memory = createMemoryContent();
  await memory.putManifest(repository, { mediaType: TYPE, digest, bytes: manifest }, [tag]);
  return {
    ...memory,
    async blob(_, asked) {
      const blob = blobs.find((each) => each.digest === asked);
      if (blob === undefined) return undefined;
      return {
        size: blob.size,
        async *open(start = 0, end = blob.size) {
          yield* blob.read(start, end);
        },
      };
    },
  };
}

/** A signature, and everything else that is small. */
const KEPT_BYTES = 64 * 1024;

/** Hashes what it gets, as every registry does, remembers that it has it, and of what is large keeps only the beginning. */
function targetOf(blobs: readonly TestBlob[]): WritableContent {
  const memory = createMemoryContent();
  return {
    ...memory,
    async stage() {
      const staging = await memory.stage();
      let received = 0;
      return {
        ...staging,
        async write(chunk) {
          received += chunk.length;
          if (received <= KEPT_BYTES) await staging.write(chunk);
        },
      };
    },
    async blob(repository, digest) {
      const held = await memory.blob(repository, digest);
      const size = blobs.find((each) => each.digest === digest)?.size;
      return held && { ...held, ...(size === undefined ? {} : { size }) };
    },
  };
}
