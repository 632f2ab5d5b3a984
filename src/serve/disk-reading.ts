import type { Descriptor } from '../core/descriptor.ts';
import { type Digest, isDigest, parseDigest } from '../core/digest.ts';
import { byteOrder, parseStrictJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { isTag } from '../core/reference.ts';
import type { FileSystem } from '../files/file-system.ts';
import type { RegistryContent, StoredManifest } from './content.ts';
import { listIfThere, readIfThere } from './disk-files.ts';
import { type DiskPaths, digestOfFileName } from './disk-paths.ts';
import { readFileRange } from './disk-staging.ts';
import { referrerOf } from './referrer.ts';

/** One small file of ours: a digest, or a media type of at most 255 characters in JSON. */
const RECORD_BYTES = 4096;

/** The reading half of a registry directory. */
export function readDiskContent(fs: FileSystem, paths: DiskPaths): RegistryContent {
  const manifest = (repository: string, reference: string) => readManifest(fs, paths, repository, reference);
  return {
    manifest,
    async blob(repository, digest) {
      const [link, file] = await Promise.all([fs.stat(paths.blobLink(repository, digest)), fs.stat(paths.blob(digest))]);
      if (link === undefined || file === undefined) return undefined;
      return { size: file.size, open: (start, end) => readFileRange(fs, paths.blob(digest), start, end) };
    },
    async tags(repository) {
      const found = await Promise.all([paths.records(repository), paths.blobLinks(repository)].map((path) => fs.stat(path)));
      return found.every((stat) => stat === undefined) ? undefined : listTags(fs, paths, repository);
    },
    async referrers(repository, subject) {
      const descriptors: Descriptor[] = [];
      for (const name of await listIfThere(fs, paths.referrers(repository, subject))) {
        const digest = digestOfFileName(name);
        const stored = digest && (await manifest(repository, digest));
        const referrer = stored && referrerOf(stored);
        if (referrer !== undefined) descriptors.push(referrer.descriptor);
      }
      return descriptors.sort((a, b) => byteOrder(a.digest, b.digest));
    },
  };
}

export const listTags = async (fs: FileSystem, paths: DiskPaths, repository: string): Promise<string[]> =>
  (await listIfThere(fs, paths.tags(repository))).filter(isTag).sort(byteOrder);

export async function tagTarget(fs: FileSystem, paths: DiskPaths, repository: string, tag: string): Promise<Digest | undefined> {
  const text = await readIfThere(fs, paths.tag(repository, tag), RECORD_BYTES);
  return text && parseDigest(text.toString('latin1'), `tag ${tag} of ${repository}`);
}

/** @param reference a tag or a digest */
export async function readManifest(
  fs: FileSystem,
  paths: DiskPaths,
  repository: string,
  reference: string,
): Promise<StoredManifest | undefined> {
  const digest = isDigest(reference) ? reference : await tagTarget(fs, paths, repository, reference);
  if (digest === undefined) return undefined;
  const [record, bytes] = await Promise.all([
    readIfThere(fs, paths.record(repository, digest), RECORD_BYTES),
    readIfThere(fs, paths.blob(digest), LIMITS.ociManifestBytes),
  ]);
  if (record === undefined || bytes === undefined) return undefined;
  const { mediaType } = parseStrictJson(record, `record of ${digest} in ${repository}`, 'E_UNEXPECTED');
  return { mediaType: String(mediaType), digest, bytes };
}

/** Names of all repositories below `repositories`, in no promised order. */
export async function* repositoryNames(fs: FileSystem, paths: DiskPaths, parent = ''): AsyncGenerator<string> {
  const names = await listIfThere(fs, `${paths.repositories}${parent === '' ? '' : `/${parent}`}`);
  if (names.some((name) => name === '_manifests' || name === '_blobs')) yield parent;
  for (const name of names) {
    if (!name.startsWith('_')) yield* repositoryNames(fs, paths, parent === '' ? name : `${parent}/${name}`);
  }
}
