/** The images that the benchmark moves: the same bytes for the same name and scale, made while they are sent. */
import type { Digest } from '../../src/core/digest.ts';
import { createPrng, digestOfBytes, syntheticBlob, type TestBlob } from '../../test/support/random-layer.ts';

const MiB = 1024 * 1024;

export type BenchImage = Readonly<{
  repository: string;
  tag: string;
  manifest: Buffer;
  digest: Digest;
  config: Buffer;
  blobs: readonly TestBlob[];
}>;
export type SetName = 'big' | 'forty' | 'many';

type Shape = Readonly<{
  images: number;
  /** Layers that several images share, by turns. */
  bases: number;
  baseBytes: number;
  ownLayers: number;
  ownBytes: number;
}>;

/** field notes "How fast the others are": 4 x 256 MiB; 123 blobs of 508 MiB; 820 blobs of 10 MiB. */
const SHAPES: Readonly<Record<SetName, Shape>> = {
  big: { images: 1, bases: 0, baseBytes: 0, ownLayers: 4, ownBytes: 256 * MiB },
  forty: { images: 40, bases: 3, baseBytes: 30 * MiB, ownLayers: 2, ownBytes: 5.2 * MiB },
  many: { images: 400, bases: 20, baseBytes: 25 * 1024, ownLayers: 1, ownBytes: 25 * 1024 },
};

export const SET_NAMES: readonly SetName[] = ['big', 'forty', 'many'];
export const isSetName = (text: string): text is SetName => Object.hasOwn(SHAPES, text);

/** @param scale factor on every size; the numbers of images and layers stay */
export function makeSet(name: SetName, scale: number): BenchImage[] {
  const shape = SHAPES[name];
  const prng = createPrng(4242);
  // From half to one and a half of the size, as real layers differ.
  const layer = (bytes: number): TestBlob => {
    const spread = shape.images === 1 ? 1 : 0.5 + prng.int(1000) / 1000;
    return syntheticBlob(prng.int(2 ** 31), Math.max(1, Math.round(bytes * scale * spread)));
  };
  const bases = Array.from({ length: shape.bases }, () => layer(shape.baseBytes));
  return Array.from({ length: shape.images }, (_, i) => {
    const base = bases[i % Math.max(1, bases.length)];
    const own = Array.from({ length: shape.ownLayers }, () => layer(shape.ownBytes));
    return imageOf(`bench/${name}-${i}`, base === undefined ? own : [base, ...own]);
  });
}

export function imageOf(repository: string, blobs: readonly TestBlob[]): BenchImage {
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: { Labels: { name: repository } },
      // The layers are plain bytes: nobody unpacks them here.
      rootfs: { type: 'layers', diff_ids: blobs.map(({ digest }) => digest) },
    }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOfBytes(config), size: config.length },
      layers: blobs.map(({ digest, size }) => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size })),
    }),
  );
  return { repository, tag: '1', manifest, digest: digestOfBytes(manifest), config, blobs };
}

/** Puts the images into an open registry at `host`. @throws Error on any refusal */
export async function pushSet(host: string, images: readonly BenchImage[]): Promise<void> {
  const queue = images.values();
  const worker = async (): Promise<void> => {
    for (const image of queue) await pushImage(`http://${host}/v2/${image.repository}`, image);
  };
  await Promise.all(Array.from({ length: 4 }, worker));
}

async function pushImage(base: string, { config, blobs, manifest, tag }: BenchImage): Promise<void> {
  for (const blob of blobs) await pushBlob(base, blob.digest, ReadableStream.from(blob.read(0, blob.size)), blob.size);
  await pushBlob(base, digestOfBytes(config), config, config.length);
  const type = 'application/vnd.oci.image.manifest.v1+json';
  await expect(201, fetch(`${base}/manifests/${tag}`, { method: 'PUT', body: manifest, headers: { 'content-type': type } }));
}

async function pushBlob(base: string, digest: string, body: ReadableStream | Buffer, size: number): Promise<void> {
  if ((await fetch(`${base}/blobs/${digest}`, { method: 'HEAD' })).status === 200) return;
  const session = await expect(202, fetch(`${base}/blobs/uploads/`, { method: 'POST' }));
  const url = new URL(session.headers.get('location') ?? '', base);
  url.searchParams.set('digest', digest);
  const headers = { 'content-type': 'application/octet-stream', 'content-length': String(size) };
  await expect(201, fetch(url, { method: 'PUT', body, headers, duplex: 'half' } as RequestInit));
}

async function expect(status: number, pending: Promise<Response>): Promise<Response> {
  const response = await pending;
  const text = await response.text();
  if (response.status !== status) throw new Error(`${response.url}: ${response.status} ${text.slice(0, 300)}`);
  return response;
}
