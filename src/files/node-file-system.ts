import { constants, writeSync } from 'node:fs';
import {
  type FileHandle,
  stat as followingStat,
  lstat,
  mkdir,
  open,
  readdir,
  rename,
  rmdir,
  statfs,
  unlink,
} from 'node:fs/promises';
import { dirname } from 'node:path';
import { BundleError, isSystemError } from '../core/errors.ts';
import type { FileStat, FileSystem, WriteHandle } from './file-system.ts';
import { writeInThread } from './hash-threads.ts';
import { openRead, readFile } from './node-read.ts';

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_APPEND, O_NOFOLLOW, O_DIRECTORY } = constants;

async function sync(handle: FileHandle): Promise<void> {
  try {
    await handle.sync();
  } catch (error) {
    // File systems without fsync (restic #4016). Anything else, EIO above all, is real.
    if (!isSystemError(error, 'EINVAL', 'ENOTSUP', 'ENOTTY', 'EOPNOTSUPP')) throw error;
  }
}

function writeHandle(handle: FileHandle): WriteHandle {
  return {
    async write(chunk) {
      for (let done = 0; done < chunk.length; ) done += (await handle.write(chunk, done, chunk.length - done)).bytesWritten;
    },
    writeNow(chunk) {
      for (let done = 0; done < chunk.length; ) done += writeSync(handle.fd, chunk, done, chunk.length - done);
    },
    digesting: (algorithm, onWritten) => writeInThread(handle.fd, algorithm, onWritten),
    sync: () => sync(handle),
    close: () => handle.close(),
  };
}

async function readUserFile(path: string, maxBytes: number): Promise<Buffer> {
  const handle = await open(path, O_RDONLY);
  try {
    if ((await handle.stat()).isDirectory()) throw new BundleError('E_NOT_REGULAR', `${path} is a directory`);
    const chunks: Buffer[] = [];
    for (let length = 0; ; ) {
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(64 * 1024), 0, 64 * 1024, null);
      if (bytesRead === 0) return Buffer.concat(chunks, length);
      length += bytesRead;
      if (length > maxBytes) throw new BundleError('E_LIMIT', `${path} is longer than the limit of ${maxBytes} bytes`);
      chunks.push(buffer.subarray(0, bytesRead));
    }
  } finally {
    await handle.close();
  }
}

async function stat(path: string): Promise<FileStat | undefined> {
  try {
    const s = await lstat(path);
    const kind = s.isFile() ? 'file' : s.isDirectory() ? 'directory' : s.isSymbolicLink() ? 'link' : 'other';
    return { kind, size: s.size, mode: s.mode & 0o777, mtimeMs: s.mtimeMs };
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

async function syncPath(path: string, flags: number): Promise<void> {
  let handle: FileHandle;
  try {
    handle = await open(path, flags);
  } catch (error) {
    if (isSystemError(error, 'EISDIR', 'EPERM', 'EACCES') && flags & O_DIRECTORY) return; // systems that can't open directories
    throw error;
  }
  try {
    await sync(handle);
  } finally {
    await handle.close();
  }
}

/** Not Node's own `recursive`: that one never ends where a file system answers ENOENT to mkdir in a directory that exists (/proc). */
async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    // Through links: what the user named may be one, and the folders of a bundle are checked where they are used.
    if (isSystemError(error, 'EEXIST', 'EROFS', 'EACCES', 'EPERM') && (await isDirectory(path))) return;
    const parent = dirname(path);
    if (!isSystemError(error, 'ENOENT') || parent === path || (await isDirectory(parent))) throw error;
    await makeDirectory(parent);
    await makeDirectory(path);
  }
}

const isDirectory = async (path: string): Promise<boolean> =>
  followingStat(path).then(
    (s) => s.isDirectory(),
    () => false,
  );

export const nodeFileSystem: FileSystem = {
  mkdir: makeDirectory,
  create: async (path, mode = 0o644) => writeHandle(await open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode)),
  append: async (path) => writeHandle(await open(path, O_WRONLY | O_APPEND | O_NOFOLLOW)),
  rename,
  unlink,
  rmdir,
  syncDir: (path) => syncPath(path, O_RDONLY | O_DIRECTORY),
  syncFile: (path) => syncPath(path, O_RDONLY | O_NOFOLLOW),
  openRead,
  readFile,
  readUserFile,
  list: async (path) => (await readdir(path)).sort(),
  stat,
  async freeBytes(path) {
    const s = await statfs(path);
    return s.bavail * s.bsize;
  },
  async totalBytes(path) {
    const s = await statfs(path);
    return s.blocks * s.bsize;
  },
};
