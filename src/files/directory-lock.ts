import { randomBytes } from 'node:crypto';
import { BundleError, diskError, isBundleError, isSystemError } from '../core/errors.ts';
import { isObject, parseStrictJson, prettyJson } from '../core/json.ts';
import { removeTree } from './durable-write.ts';
import type { FileSystem } from './file-system.ts';
import { livenessOf, ownIdentity, type ProcessIdentity } from './process-identity.ts';

/**
 * One writer per directory without flock, which FAT and network file systems lack. The lock is a directory `.lock` that comes into being by one
 * rename of a finished one, so it is never seen half made. A stale one is moved away under a name that holds its token: of several takers only one
 * rename can succeed.
 */
export interface DirectoryLock {
  /** @throws BundleError E_LOCKED when somebody else took it meanwhile: call before the commit point */
  check(): Promise<void>;
  release(): Promise<void>;
}

type Owner = ProcessIdentity & Readonly<{ token: string; command: string }>;

const LOCK = '.lock';
const OWNER_BYTES = 4096;
const ATTEMPTS = 20;

export type LockOptions = Readonly<{
  /** Shown to whoever finds the directory locked. */
  command: string;
  /** Takes the lock of another host too: `--break-lock`. */
  breakForeign?: boolean;
  self?: ProcessIdentity;
}>;

/** @throws BundleError E_LOCKED when a running process (or one of another host) holds it; E_DISK */
export async function lockDirectory(fs: FileSystem, directory: string, options: LockOptions): Promise<DirectoryLock> {
  const self = options.self ?? ownIdentity();
  const token = randomBytes(16).toString('hex');
  const lock = `${directory}/${LOCK}`;
  const prepared = `${lock}-${token}`;
  const holds = async (): Promise<boolean> => (await readOwner(fs, lock))?.token === token;
  try {
    await prepare(fs, prepared, { ...self, token, command: options.command });
    for (let attempt = 1; ; attempt++) {
      const renamed = await tryRename(fs, prepared, lock);
      if (renamed === 'done' && (await holds())) break;
      // A holder who swept took ours for the rest of a killed run.
      if (renamed !== 'taken') await prepare(fs, prepared, { ...self, token, command: options.command });
      let owner = await readOwner(fs, lock);
      if (owner === undefined) {
        if ((await fs.stat(lock)) === undefined && attempt <= ATTEMPTS) continue;
        // It was let go and taken again between the two looks: only what stays unreadable is damage.
        owner = await readOwner(fs, lock);
      }
      if (attempt > ATTEMPTS || !isStale(owner, self, options.breakForeign === true)) throw lockedBy(directory, owner);
      const moved = await moveAside(fs, lock, owner);
      // Left by a taker that was killed: it would be in the way for ever. Not at once: it may be what another taker moves just now.
      if (!moved && attempt > 2) await removeTree(fs, asideOf(lock, owner));
    }
  } catch (error) {
    await removeTree(fs, prepared).catch(() => undefined);
    throw diskError(error, `locking ${directory}`);
  }
  return {
    async check() {
      if (!(await holds()))
        throw new BundleError('E_LOCKED', `${directory}: another process took the lock while this one was at work`, {
          hint: 'run the command again',
        });
    },
    async release() {
      try {
        if (!(await holds())) return;
        await sweep(fs, directory, self);
        // By one rename: between the removal of its file and of itself an emptied `.lock` could be somebody else's already.
        const released = `${lock}-released-${token}`;
        await fs.rename(lock, released);
        await removeTree(fs, released);
      } catch (error) {
        throw diskError(error, `unlocking ${directory}`);
      }
    },
  };
}

/** Runs `task` under the lock of a directory. What the task throws is the news, not that the lock could not be let go after it. */
export async function withDirectoryLock<T>(
  fs: FileSystem,
  directory: string,
  options: LockOptions,
  task: (lock: DirectoryLock) => Promise<T>,
): Promise<T> {
  const lock = await lockDirectory(fs, directory, options);
  let result: T;
  try {
    result = await task(lock);
  } catch (error) {
    await lock.release().catch(() => undefined);
    throw error;
  }
  await lock.release();
  return result;
}

async function prepare(fs: FileSystem, path: string, owner: Owner): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await removeTree(fs, path);
      await fs.mkdir(path);
      const handle = await fs.create(`${path}/owner.json`);
      try {
        await handle.write(Buffer.from(prettyJson(owner)));
      } finally {
        await handle.close();
      }
      return;
    } catch (error) {
      // Swept away by a holder who saw it without an owner.
      if (attempt >= 3 || !isSystemError(error, 'ENOENT')) throw error;
    }
  }
}

/** What killed runs left: prepared locks of processes that are gone, and locks moved aside. Only under the lock, and as its last deed. */
async function sweep(fs: FileSystem, directory: string, self: ProcessIdentity): Promise<void> {
  for (const name of await fs.list(directory)) {
    const path = `${directory}/${name}`;
    const isPrepared = /^\.lock-[0-9a-f]{32}$/.test(name);
    if (!isPrepared && !/^\.lock-(stale|released)-([0-9a-f]{32}|unreadable)$/.test(name)) continue;
    if (isPrepared && !isStale(await readOwner(fs, path), self, false)) continue;
    try {
      await removeTree(fs, path);
    } catch (error) {
      // A taker that is about to write its name there: it is alive after all.
      if (!isSystemError(error, 'ENOTEMPTY', 'EEXIST')) throw error;
    }
  }
}

const asideOf = (lock: string, owner: Owner | undefined): string => `${lock}-stale-${owner?.token ?? 'unreadable'}`;

/** Moves a stale lock away. A taker that was slow may catch a newer lock instead, which is put back. */
async function moveAside(fs: FileSystem, lock: string, owner: Owner | undefined): Promise<boolean> {
  const aside = asideOf(lock, owner);
  if ((await tryRename(fs, lock, aside)) !== 'done') return false;
  if ((await readOwner(fs, aside))?.token !== owner?.token) await tryRename(fs, aside, lock);
  return true;
}

/** 'taken': the target is there; 'lost': the source is gone. */
async function tryRename(fs: FileSystem, from: string, to: string): Promise<'done' | 'taken' | 'lost'> {
  try {
    await fs.rename(from, to);
    return 'done';
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return 'lost';
    if (!isSystemError(error, 'EEXIST', 'ENOTEMPTY', 'EPERM', 'ENOTDIR')) throw error;
    if (error.code === 'EPERM' && (await fs.stat(to)) === undefined) throw error;
    return 'taken';
  }
}

async function readOwner(fs: FileSystem, lock: string): Promise<Owner | undefined> {
  try {
    const json = parseStrictJson(await fs.readFile(`${lock}/owner.json`, OWNER_BYTES), 'owner.json', 'E_LOCKED');
    const ok =
      isObject(json) &&
      Number.isSafeInteger(json.pid) &&
      // 0 and below mean process groups to kill(2): such a lock would look held for ever.
      (json.pid as number) > 0 &&
      [json.host, json.bootId, json.startTime, json.token, json.command].every((v) => typeof v === 'string');
    return ok && /^[0-9a-f]{32}$/.test(json.token as string) ? (json as unknown as Owner) : undefined;
  } catch (error) {
    // A lock that can't be read for another reason (EIO, EMFILE) may be held by somebody alive.
    if (isBundleError(error) || isSystemError(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

/** A lock without a readable owner can only be damage (it is made whole): nobody alive can be told from it, so it is taken over. */
function isStale(owner: Owner | undefined, self: ProcessIdentity, breakForeign: boolean): boolean {
  if (owner === undefined) return true;
  const liveness = livenessOf(owner, self);
  return liveness === 'gone' || (liveness === 'foreign' && breakForeign);
}

function lockedBy(directory: string, owner: Owner | undefined): BundleError {
  const by = owner === undefined ? 'another process' : `"${owner.command.slice(0, 100)}", process ${owner.pid} on ${owner.host}`;
  const hint =
    owner !== undefined && livenessOf(owner) === 'foreign'
      ? `if it no longer runs on ${owner.host}, say --break-lock`
      : 'wait for it to end, then run the command again';
  return new BundleError('E_LOCKED', `${directory} is locked by ${by}`, { hint });
}
