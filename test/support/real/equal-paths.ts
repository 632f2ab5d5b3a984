/** A signed bundle from three origins that hold different images under equal paths, made by the real command line; the origins are gone afterwards. */

import { appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestRegistry, testRegistry } from '../command-journey.ts';
import { indexOf, randomArtifact, randomImage, randomIndex, type TestImage } from '../random-image.ts';
import { type Ending, tempDir } from '../temp-dir.ts';
import { type Bundle, createBundle, writeManifest } from './bundle.ts';

export type Content = Readonly<{
  ref: string;
  digest: string;
  targetDigest: string;
  targetMediaType: string;
  targetSize: number;
  form: 'whole' | 'single' | 'derived';
}>;

export type EqualPaths = Readonly<{
  /** Where the command line works and where everything lies. */
  directory: string;
  bundle: Bundle;
  /** The bundle, and the public key that it is checked with. */
  path: string;
  trust: string;
  contents: readonly Content[];
  /** The signed digest of a reference as written. */
  targetOf(ref: string): string;
  /** The origin that is named by its own address: a name with a port. */
  hostOrigin: string;
  images: Readonly<{ docker: TestImage; ghcr: TestImage; host: TestImage; sbom: TestImage }>;
}>;

const PLATFORMS = ['linux/amd64', 'linux/arm64'];

/** `docker.io` and `ghcr.io` are two registries of loopback, said to be their mirrors on the connected side. */
export async function makeEqualPaths(t: Ending): Promise<EqualPaths> {
  const directory = await tempDir(t, 'bundle-equal-');
  const [docker, ghcr, host] = [await testRegistry(t), await testRegistry(t), await testRegistry(t)];
  const images = await fill(docker, ghcr, host);
  const pinned = await randomIndex({ seed: 61, platforms: PLATFORMS, attestations: true });
  await ghcr.put('library/pinned', 'moves', pinned);
  await writeManifest(directory, 'equal', [
    { ref: 'docker.io/library/tool:1.0', aliases: ['tools/tool:1.0'] },
    'ghcr.io/library/tool:1.0',
    `${host.host}/library/tool:1.0`,
    'docker.io/library/tool:sbom',
    'docker.io/library/schema2:1',
    'docker.io/library/three:2',
    { ref: 'ghcr.io/library/one:3', platforms: [`linux/${process.arch === 'arm64' ? 'arm64' : 'amd64'}`] },
    `ghcr.io/library/pinned@${pinned.digest}`,
  ]);
  const manifest = join(directory, 'manifests/equal.yaml');
  await appendFile(manifest, `platforms: [${PLATFORMS.join(', ')}]\n`);
  const bundle = await createBundle(directory);
  const done = async (args: readonly string[]): Promise<void> => {
    const { code, stderr } = await bundle(args);
    if (code !== 0) throw new Error(`bundle ${args.join(' ')} ended with ${code}: ${stderr}`);
  };
  const mirrors = ['--source-mirror', `docker.io=http://${docker.host}`, '--source-mirror', `ghcr.io=http://${ghcr.host}`];
  await done(['keys', 'generate', '-o', 'release']);
  await done(['lock', '--plain-http', host.host, ...mirrors]);
  await done(['pull', '--key', 'release.key', '--plain-http', host.host, ...mirrors]);
  await Promise.all([docker, ghcr, host].map((origin) => origin.stop()));
  const path = join(directory, 'bundles/equal');
  const statement = JSON.parse(await readFile(join(path, 'bundle.json'), 'utf8')) as { predicate: { contents: Content[] } };
  const { contents } = statement.predicate;
  return {
    directory,
    bundle,
    path,
    trust: join(directory, 'release.pub'),
    contents,
    targetOf(ref) {
      const found = contents.find((content) => content.ref === ref);
      if (found === undefined) throw new Error(`${ref} is not in the bundle: ${contents.map((c) => c.ref).join(' ')}`);
      return found.targetDigest;
    },
    hostOrigin: host.host,
    images,
  };
}

async function fill(docker: TestRegistry, ghcr: TestRegistry, host: TestRegistry): Promise<EqualPaths['images']> {
  const index = (seed: number): Promise<TestImage> => randomIndex({ seed, platforms: PLATFORMS, attestations: true });
  const images = { docker: await index(11), ghcr: await index(22), host: await index(33) };
  const sbom = randomArtifact({ seed: 44, artifactType: 'application/spdx+json', subject: images.docker.descriptor });
  await docker.put('library/tool', '1.0', images.docker);
  await ghcr.put('library/tool', '1.0', images.ghcr);
  await host.put('library/tool', '1.0', images.host);
  await docker.put('library/tool', 'sbom', sbom);
  const schema2 = await Promise.all(PLATFORMS.map((platform, i) => randomImage({ seed: 50 + i, docker: true, platform })));
  await docker.put('library/schema2', '1', indexOf(schema2, { docker: true }));
  await docker.put('library/three', '2', await randomIndex({ seed: 71, platforms: [...PLATFORMS, 'linux/s390x'] }));
  await ghcr.put('library/one', '3', await randomIndex({ seed: 81, platforms: PLATFORMS }));
  return { ...images, sbom };
}
