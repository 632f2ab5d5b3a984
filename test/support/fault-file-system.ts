/** A disk on which the process can be killed, or an operation can fail, at any change: the FileSystem port, counted. */
import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { FileSystem, ReadHandle, WriteHandle } from '../../src/files/file-system.ts';

export type Change =
  | 'mkdir'
  | 'create'
  | 'append'
  | 'write'
  | 'sync'
  | 'close'
  | 'rename'
  | 'unlink'
  | 'rmdir'
  | 'syncDir'
  | 'syncFile';

export type Operation = Readonly<{ change: Change; path: string }>;
export type Errno = 'ENOSPC' | 'EIO' | 'EROFS';

/** `at` counts changes from 1. `torn`: a write puts half of its chunk on the disk first; any other change is as with `before`. */
export type DiskFault =
  | Readonly<{ kill: 'before' | 'after' | 'torn'; at: number }>
  | Readonly<{ fail: Errno; at: number; forever?: boolean }>;

/** What every call meets once the process is dead: nothing can tidy up any more. */
export class Killed extends Error {
  constructor() {
    super('the process was killed');
  }
}

export type FaultFileSystem = FileSystem &
  Readonly<{
    /** The changes asked for so far, the one that failed included, in order. */
    operations: readonly Operation[];
    /** How often the fault struck. */
    readonly struck: number;
    readonly dead: boolean;
  }>;

const ERRNO = constants.errno;
const TEXT: Record<Errno, string> = { ENOSPC: 'no space left on device', EIO: 'i/o error', EROFS: 'read-only file system' };

function systemError(code: Errno, change: Change, path: string): Error {
  const error = new Error(`${code}: ${TEXT[code]}, ${change} '${path}'`);
  return Object.assign(error, { code, errno: -ERRNO[code], syscall: change, path });
}

/**
 * The same file system without fsync, for runs that are killed but lose no power: what a dead process wrote stays in the page cache, and waiting for
 * the disk is most of the time that such a test takes.
 */
export const withoutSync = (inner: FileSystem): FileSystem => {
  const unsynced = (handle: WriteHandle): WriteHandle => ({ ...handle, sync: async () => undefined });
  return {
    ...inner,
    create: async (path, mode) => unsynced(await inner.create(path, mode)),
    append: async (path) => unsynced(await inner.append(path)),
    syncDir: async () => undefined,
    syncFile: async () => undefined,
  };
};

export function createFaultFileSystem(inner: FileSystem, fault?: DiskFault): FaultFileSystem {
  const operations: Operation[] = [];
  const open = new Set<{ close(): Promise<void> }>();
  let dead = false;
  let struck = 0;

  const alive = (): void => {
    if (dead) throw new Killed();
  };
  /** The kernel closes what a dead process held open; what was being opened when it died comes a moment later. */
  const hold = async <H extends { close(): Promise<void> }>(handle: H): Promise<H> => {
    if (!dead) {
      open.add(handle);
      return handle;
    }
    await handle.close();
    throw new Killed();
  };
  const die = async (): Promise<void> => {
    dead = true;
    struck++;
    const held = [...open];
    open.clear();
    await Promise.all(held.map((handle) => handle.close().catch(() => undefined)));
  };
  const kill = async (): Promise<never> => {
    await die();
    throw new Killed();
  };
  const strikes = (at: number): boolean =>
    fault !== undefined && (at === fault.at || ('fail' in fault && fault.forever === true && at > fault.at));

  /** `half` does a part of the change, where it has parts. */
  async function change<T>(kind: Change, path: string, act: () => Promise<T>, half?: () => Promise<unknown>): Promise<T> {
    alive();
    operations.push({ change: kind, path });
    if (fault === undefined || !strikes(operations.length)) return act();
    if ('fail' in fault) {
      struck++;
      await half?.();
      throw systemError(fault.fail, kind, path);
    }
    if (fault.kill === 'after') await act();
    if (fault.kill === 'torn') await half?.();
    return kill();
  }
  /** `change` for what happens at once. */
  function changeNow(kind: Change, path: string, act: () => void, half: () => void): void {
    alive();
    operations.push({ change: kind, path });
    if (fault === undefined || !strikes(operations.length)) {
      act();
      return;
    }
    if ('fail' in fault) {
      struck++;
      half();
      throw systemError(fault.fail, kind, path);
    }
    if (fault.kill === 'after') act();
    if (fault.kill === 'torn') half();
    void die();
    throw new Killed();
  }
  async function read<T>(act: () => Promise<T>): Promise<T> {
    alive();
    const result = await act();
    alive();
    return result;
  }

  function writable(handle: WriteHandle, path: string): WriteHandle {
    const faulty: WriteHandle = {
      write: (chunk) =>
        change(
          'write',
          path,
          () => handle.write(chunk),
          () => handle.write(chunk.subarray(0, chunk.length >> 1)),
        ),
      writeNow: (chunk) =>
        changeNow(
          'write',
          path,
          () => handle.writeNow(chunk),
          () => handle.writeNow(chunk.subarray(0, chunk.length >> 1)),
        ),
      // Here and not in a thread, so that what it writes is a change like any other.
      digesting(algorithm, onWritten) {
        const hash = createHash(algorithm);
        return {
          async add(piece) {
            hash.update(piece);
            await faulty.write(piece);
            onWritten(piece);
          },
          end: async () => hash.digest('hex'),
          settled: async () => undefined,
        };
      },
      sync: () => change('sync', path, () => handle.sync()),
      close() {
        const close = (): Promise<void> => {
          open.delete(handle);
          return handle.close();
        };
        // A close that reports an error has let go of the file all the same (close(2)).
        return change('close', path, close, fault !== undefined && 'fail' in fault ? close : undefined);
      },
    };
    return faulty;
  }
  function readable(handle: ReadHandle): ReadHandle {
    return {
      size: handle.size,
      async *read(start, end, into) {
        alive();
        for await (const chunk of handle.read(start, end, into)) {
          yield chunk;
          alive();
        }
      },
      async close() {
        if (open.delete(handle)) await handle.close();
      },
    };
  }
  const withPath =
    <A extends unknown[]>(kind: Change, act: (path: string, ...rest: A) => Promise<void>) =>
    (path: string, ...rest: A): Promise<void> =>
      change(kind, path, () => act(path, ...rest));

  return {
    operations,
    get struck() {
      return struck;
    },
    get dead() {
      return dead;
    },
    mkdir: withPath('mkdir', inner.mkdir),
    create: (path, mode) => change('create', path, async () => writable(await hold(await inner.create(path, mode)), path)),
    append: (path) => change('append', path, async () => writable(await hold(await inner.append(path)), path)),
    rename: (from, to) => change('rename', `${from} -> ${to}`, () => inner.rename(from, to)),
    unlink: withPath('unlink', inner.unlink),
    rmdir: withPath('rmdir', inner.rmdir),
    syncDir: withPath('syncDir', inner.syncDir),
    syncFile: withPath('syncFile', inner.syncFile),
    openRead: (path) => read(async () => readable(await hold(await inner.openRead(path)))),
    readFile: (path, maxBytes) => read(() => inner.readFile(path, maxBytes)),
    readUserFile: (path, maxBytes) => read(() => inner.readUserFile(path, maxBytes)),
    list: (path) => read(() => inner.list(path)),
    stat: (path) => read(() => inner.stat(path)),
    freeBytes: (path) => read(() => inner.freeBytes(path)),
    totalBytes: (path) => read(() => inner.totalBytes(path)),
  };
}

/**
 * Every way to be killed around the changes that a run was seen to make: in each gap between two changes (before the next one is after the last one)
 * and in the middle of each write.
 */
export function* killsOf(operations: readonly Operation[]): Generator<Extract<DiskFault, { kill: string }>> {
  yield { kill: 'before', at: 1 };
  for (const [i, { change }] of operations.entries()) {
    if (change === 'write') yield { kill: 'torn', at: i + 1 };
    yield { kill: 'after', at: i + 1 };
  }
}

export const faultName = (fault: DiskFault, operations: readonly Operation[]): string => {
  const { change, path } = operations[fault.at - 1] ?? { change: '?', path: '?' };
  const how = 'kill' in fault ? `killed ${fault.kill}` : `${fault.fail}${fault.forever ? ' from' : ' at'}`;
  return `${how} change ${fault.at} (${change} ${path.split('/').slice(-2).join('/')})`;
};

/** The test outlives the process that it plays killed: the locks in a directory are given an owner that no longer runs. */
export async function buryOwners(directory: string): Promise<void> {
  const names = await readdir(directory, { recursive: true }).catch(() => [] as string[]);
  for (const name of names.filter((n) => /\.lock[^/]*\/owner\.json$/.test(n))) {
    const text = await readFile(join(directory, name), 'utf8');
    await writeFile(join(directory, name), text.replace(/"startTime": "\d+"/, '"startTime": "1"'));
  }
}
