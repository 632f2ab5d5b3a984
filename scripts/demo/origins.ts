import type { WritableContent } from '../../src/serve/content.ts';
import { createMemoryContent } from '../../src/serve/memory-content.ts';
import { startRegistry } from '../../src/serve/server.ts';
import { randomIndex, type TestImage } from '../../test/support/random-image.ts';

/** Two origins that hold different multi-platform images under the same path, and an empty target: all in memory, on free ports of loopback. */
export async function startOrigins(): Promise<{ origins: [string, string]; target: string; close: () => Promise<void> }> {
  const [first, second, third] = [createMemoryContent(), createMemoryContent(), createMemoryContent()];
  const size = { attestations: true, files: 6, bytes: 600_000 };
  await put(first, 'library/tool', '1.0', await randomIndex({ seed: 11, ...size }));
  await put(second, 'library/tool', '1.0', await randomIndex({ seed: 22, ...size }));
  await put(
    first,
    'library/web',
    '2.1',
    await randomIndex({ seed: 33, ...size, platforms: ['linux/amd64', 'linux/arm64', 'linux/s390x'] }),
  );
  const registries = await Promise.all([first, second, third].map((content) => startRegistry({ content })));
  const [a, b, target] = registries.map((r) => r.host) as [string, string, string];
  return { origins: [a, b], target, close: async () => void (await Promise.all(registries.map((r) => r.close(0)))) };
}

async function put(content: WritableContent, repository: string, tag: string, image: TestImage): Promise<void> {
  for (const blob of image.blobs) {
    const staging = await content.stage();
    for (const chunk of blob.read(0, blob.size)) await staging.write(chunk);
    await staging.commit(repository, blob.digest);
  }
  for (const manifest of image.manifests)
    await content.putManifest(repository, manifest, manifest.digest === image.digest ? [tag] : []);
}
