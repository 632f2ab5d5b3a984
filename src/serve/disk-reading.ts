import type { Descriptor } from '../core/descriptor.ts';
import { type Digest, isDigest } from '../core/digest.ts';
import { isBundleError } from '../core/errors.ts';
import { byteOrder, parseStrictJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import type { FileSystem } from '../files/file-system.ts';
import { readFileRange } from './blob-stream.ts';
import type { RegistryContent, StoredManifest } from './content.ts';
import { readIfThere } from './disk-files.ts';
import { RECORD_BYTES } from './disk-opening.ts';
import { type DiskPaths, digestOfFileName } from './disk-paths.ts';
import type { DiskStore } from './disk-store.ts';
import { referrerOf } from './referrer.ts';

/** The reading half of a registry directory. Whatever is found is promised to the client: garbage collection leaves it for a while. */
export function readDiskContent(store: Pick<DiskStore, 'fs' | 'paths' | 'members' | 'elapsed'>): RegistryContent {
  const { fs, paths, members, elapsed } = store;
  const manifest = async (repository: string, reference: string): Promise<StoredManifest | undefined> => {
    const digest = isDigest(reference) ? reference : members.tags(repository).get(reference);
    if (digest === undefined || !members.promise('manifests', repository, digest, elapsed())) return undefined;
    return readManifest(fs, paths, repository, digest);
  };
  return {
    manifest,
    async blob(repository, digest) {
      if (!members.promise('blobs', repository, digest, elapsed())) return undefined;
      const path = paths.blob(digest);
      const file = await fs.stat(path);
      if (file?.kind !== 'file') return undefined;
      return { size: file.size, open: (start, end) => readFileRange(fs, path, start, end) };
    },
    repositories: async () => members.repositories().sort(byteOrder),
    async tags(repository) {
      return members.knows(repository) ? [...members.tags(repository).keys()].sort(byteOrder) : undefined;
    },
    async referrers(repository, subject) {
      const descriptors: Descriptor[] = [];
      const directory = paths.referrers(repository, subject);
      for (const name of (await fs.stat(directory)) === undefined ? [] : await fs.list(directory)) {
        const digest = digestOfFileName(name);
        const stored = digest && (await manifest(repository, digest));
        const referrer = stored && referrerOf(stored);
        if (referrer !== undefined) descriptors.push(referrer.descriptor);
      }
      return descriptors.sort((a, b) => byteOrder(a.digest, b.digest));
    },
  };
}

/** Straight from the disk; undefined when record or bytes are not there, or the record is damaged. */
export async function readManifest(
  fs: FileSystem,
  paths: DiskPaths,
  repository: string,
  digest: Digest,
): Promise<StoredManifest | undefined> {
  const [mediaType, bytes] = await Promise.all([
    readMediaType(fs, paths, repository, digest),
    readIfThere(fs, paths.blob(digest), LIMITS.ociManifestBytes),
  ]);
  return mediaType === undefined || bytes === undefined ? undefined : { mediaType, digest, bytes };
}

export async function readMediaType(
  fs: FileSystem,
  paths: DiskPaths,
  repository: string,
  digest: Digest,
): Promise<string | undefined> {
  const record = await readIfThere(fs, paths.record(repository, digest), RECORD_BYTES);
  if (record === undefined) return undefined;
  try {
    const { mediaType } = parseStrictJson(record, `record of ${digest} in ${repository}`, 'E_UNEXPECTED');
    return typeof mediaType === 'string' ? mediaType : undefined;
  } catch (error) {
    if (isBundleError(error)) return undefined;
    throw error;
  }
}
