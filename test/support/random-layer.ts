import { createCipheriv, createHash } from 'node:crypto';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { pack } from 'tar-stream';
import type { Descriptor } from '../../src/core/descriptor.ts';
import { type Digest, type DigestAlgorithm, parseDigest } from '../../src/core/digest.ts';

export type Prng = Readonly<{ int(below: number): number; bytes(length: number): Buffer }>;

/** mulberry32: small, and the same on every machine, so that a failing seed can be run again. */
export function createPrng(seed: number): Prng {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
  return {
    int: (below) => next() % below,
    bytes(length) {
      const bytes = Buffer.alloc(length);
      for (let i = 0; i < length; i += 4)
        for (let word = next(), j = i; j < Math.min(i + 4, length); j++) {
          bytes[j] = word & 0xff;
          word >>>= 8;
        }
      return bytes;
    },
  };
}

/** A blob that a registry can hold; `bytes` is there for all but {@link syntheticBlob}. */
export type TestBlob = Readonly<{ digest: Digest; size: number; read(start: number, end: number): Iterable<Buffer> }>;
export type BytesBlob = TestBlob & Readonly<{ bytes: Buffer }>;

export const digestOfBytes = (bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): Digest =>
  parseDigest(`${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`);

export function blobOf(content: Uint8Array | string, algorithm: DigestAlgorithm = 'sha256'): BytesBlob {
  const bytes = Buffer.from(content as string);
  return {
    digest: digestOfBytes(bytes, algorithm),
    size: bytes.length,
    bytes,
    *read(start, end) {
      if (end > start) yield bytes.subarray(start, end);
    },
  };
}

const BLOCK = 256 * 1024;

/** `size` bytes that exist only while they are sent: a layer of 1 GiB in no memory. Any offset can be made without what is before it. */
export function syntheticBlob(seed: number, size: number): TestBlob {
  const block = (index: number): Buffer => {
    const iv = Buffer.alloc(16);
    iv.writeUInt32BE(seed >>> 0, 0);
    iv.writeUInt32BE(index, 4);
    const length = Math.min(BLOCK, size - index * BLOCK);
    return createCipheriv('aes-128-ctr', Buffer.alloc(16, 7), iv).update(Buffer.alloc(length));
  };
  function* read(start: number, end: number): Iterable<Buffer> {
    for (let at = start; at < end; ) {
      const index = Math.floor(at / BLOCK);
      const piece = block(index).subarray(at - index * BLOCK, Math.min(BLOCK, end - index * BLOCK));
      at += piece.length;
      yield piece;
    }
  }
  const hash = createHash('sha256');
  for (const piece of read(0, size)) hash.update(piece);
  return { digest: parseDigest(`sha256:${hash.digest('hex')}`), size, read };
}

export type LayerOptions = Readonly<{
  files?: number;
  /** uncompressed bytes over all files; half random, half compressible */
  bytes?: number;
  compression?: 'gzip' | 'zstd' | 'none';
  docker?: boolean;
  /** A layer that names `urls` and that no registry holds. */
  foreignUrls?: readonly string[];
  algorithm?: DigestAlgorithm;
  annotations?: Readonly<Record<string, string>>;
}>;

export type TestLayer = Readonly<{ descriptor: Descriptor; diffId: Digest; blob: BytesBlob; foreign: boolean }>;

async function tarOf(prng: Prng, files: number, total: number): Promise<Buffer> {
  const tar = pack();
  const each = Math.max(1, Math.floor(total / files));
  for (let i = 0; i < files; i++) {
    const content = Buffer.concat([prng.bytes(Math.ceil(each / 2)), Buffer.alloc(Math.floor(each / 2), `line ${i}\n`)]);
    // A time of its own, not now: equal seeds give equal bytes.
    tar.entry({ name: `srv/file-${prng.int(1e9)}-${i}`, mtime: new Date(1_700_000_000_000), mode: 0o644 }, content);
  }
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function layerType({ compression = 'gzip', docker = false, foreignUrls }: LayerOptions): string {
  if (docker) return `application/vnd.docker.image.rootfs.${foreignUrls ? 'foreign.' : ''}diff.tar.gzip`;
  const suffix = compression === 'none' ? '' : `+${compression}`;
  return `application/vnd.oci.image.layer.${foreignUrls ? 'nondistributable.' : ''}v1.tar${suffix}`;
}

/** A real layer: a tar of files, compressed. */
export async function randomLayer(prng: Prng, options: LayerOptions = {}): Promise<TestLayer> {
  const { files = 3, bytes = 3000, compression = 'gzip', algorithm = 'sha256' } = options;
  const tar = await tarOf(prng, files, bytes);
  const packed = compression === 'gzip' ? gzipSync(tar) : compression === 'zstd' ? zstdCompressSync(tar) : tar;
  const blob = blobOf(packed, algorithm);
  return {
    blob,
    diffId: digestOfBytes(tar),
    foreign: options.foreignUrls !== undefined,
    descriptor: {
      mediaType: layerType(options),
      digest: blob.digest,
      size: blob.size,
      ...(options.foreignUrls ? { urls: options.foreignUrls } : {}),
      ...(options.annotations ? { annotations: options.annotations } : {}),
    },
  };
}
