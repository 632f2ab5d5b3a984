/** A file system that only holds what a test puts in: reading a mutated bundle takes microseconds and leaves nothing behind. */
import { BundleError } from '../../src/core/errors.ts';
import type { FileSystem } from '../../src/files/file-system.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';

const enoent = (path: string): Error => Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
const refuseWrite = async (path: string): Promise<never> => {
  throw new Error(`a write to ${path}`);
};

/** @param files bytes by absolute path; directories follow from them */
export function memoryFiles(files: ReadonlyMap<string, Uint8Array>): FileSystem {
  const isDirectory = (path: string): boolean => [...files.keys()].some((name) => name.startsWith(`${path}/`));
  const readFile = async (path: string, maxBytes: number): Promise<Buffer> => {
    const bytes = files.get(path);
    if (bytes === undefined && isDirectory(path)) throw new BundleError('E_NOT_REGULAR', `${path} is a directory`);
    if (bytes === undefined) throw enoent(path);
    if (bytes.length > maxBytes) throw new BundleError('E_LIMIT', `${path} has ${bytes.length} bytes, more than ${maxBytes}`);
    return Buffer.from(bytes);
  };
  return {
    ...nodeFileSystem,
    mkdir: refuseWrite,
    create: refuseWrite,
    append: refuseWrite,
    rename: refuseWrite,
    unlink: refuseWrite,
    rmdir: refuseWrite,
    syncDir: refuseWrite,
    syncFile: refuseWrite,
    readFile,
    readUserFile: readFile,
    async openRead(path) {
      const bytes = await readFile(path, Number.MAX_SAFE_INTEGER);
      return {
        size: bytes.length,
        async *read(start = 0, end = bytes.length, into = Buffer.alloc(Math.max(end - start, 1))) {
          for (let at = start; at < end; ) {
            const chunk = into.subarray(0, Math.min(into.length, end - at));
            chunk.set(bytes.subarray(at, at + chunk.length));
            at += chunk.length;
            yield chunk;
          }
        },
        close: async () => undefined,
      };
    },
    async list(path) {
      const inside = [...files.keys()].filter((name) => name.startsWith(`${path}/`)).map((name) => name.slice(path.length + 1));
      if (inside.length === 0) throw enoent(path);
      return [...new Set(inside.map((name) => name.split('/')[0] as string))].sort();
    },
    async stat(path) {
      const size = files.get(path)?.length;
      if (size !== undefined) return { kind: 'file', size, mode: 0o644, mtimeMs: 0 };
      return isDirectory(path) ? { kind: 'directory', size: 0, mode: 0o755, mtimeMs: 0 } : undefined;
    },
  };
}
