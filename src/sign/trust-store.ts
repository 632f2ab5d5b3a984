import { BundleError, diskError } from '../core/errors.ts';
import { type DirectoryLock, withDirectoryLock } from '../files/directory-lock.ts';
import { sweepTemporary, writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import { loadTrustPath, TRUST_FILE } from './trust.ts';
import { encodeTrustDocument, type TrustDocument, trustFingerprint } from './trust-document.ts';

/** @throws BundleError E_TRUST_FILE, also for a directory of the simple form, which has no versions */
export async function readTrustDocument(fs: FileSystem, directory: string): Promise<TrustDocument> {
  const { document } = await loadTrustPath(fs, directory);
  if (document !== undefined) return document;
  throw new BundleError('E_TRUST_FILE', `${directory} has key files and no ${TRUST_FILE} that lists them`, {
    hint: `make the full form in a new directory: bundle trust init NEW --add NAME=FILE.pub …, and put it in the place of the old one`,
  });
}

/**
 * Writes the first document into a directory that holds no trust yet. The same document again is fine.
 * @throws BundleError E_USAGE when there is other trust; E_LOCKED, E_DISK
 */
export async function createTrust(fs: FileSystem, directory: string, document: TrustDocument): Promise<void> {
  await locked(fs, directory, 'bundle trust init', async (lock) => {
    const names = await fs.list(directory);
    if (names.some((name) => name === TRUST_FILE || (name.endsWith('.pub') && !name.startsWith('.')))) {
      if (names.includes(TRUST_FILE) && (await isThere(fs, directory, document))) return;
      throw new BundleError('E_USAGE', `${directory} holds trust already`, {
        hint: 'change it with "bundle trust add" and "remove", or make the new one in another directory',
      });
    }
    await write(fs, directory, document, lock);
  });
}

async function isThere(fs: FileSystem, directory: string, document: TrustDocument): Promise<boolean> {
  const there = (await loadTrustPath(fs, directory)).document;
  return there !== undefined && trustFingerprint(there) === trustFingerprint(document);
}

/**
 * Reads, changes and replaces the document under the lock of the directory; by one rename, so that at every instant either the old or the new trust
 * is in force. Writes nothing when `change` gives the document back as it was.
 * @throws BundleError of `change`; E_TRUST_FILE, E_LOCKED, E_DISK
 */
export async function changeTrust(
  fs: FileSystem,
  directory: string,
  command: string,
  change: (current: TrustDocument) => TrustDocument | Promise<TrustDocument>,
): Promise<Readonly<{ before: TrustDocument; after: TrustDocument }>> {
  await readTrustDocument(fs, directory); // before a lock is put into a directory that may not be one of trust
  return locked(fs, directory, command, async (lock) => {
    const before = await readTrustDocument(fs, directory);
    const after = await change(before);
    if (after !== before) await write(fs, directory, after, lock);
    return { before, after };
  });
}

async function locked<T>(
  fs: FileSystem,
  directory: string,
  command: string,
  task: (lock: DirectoryLock) => Promise<T>,
): Promise<T> {
  try {
    await fs.mkdir(directory);
    return await withDirectoryLock(fs, directory, { command }, async (lock) => {
      await sweepTemporary(fs, directory);
      return task(lock);
    });
  } catch (error) {
    throw diskError(error, `changing the trust in ${directory}`);
  }
}

async function write(fs: FileSystem, directory: string, document: TrustDocument, lock: DirectoryLock): Promise<void> {
  await lock.check();
  await writeFileDurable(fs, `${directory}/${TRUST_FILE}`, encodeTrustDocument(document));
}
