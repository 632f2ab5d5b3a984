import type { Descriptor } from '../core/descriptor.ts';
import { type Digest, isDigest } from '../core/digest.ts';
import { diskError, isBundleError } from '../core/errors.ts';
import { byteOrder, isObject, parseStrictJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { MEDIA_TYPE } from '../core/media-types.ts';
import { writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import { readIfThere } from './disk-files.ts';
import type { Members } from './disk-members.ts';
import { backgroundTimer, type Timer } from './timer.ts';

type Facts = Pick<Descriptor, 'mediaType' | 'size'>;
type Entry = Facts & Readonly<{ digest: Digest }>;

export type LayoutIndexOptions = Readonly<{
  fs: FileSystem;
  path: string;
  members: Members;
  /** What a descriptor needs besides the digest; undefined for a manifest whose bytes are lost. */
  factsOf: (repository: string, digest: Digest) => Promise<Facts | undefined>;
  warn: (message: string) => void;
  /** From a change to the writing; default three seconds. */
  delayMs?: number | undefined;
  timer?: Timer | undefined;
}>;

export type LayoutIndex = Awaited<ReturnType<typeof openLayoutIndex>>;

/**
 * `index.json` of a registry directory: image-spec "OCI Image Layout", one descriptor per tag. It is for other programs and for us only derived:
 * written some seconds after a change, not with each of a thousand pushes, and made anew when it does not fit what is there.
 */
export async function openLayoutIndex(options: LayoutIndexOptions) {
  const { fs, path, members, factsOf, warn, delayMs = 3000, timer = backgroundTimer } = options;
  const onDisk = await readIfThere(fs, path, LIMITS.layoutIndexBytes);
  /** By `<repository>:<tag>`: ten thousand tags are not looked at again for one that moved. */
  let entries = entriesIn(onDisk);
  let written = onDisk;
  let waiting: (() => void) | undefined;
  let writing: Promise<void> = Promise.resolve();
  let closed = false;

  async function gather(): Promise<Map<string, Entry>> {
    const found = new Map<string, Entry>();
    for (const repository of members.repositories()) {
      for (const [tag, digest] of members.tags(repository)) {
        const name = `${repository}:${tag}`;
        const known = entries.get(name);
        const facts = known?.digest === digest ? known : await factsOf(repository, digest);
        if (facts !== undefined) found.set(name, { mediaType: facts.mediaType, digest, size: facts.size });
      }
    }
    return found;
  }
  async function write(): Promise<void> {
    try {
      entries = await gather();
      const bytes = encode(entries);
      if (written?.equals(bytes)) return;
      await writeFileDurable(fs, path, bytes);
      written = bytes;
    } catch (error) {
      throw diskError(error, `writing ${path}`);
    }
  }
  /** One after the other; a failed one is repeated by the next change, by `close`, or at the next start. */
  const writeInTurn = (): Promise<void> => {
    waiting?.();
    waiting = undefined;
    writing = writing.catch(() => undefined).then(write);
    return writing;
  };
  const late = (error: unknown): void => warn(`index.json is out of date: ${(error as Error).message}`);
  await writeInTurn().catch((error) => {
    // A full disk must not keep a registry from being opened: deletes are what it needs then.
    if (!isBundleError(error)) throw error;
    late(error);
  });
  return {
    /** A tag was made, moved or removed. Returns at once. */
    changed(): void {
      if (closed) return; // the directory may be somebody else's by now
      waiting ??= timer(() => {
        waiting = undefined;
        writeInTurn().catch(late);
      }, delayMs);
    },
    /** A manifest that is known got another media type. */
    forget(digest: Digest): void {
      for (const [name, entry] of entries) if (entry.digest === digest) entries.delete(name);
    },
    /** Writes what is not written yet. @throws BundleError E_DISK, E_DISK_FULL */
    async close(): Promise<void> {
      closed = true;
      await writeInTurn();
    },
  };
}

/** containerd's importer and ours read the full name from the second annotation, everybody else from the first. */
function encode(entries: ReadonlyMap<string, Entry>): Buffer {
  const manifests = [...entries]
    .sort(([a], [b]) => byteOrder(a, b))
    .map(([name, entry]) => ({
      ...entry,
      annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name },
    }));
  return Buffer.from(`${JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests })}\n`);
}

/** What the last process wrote; nothing when that is not what we write. */
function entriesIn(bytes: Buffer | undefined): Map<string, Entry> {
  const found = new Map<string, Entry>();
  for (const entry of bytes === undefined ? [] : listIn(bytes)) {
    if (!isObject(entry) || !isObject(entry.annotations)) continue;
    const { mediaType, digest, size } = entry;
    const name = entry.annotations['org.opencontainers.image.ref.name'];
    if (typeof name !== 'string' || typeof mediaType !== 'string' || !isDigest(digest)) continue;
    if (Number.isSafeInteger(size)) found.set(name, { mediaType, digest, size: size as number });
  }
  return found;
}

function listIn(bytes: Buffer): readonly unknown[] {
  try {
    const { manifests } = parseStrictJson(bytes, 'index.json', 'E_LAYOUT');
    return Array.isArray(manifests) ? manifests : [];
  } catch (error) {
    if (isBundleError(error)) return [];
    throw error;
  }
}
