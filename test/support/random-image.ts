/** Real OCI and Docker images made in memory from a seed: what the tests put into registries. */
import type { Descriptor, DescriptorPlatform } from '../../src/core/descriptor.ts';
import type { Digest, DigestAlgorithm } from '../../src/core/digest.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import {
  blobOf,
  createPrng,
  digestOfBytes,
  type LayerOptions,
  randomLayer,
  type TestBlob,
  type TestLayer,
} from './random-layer.ts';

export { blobOf, createPrng, digestOfBytes, randomLayer, syntheticBlob, type TestBlob, type TestLayer } from './random-layer.ts';

export type TestManifest = Readonly<{ mediaType: string; digest: Digest; size: number; bytes: Buffer }>;

/** A graph of content with one root: what one tag names. */
export type TestImage = Readonly<{
  digest: Digest;
  root: TestManifest;
  /** Children before parents, the root last. */
  manifests: readonly TestManifest[];
  /** Configs and layers that a registry holds; foreign layers are not among them. */
  blobs: readonly TestBlob[];
  /** The entry that an index has for this root. */
  descriptor: Descriptor;
  layers: readonly TestLayer[];
  /** The images of an index, in its order. */
  children: readonly TestImage[];
}>;

export type ImageOptions = LayerOptions &
  Readonly<{
    seed?: number;
    platform?: string;
    layers?: number;
    /** Layers that other images have too; they come first. */
    shared?: readonly TestLayer[];
    subject?: Descriptor;
    imageAnnotations?: Readonly<Record<string, string>>;
  }>;

export function platformFields(text: string): DescriptorPlatform {
  const [os, architecture, variant] = text.split('/') as [string, string, string?];
  return { architecture, os, ...(variant === undefined ? {} : { variant }) };
}

function manifestOf(mediaType: string, body: object, algorithm: DigestAlgorithm, docker = false): TestManifest {
  // Docker writes three spaces of indent: whoever parses and writes again loses the digest.
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...body }, null, docker ? 3 : undefined));
  return { mediaType, digest: digestOfBytes(bytes, algorithm), size: bytes.length, bytes };
}

export const descriptorOf = (manifest: TestManifest, extra: Partial<Descriptor> = {}): Descriptor => ({
  mediaType: manifest.mediaType,
  digest: manifest.digest,
  size: manifest.size,
  ...extra,
});

/** One image of one platform. */
export async function randomImage(options: ImageOptions = {}): Promise<TestImage> {
  const { seed = 1, platform = 'linux/amd64', layers = 2, shared = [], docker = false, algorithm = 'sha256' } = options;
  const prng = createPrng(seed);
  const own: TestLayer[] = [];
  for (let i = 0; i < layers; i++) own.push(await randomLayer(prng, options));
  const all = [...shared, ...own];
  const config = blobOf(
    JSON.stringify({
      created: '2023-11-14T22:13:20Z',
      ...platformFields(platform),
      config: { Cmd: [`/bin/run-${prng.int(1e9)}`] },
      rootfs: { type: 'layers', diff_ids: all.map((layer) => layer.diffId) },
      history: all.map((_, i) => ({ created: '2023-11-14T22:13:20Z', created_by: `layer ${i}` })),
    }),
    algorithm,
  );
  const configType = docker ? MEDIA_TYPE.dockerConfig : MEDIA_TYPE.ociConfig;
  const root = manifestOf(
    docker ? MEDIA_TYPE.dockerManifest : MEDIA_TYPE.ociManifest,
    {
      config: { mediaType: configType, digest: config.digest, size: config.size },
      layers: all.map((layer) => layer.descriptor),
      ...(options.subject ? { subject: options.subject } : {}),
      ...(options.imageAnnotations ? { annotations: options.imageAnnotations } : {}),
    },
    algorithm,
    docker,
  );
  const blobs = [config, ...all.filter((layer) => !layer.foreign).map((layer) => layer.blob)];
  const descriptor = descriptorOf(root, { platform: platformFields(platform) });
  return { digest: root.digest, root, manifests: [root], blobs, descriptor, layers: all, children: [] };
}

const unique = <T extends { digest: Digest }>(items: readonly T[]): T[] => [
  ...new Map(items.map((item) => [item.digest, item])).values(),
];

export type IndexOptions = Readonly<{
  docker?: boolean;
  algorithm?: DigestAlgorithm;
  annotations?: Readonly<Record<string, string>>;
  subject?: Descriptor;
}>;

/** An index of images that exist already; an index among them makes it a nested one. */
export function indexOf(children: readonly TestImage[], options: IndexOptions = {}): TestImage {
  const { docker = false, algorithm = 'sha256', annotations, subject } = options;
  const root = manifestOf(
    docker ? MEDIA_TYPE.dockerList : MEDIA_TYPE.ociIndex,
    {
      manifests: children.map((child) => child.descriptor),
      ...(subject ? { subject } : {}),
      ...(annotations ? { annotations } : {}),
    },
    algorithm,
    docker,
  );
  return {
    digest: root.digest,
    root,
    manifests: [...unique(children.flatMap((child) => child.manifests)), root],
    blobs: unique(children.flatMap((child) => child.blobs)),
    descriptor: descriptorOf(root),
    layers: children.flatMap((child) => child.layers),
    children,
  };
}

/** What BuildKit adds to an index for one image (moby/buildkit docs/attestations/attestation-storage.md). */
export function attestationFor(image: TestImage): TestImage {
  const statement = blobOf(
    JSON.stringify({ _type: 'https://in-toto.io/Statement/v0.1', subject: [{ name: '_', digest: image.digest }] }),
  );
  const config = blobOf(
    JSON.stringify({
      architecture: 'unknown',
      os: 'unknown',
      config: {},
      rootfs: { type: 'layers', diff_ids: [statement.digest] },
    }),
  );
  const annotations = { 'in-toto.io/predicate-type': 'https://slsa.dev/provenance/v0.2' };
  const root = manifestOf(
    MEDIA_TYPE.ociManifest,
    {
      config: { mediaType: MEDIA_TYPE.ociConfig, digest: config.digest, size: config.size },
      layers: [{ mediaType: MEDIA_TYPE.inToto, digest: statement.digest, size: statement.size, annotations }],
    },
    'sha256',
  );
  const descriptor = descriptorOf(root, {
    annotations: { 'vnd.docker.reference.digest': image.digest, 'vnd.docker.reference.type': 'attestation-manifest' },
    platform: { architecture: 'unknown', os: 'unknown' },
  });
  return { digest: root.digest, root, manifests: [root], blobs: [config, statement], descriptor, layers: [], children: [] };
}

/** Several platforms over one shared layer, with attestation entries where asked. */
export async function randomIndex(
  options: ImageOptions & IndexOptions & Readonly<{ platforms?: readonly string[]; attestations?: boolean }> = {},
): Promise<TestImage> {
  const { seed = 1, platforms = ['linux/amd64', 'linux/arm64'], attestations = false, annotations: _, ...rest } = options;
  const shared = [await randomLayer(createPrng(seed * 7919), options)];
  const images: TestImage[] = [];
  for (const [i, platform] of platforms.entries()) {
    images.push(await randomImage({ layers: 1, shared, ...rest, seed: seed * 1000 + i, platform }));
  }
  return indexOf([...images, ...(attestations ? images.map(attestationFor) : [])], options);
}

/** An index that holds an index that holds images. */
export async function nestedIndex(options: ImageOptions = {}): Promise<TestImage> {
  const { seed = 1 } = options;
  const inner = await randomIndex({ ...options, seed: seed + 1 });
  const beside = await randomImage({ ...options, seed: seed + 2, platform: 'linux/s390x' });
  return indexOf([inner, beside]);
}

/** Anything that is not an image: a manifest with `artifactType` and the empty config (image-spec manifest.md). */
export function randomArtifact(
  options: Readonly<{
    seed?: number;
    artifactType?: string;
    bytes?: number;
    subject?: Descriptor;
    title?: string;
    annotations?: Readonly<Record<string, string>>;
  }> = {},
): TestImage {
  const {
    seed = 1,
    artifactType = 'application/vnd.example.thing',
    bytes = 2000,
    subject,
    title = 'thing.bin',
    annotations,
  } = options;
  const content = blobOf(createPrng(seed).bytes(bytes));
  const empty = blobOf('{}');
  const root = manifestOf(
    MEDIA_TYPE.ociManifest,
    {
      artifactType,
      config: { mediaType: MEDIA_TYPE.ociEmpty, digest: empty.digest, size: empty.size },
      layers: [
        {
          mediaType: 'application/octet-stream',
          digest: content.digest,
          size: content.size,
          annotations: { 'org.opencontainers.image.title': title },
        },
      ],
      ...(subject ? { subject } : {}),
      ...(annotations ? { annotations } : {}),
    },
    'sha256',
  );
  const descriptor = descriptorOf(root, { artifactType });
  return { digest: root.digest, root, manifests: [root], blobs: unique([empty, content]), descriptor, layers: [], children: [] };
}

/** Docker's withdrawn first schema: refused by name. */
export function schema1Image(name = 'old/image', tag = 'latest'): TestImage {
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 1, name, tag, architecture: 'amd64', fsLayers: [], history: [], signatures: [] }, null, 3),
  );
  const root = { mediaType: MEDIA_TYPE.dockerSchema1Signed, digest: digestOfBytes(bytes), size: bytes.length, bytes };
  return { digest: root.digest, root, manifests: [root], blobs: [], descriptor: descriptorOf(root), layers: [], children: [] };
}
