import type { Descriptor } from '../core/descriptor.ts';
import { algorithmOf, type Digest } from '../core/digest.ts';
import { isBundleError, isSystemError } from '../core/errors.ts';
import { givePiece } from '../core/piece.ts';
import { createVerifier, requireNotMore, requireRight } from '../core/verified.ts';
import { removeFile, removeQuietly } from '../files/durable-write.ts';
import type { DigestingWriter, FileSystem, WriteHandle } from '../files/file-system.ts';
import { createFlusher } from '../files/flusher.ts';
import { readAhead } from '../files/read-ahead.ts';
import { blobPath, INGEST, ingestPath } from './layout.ts';

type Blob = Pick<Descriptor, 'digest' | 'size'>;

/** Bytes of a blob from an offset on, in pieces that the store takes over; called again from 0 when a resumed download turns out wrong. */
export type BlobFetch = (from: number) => AsyncIterable<Uint8Array>;

/** From here on a blob is hashed in another thread: telling it costs as much as hashing some 100 KiB. */
export const ASIDE_BYTES = 1024 * 1024;

/**
 * Downloads into `.ingest/<digest>`, hashing as it writes, and renames into place only what hashed right. A part left by an earlier run goes through
 * the hash first (hash state can't be stored) and the download goes on behind it; if the whole is then wrong, the part was, and it starts anew once.
 */
export async function ingest(
  fs: FileSystem,
  root: string,
  makeDirectory: (path: string) => Promise<void>,
  blob: Blob,
  fetch: BlobFetch,
  onBytes: (count: number) => void,
): Promise<'resumed' | 'fetched'> {
  const path = `${root}/${ingestPath(blob.digest)}`;
  const final = `${root}/${blobPath(blob.digest)}`;
  await makeDirectory(`${root}/${INGEST}`);
  await makeDirectory(final.slice(0, final.lastIndexOf('/')));
  const part = await fs.stat(path);
  const resumable = part !== undefined && part.kind === 'file' && part.size > 0 && part.size <= blob.size;
  if (part !== undefined && !resumable) await removeFile(fs, path);
  if (resumable) {
    try {
      await download(fs, path, blob, fetch, onBytes, true);
      await fs.rename(path, final);
      return 'resumed';
    } catch (error) {
      if (!isWrongContent(error)) throw error;
      await removeFile(fs, path);
    }
  }
  try {
    await download(fs, path, blob, fetch, onBytes, false);
  } catch (error) {
    // Wrong bytes are no part to go on from.
    if (isWrongContent(error)) await removeFile(fs, path);
    throw error;
  }
  await fs.rename(path, final);
  return 'fetched';
}

export const isWrongContent = (error: unknown): boolean =>
  isBundleError(error) && (error.code === 'E_DIGEST' || error.code === 'E_SIZE');

/**
 * Linux reports bytes that an fsync lost once, and then serves them from memory: the next run would hash those, find them right, and commit what no disk
 * has. So they go.
 */
export async function dropUnsynced(fs: FileSystem, path: string, error: unknown): Promise<never> {
  if (isSystemError(error, 'EIO', 'ENOSPC', 'EDQUOT')) await removeQuietly(fs, path);
  throw error;
}

async function download(
  fs: FileSystem,
  path: string,
  blob: Blob,
  fetch: BlobFetch,
  onBytes: (count: number) => void,
  resume: boolean,
): Promise<void> {
  const verifier = createVerifier(blob, whatOf(blob), 'source');
  if (resume) await hashPart(fs, path, verifier.update);
  const from = verifier.received;
  onBytes(from);
  const handle = resume ? await fs.append(path) : await fs.create(path);
  const flusher = createFlusher(handle);
  try {
    const wrote = (piece: Uint8Array): void => {
      flusher.wrote(piece.length);
      givePiece(piece);
    };
    const pieces = counted(from < blob.size || blob.size === 0 ? fetch(from) : [], onBytes);
    const aside = from === 0 && blob.size >= ASIDE_BYTES ? handle.digesting?.(algorithmOf(blob.digest), wrote) : undefined;
    if (aside === undefined) await copyHere(handle, pieces, verifier, wrote);
    else await copyAside(aside, pieces, blob);
  } finally {
    try {
      // A disk that lost bytes is worse news than a connection that broke.
      await flusher.end().catch((error) => dropUnsynced(fs, path, error));
    } finally {
      await handle.close();
    }
  }
}

const whatOf = ({ digest }: Blob): string => `blob ${digest}`;

async function hashPart(fs: FileSystem, path: string, update: (chunk: Uint8Array) => void): Promise<void> {
  const handle = await fs.openRead(path);
  try {
    for await (const chunk of readAhead(handle, 0, handle.size)) update(chunk);
  } finally {
    await handle.close();
  }
}

async function* counted(
  pieces: AsyncIterable<Uint8Array> | readonly Uint8Array[],
  onBytes: (count: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    yield piece;
    onBytes(piece.length);
  }
}

/** Each piece is hashed and written while it is in the cache of this core. The first byte too many is refused before it is written. */
async function copyHere(
  handle: WriteHandle,
  pieces: AsyncIterable<Uint8Array>,
  verifier: ReturnType<typeof createVerifier>,
  wrote: (piece: Uint8Array) => void,
): Promise<void> {
  for await (const piece of pieces) {
    verifier.update(piece);
    handle.writeNow(piece);
    wrote(piece);
  }
  verifier.finish();
}

/** The same in another thread, which leaves this one to the network: with two cores a tenth of the time of a pull. */
async function copyAside(writer: DigestingWriter, pieces: AsyncIterable<Uint8Array>, blob: Blob): Promise<void> {
  let size = 0;
  try {
    for await (const piece of pieces) {
      size += piece.length;
      requireNotMore(blob, size, whatOf(blob), 'source');
      await writer.add(piece);
    }
    const digest = `${algorithmOf(blob.digest)}:${await writer.end()}` as Digest;
    requireRight(blob, { size, digest }, whatOf(blob), 'source');
  } finally {
    // The number of a closed file soon belongs to another one.
    await writer.settled();
  }
}
