import { closeSync, constants, fstatSync, open as openCallback, read as readCallback } from 'node:fs';
import { promisify } from 'node:util';
import { BundleError, isSystemError } from '../core/errors.ts';
import type { ReadHandle } from './file-system.ts';
import { digestInThread } from './hash-threads.ts';

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
/** 1 MiB: measured best of 64 KiB … 4 MiB for hash-while-reading on Node 26. */
const READ_CHUNK = 1024 * 1024;

const open = promisify(openCallback);
const read = promisify(readCallback);

/**
 * Opening and reading may wait for the medium, so a thread does them. fstat and close of a file open for reading never wait, and a trip to a thread
 * costs more than the call: without them a small file costs a third less.
 */
async function openRegular(path: string): Promise<{ fd: number; size: number }> {
  let fd: number;
  try {
    // O_NONBLOCK: opening a planted FIFO must not hang.
    fd = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if (isSystemError(error, 'ELOOP', 'ENXIO')) throw notRegular(path, error);
    throw error;
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw notRegular(path);
    return { fd, size: stat.size };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

const notRegular = (path: string, cause?: unknown): BundleError =>
  new BundleError('E_NOT_REGULAR', `${path} is not a regular file (a link, directory or device)`, { cause });

const memoryFor = (bytes: number): Buffer => Buffer.allocUnsafe(Math.max(1, Math.min(READ_CHUNK, bytes)));

type ReadAt = (into: Uint8Array, length: number, position: number) => Promise<number>;

async function* readRange(readAt: ReadAt, start: number, end: number, into: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let position = start; position < end; ) {
    const count = await readAt(into, Math.min(into.length, end - position), position);
    if (count === 0) return; // shorter than it was: the caller's size check speaks
    position += count;
    yield into.subarray(0, count);
  }
}

const readAtOf =
  (fd: number): ReadAt =>
  async (into, length, position) =>
    (await read(fd, into, 0, length, position)).bytesRead;

/** `FileSystem.openRead` */
export async function openRead(path: string): Promise<ReadHandle> {
  const { fd, size } = await openRegular(path);
  const readAt = readAtOf(fd);
  const running = new Set<Promise<unknown>>();
  let closed = false;
  /** The number of a closed file soon belongs to another one: nothing may read by it any more. */
  const whileOpen = async <T>(act: () => Promise<T>): Promise<T> => {
    if (closed) throw Object.assign(new Error(`EBADF: ${path} is closed`), { code: 'EBADF' });
    const reading = act();
    running.add(reading);
    try {
      return await reading;
    } finally {
      running.delete(reading);
    }
  };
  const guarded: ReadAt = (...where) => whileOpen(() => readAt(...where));
  return {
    size,
    read: (start = 0, end = size, into = memoryFor(end - start)) => readRange(guarded, start, end, into),
    digest: (algorithm, onBytes) => whileOpen(() => digestInThread(fd, size, algorithm, onBytes)),
    async close() {
      if (closed) return;
      closed = true;
      if (running.size > 0) await Promise.allSettled(running);
      closeSync(fd);
    },
  };
}

/** `FileSystem.readFile` */
export async function readFile(path: string, maxBytes: number): Promise<Buffer> {
  const { fd, size } = await openRegular(path);
  try {
    if (size > maxBytes) throw new BundleError('E_LIMIT', `${path} has ${size} bytes, more than the limit of ${maxBytes}`);
    const chunks: Buffer[] = [];
    let length = 0;
    // One byte more than the limit: a file that grows while it is read is caught too.
    // Most files are small: memory for the size seen, not for the limit.
    for await (const chunk of readRange(readAtOf(fd), 0, maxBytes + 1, memoryFor(size + 1))) {
      chunks.push(Buffer.from(chunk));
      length += chunk.length;
    }
    if (length > maxBytes) throw new BundleError('E_LIMIT', `${path} is longer than the limit of ${maxBytes} bytes`);
    return Buffer.concat(chunks, length);
  } finally {
    closeSync(fd);
  }
}
