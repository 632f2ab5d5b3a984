import { randomUUID } from 'node:crypto';
import { isBundleError } from '../core/errors.ts';
import { parseStrictJson } from '../core/json.ts';
import { isRepository } from '../core/reference.ts';
import { removeFile, removeQuietly } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import type { SavedUpload, Staging, UploadRecord } from './content.ts';
import { listSwept, readIfThere } from './disk-files.ts';
import type { DiskFloor } from './disk-floor.ts';
import type { DiskPaths } from './disk-paths.ts';
import { createDiskStaging, type Keep } from './disk-staging.ts';

type Surroundings = Readonly<{ fs: FileSystem; paths: DiskPaths; floor: DiskFloor; keep: Keep }>;

/** id, repository name, algorithm and a time. */
const RECORD_BYTES = 4096;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The sessions of a registry directory: bytes in `uploads/<uuid>`, what they belong to in `uploads/<uuid>.json`. */
export function createDiskUploads({ fs, paths, floor, keep }: Surroundings) {
  let open = 0;
  const stagingOf = (id: string, more: Pick<Parameters<typeof createDiskStaging>[0], 'recordPath' | 'handle'>): Staging => {
    open++;
    return createDiskStaging({ fs, floor, keep, path: paths.upload(id), ended: () => void open--, ...more });
  };
  return {
    openCount: (): number => open,
    /** @throws BundleError E_DISK_FULL below the floor */
    async stage(record?: UploadRecord): Promise<Staging> {
      await floor.requireRoom(0);
      const id = record?.id ?? randomUUID();
      const handle = await fs.create(paths.upload(id));
      const recordPath = record && paths.uploadRecord(id);
      try {
        // Last: who finds it finds the bytes, too.
        if (recordPath !== undefined) await writeRecord(fs, recordPath, record as UploadRecord);
      } catch (error) {
        await handle.close().catch(() => undefined);
        if (recordPath !== undefined) await removeQuietly(fs, recordPath);
        await removeQuietly(fs, paths.upload(id));
        throw error;
      }
      return stagingOf(id, { recordPath, handle });
    },
    /** What an earlier process left. What can't be gone on with is removed; no bytes are read. */
    async saved(): Promise<SavedUpload[]> {
      const names = await listSwept(fs, paths.uploads);
      const found: SavedUpload[] = [];
      for (const id of names.filter((name) => UUID.test(name))) {
        const [record, bytes] = [await readRecord(fs, paths, id), await fs.stat(paths.upload(id))];
        if (record === undefined || bytes?.kind !== 'file') continue;
        const staging = stagingOf(id, { recordPath: paths.uploadRecord(id) });
        found.push({ ...record, staging, received: bytes.size, usedAt: bytes.mtimeMs });
      }
      const kept = new Set(found.flatMap(({ id }) => [id, `${id}.json`]));
      for (const name of names) if (!kept.has(name)) await removeFile(fs, `${paths.uploads}/${name}`);
      return found;
    },
  };
}

/** Not synced: an upload may be lost by a power cut, as its bytes may. */
async function writeRecord(fs: FileSystem, path: string, record: UploadRecord): Promise<void> {
  const handle = await fs.create(path);
  try {
    await handle.write(Buffer.from(JSON.stringify(record)));
  } finally {
    await handle.close();
  }
}

/** undefined for one that was cut off in the writing. */
async function readRecord(fs: FileSystem, paths: DiskPaths, id: string): Promise<UploadRecord | undefined> {
  const bytes = await readIfThere(fs, paths.uploadRecord(id), RECORD_BYTES);
  if (bytes === undefined) return undefined;
  try {
    const { repository, algorithm, startedAt, ...rest } = parseStrictJson(bytes, `upload ${id}`, 'E_UNEXPECTED');
    if (rest.id !== id || typeof repository !== 'string' || !isRepository(repository)) return undefined;
    if (!Number.isSafeInteger(startedAt)) return undefined;
    const record = { id, repository, startedAt: startedAt as number };
    return algorithm === 'sha256' || algorithm === 'sha512' ? { ...record, algorithm } : record;
  } catch (error) {
    if (isBundleError(error)) return undefined;
    throw error;
  }
}
