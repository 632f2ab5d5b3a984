import { type Digest, isDigest } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { inParallel } from '../core/in-parallel.ts';
import { isRepository, isTag } from '../core/reference.ts';
import { removeFile, removeTree } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import { listSwept, readIfThere } from './disk-files.ts';
import { createMembers, type Members } from './disk-members.ts';
import { type DiskPaths, digestOfFileName } from './disk-paths.ts';

/** A digest, or a media type of at most 255 characters in JSON. */
export const RECORD_BYTES = 4096;
const ALGORITHMS = ['sha256', 'sha512'] as const;
/** Small files are read so many at once: a disk with a queue is several times faster then. */
const AT_ONCE = 16;

/** A directory full of other things is not swept for bytes that nobody wants. @throws BundleError E_USAGE */
export async function requireOwnDirectory(fs: FileSystem, root: string): Promise<void> {
  for (const name of ['bundle.json', 'generations']) {
    if ((await fs.stat(`${root}/${name}`)) === undefined) continue;
    throw new BundleError('E_USAGE', `${root} holds a bundle: it has ${name} in it`, {
      hint: `to serve the bundle: bundle serve ${root}; a registry needs a directory of its own`,
    });
  }
  if ((await fs.stat(`${root}/repositories`)) !== undefined) return;
  const names = (await fs.stat(root)) === undefined ? [] : await fs.list(root);
  const foreign = names.filter((name) => !name.startsWith('.lock') && name !== 'lost+found');
  if (foreign.length === 0) return;
  throw new BundleError('E_USAGE', `${root} is no directory of a registry: it has ${JSON.stringify(foreign[0])} in it`, {
    hint: 'give an empty directory, or one that this registry made; a bundle is served with its own command',
  });
}

/**
 * Learns what a registry directory has, from names alone (tags, which are files of one line, apart), and removes what a killed process left:
 * temporary files, tags and referrer links of manifests that are gone, bytes that no repository has.
 */
export async function readMembers(
  fs: FileSystem,
  paths: DiskPaths,
  elapsed: number,
  warn: (message: string) => void,
): Promise<Members> {
  const members = createMembers();
  const reader = { fs, paths, members, elapsed, warn };
  await readBelow(reader, '');
  await sweepBytes(reader);
  return members;
}

type Reader = Readonly<{ fs: FileSystem; paths: DiskPaths; members: Members; elapsed: number; warn: (message: string) => void }>;

async function readBelow(reader: Reader, parent: string): Promise<void> {
  const names = await listSwept(reader.fs, parent === '' ? reader.paths.repositories : reader.paths.repository(parent));
  if (parent !== '' && names.some((name) => name.startsWith('_'))) await readRepository(reader, parent);
  await inParallel(names, AT_ONCE, async (name) => {
    const repository = parent === '' ? name : `${parent}/${name}`;
    if (isRepository(repository)) await readBelow(reader, repository);
  });
}

async function readRepository(reader: Reader, name: string): Promise<void> {
  const { fs, paths, members, elapsed } = reader;
  const directory = paths.repository(name);
  for await (const digest of digestsBelow(fs, `${directory}/_blobs`)) members.add('blobs', name, digest, elapsed);
  for await (const digest of digestsBelow(fs, `${directory}/_manifests`)) members.add('manifests', name, digest, elapsed);
  await readTags(reader, name);
  await sweepReferrers(reader, name);
  if (members.knows(name)) return;
  // Years of repositories that come and go would leave a forest of empty directories.
  for (const part of ['_blobs', '_manifests', '_tags', '_referrers']) await removeTree(fs, `${directory}/${part}`);
  if ((await fs.list(directory)).length === 0) await fs.rmdir(directory);
}

async function readTags({ fs, paths, members, warn }: Reader, name: string): Promise<void> {
  const tags = (await listSwept(fs, `${paths.repository(name)}/_tags`)).filter(isTag);
  await inParallel(tags, AT_ONCE, async (tag) => {
    const target = await readTag(fs, paths, name, tag);
    if (target === undefined) warn(`tag ${name}:${tag} is damaged: push it again, or delete it`);
    else if (members.has('manifests', name, target)) members.setTag(name, tag, target);
    else await removeFile(fs, paths.tag(name, tag)); // a delete that was cut off
  });
}

/** undefined when it is not there, or damaged. */
export async function readTag(fs: FileSystem, paths: DiskPaths, repository: string, tag: string): Promise<Digest | undefined> {
  const text = (await readIfThere(fs, paths.tag(repository, tag), RECORD_BYTES))?.toString('latin1');
  return isDigest(text) ? text : undefined;
}

async function sweepReferrers({ fs, paths, members }: Reader, name: string): Promise<void> {
  for await (const subject of digestsBelow(fs, `${paths.repository(name)}/_referrers`)) {
    const directory = paths.referrers(name, subject);
    let left = 0;
    for (const link of await listSwept(fs, directory)) {
      const digest = digestOfFileName(link);
      if (digest === undefined || members.has('manifests', name, digest)) left++;
      else await removeFile(fs, `${directory}/${link}`);
    }
    if (left === 0) await fs.rmdir(directory);
  }
}

async function sweepBytes({ fs, paths, members }: Reader): Promise<void> {
  for await (const digest of digestsBelow(fs, paths.blobs)) {
    if (!members.isHeld(digest)) await removeFile(fs, paths.blob(digest));
  }
}

/** The digests that `<directory>/<algorithm>/<hex>` name. Only while nobody writes there. */
async function* digestsBelow(fs: FileSystem, directory: string): AsyncGenerator<Digest> {
  if ((await listSwept(fs, directory)).length === 0) return;
  for (const algorithm of ALGORITHMS) {
    for (const hex of await listSwept(fs, `${directory}/${algorithm}`)) {
      const digest = `${algorithm}:${hex}`;
      if (isDigest(digest)) yield digest;
    }
  }
}
