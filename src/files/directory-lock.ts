import { randomBytes } from 'node:crypto';
import { BundleError, diskError, isSystemError } from '../core/errors.ts';
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
  const stale: string[] = [];
  try {
    await fs.mkdir(prepared);
    const handle = await fs.create(`${prepared}/owner.json`);
    await handle.write(Buffer.from(prettyJson({ ...self, token, command: options.command })));
    await handle.close();
    for (let attempt = 1; ; attempt++) {
      if (await tryRename(fs, prepared, lock)) break;
      const owner = await readOwner(fs, lock);
      if (owner === undefined && (await fs.stat(lock)) === undefined) continue;
      if (attempt > 20 || !isStale(owner, self, options.breakForeign === true)) throw lockedBy(directory, owner);
      const aside = `${lock}-stale-${owner?.token ?? 'unreadable'}`;
      if (await tryRename(fs, lock, aside)) stale.push(aside);
    }
  } catch (error) {
    await removeTree(fs, prepared).catch(() => undefined);
    throw diskError(error, `locking ${directory}`);
  }
  const holds = async (): Promise<boolean> => (await readOwner(fs, lock))?.token === token;
  return {
    async check() {
      if (!(await holds()))
        throw new BundleError('E_LOCKED', `${directory}: another process took the lock while this one was at work`, {
          hint: 'run the command again',
        });
    },
    async release() {
      if (await holds()) await removeTree(fs, lock);
      for (const path of stale) await removeTree(fs, path);
    },
  };
}

async function tryRename(fs: FileSystem, from: string, to: string): Promise<boolean> {
  try {
    await fs.rename(from, to);
    return true;
  } catch (error) {
    // The target is there (EEXIST, ENOTEMPTY) or the source is gone (ENOENT): somebody else was first.
    if (
      isSystemError(error, 'EEXIST', 'ENOTEMPTY', 'EPERM', 'ENOTDIR') ||
      (isSystemError(error, 'ENOENT') && from.endsWith(LOCK))
    ) {
      if ((error as NodeJS.ErrnoException).code === 'EPERM' && (await fs.stat(to)) === undefined) throw error;
      return false;
    }
    throw error;
  }
}

async function readOwner(fs: FileSystem, lock: string): Promise<Owner | undefined> {
  try {
    const json = parseStrictJson(await fs.readFile(`${lock}/owner.json`, OWNER_BYTES), 'owner.json', 'E_LOCKED');
    const ok =
      isObject(json) &&
      typeof json.pid === 'number' &&
      [json.host, json.bootId, json.startTime, json.token, json.command].every((v) => typeof v === 'string');
    return ok && /^[0-9a-f]{32}$/.test(json.token as string) ? (json as unknown as Owner) : undefined;
  } catch {
    return undefined;
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
