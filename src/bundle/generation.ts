import { type Digest, digestOf } from '../core/digest.ts';
import { BundleError, diskError } from '../core/errors.ts';
import { byteOrder } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { removeFile, removeTree, sweepTemporary, writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import {
  BLOBS,
  GENERATIONS,
  generationPath,
  INDEX,
  INGEST,
  isSignatureName,
  LOCK_FILE,
  OCI_LAYOUT,
  OCI_LAYOUT_BYTES,
  parseGenerationName,
  STATEMENT,
  TRUSTED_ROOT,
} from './layout.ts';
import { parseStatement, type Statement } from './statement.ts';

export type NamedBytes = Readonly<{ name: string; bytes: Uint8Array }>;

/** One committed state of a bundle, read but not yet believed: see verify.ts. */
export type Generation = Readonly<{
  sequence: number;
  statementBytes: Uint8Array;
  statementDigest: Digest;
  statement: Statement;
  indexBytes: Uint8Array;
  lockBytes: Uint8Array;
  /** Absent in generations of versions before 0.2. */
  trustedRootBytes: Uint8Array | undefined;
  signatures: readonly NamedBytes[];
}>;

/** Sequences of the committed generations, ascending. A folder under another name is not committed. */
export async function listGenerations(fs: FileSystem, root: string): Promise<number[]> {
  const directory = `${root}/${GENERATIONS}`;
  if ((await fs.stat(directory))?.kind !== 'directory') return [];
  const names = await fs.list(directory);
  const found = names.map(parseGenerationName).filter((n) => n !== undefined);
  if (found.length > LIMITS.generations) {
    throw new BundleError('E_LIMIT', `${directory} holds ${found.length} generations, more than ${LIMITS.generations}`, {
      origin: 'bundle',
    });
  }
  return found.sort((a, b) => a - b);
}

/**
 * The folders of a bundle must be folders: through one that is a link, pull would write and clear up somewhere else (oras-go CVE-2026-50162).
 * @throws BundleError E_NOT_REGULAR
 */
export async function requireFolders(fs: FileSystem, root: string): Promise<void> {
  for (const name of [GENERATIONS, BLOBS, `${BLOBS}/sha256`, `${BLOBS}/sha512`, INGEST])
    await requireFolder(fs, `${root}/${name}`);
}

async function requireFolder(fs: FileSystem, path: string): Promise<void> {
  const stat = await fs.stat(path);
  if (stat === undefined || stat.kind === 'directory') return;
  throw new BundleError('E_NOT_REGULAR', `${path} is not a directory (a link, file or device)`, {
    origin: 'bundle',
    hint: 'copy the bundle again',
  });
}

/** @throws BundleError E_MISSING, E_STATEMENT, E_LIMIT, E_NOT_REGULAR, E_WRONG_NAME is left to the caller */
export async function readGeneration(fs: FileSystem, root: string, sequence: number): Promise<Generation> {
  const directory = `${root}/${generationPath(sequence)}`;
  const read = async (name: string, max: number): Promise<Buffer> => {
    if ((await fs.stat(`${directory}/${name}`)) === undefined) {
      throw new BundleError('E_MISSING', `${generationPath(sequence)}/${name} is missing`, {
        origin: 'bundle',
        hint: 'copy the bundle again',
      });
    }
    return fs.readFile(`${directory}/${name}`, max);
  };
  try {
    await requireFolder(fs, directory);
    const statementBytes = await read(STATEMENT, LIMITS.statementBytes);
    const statement = parseStatement(statementBytes, `${generationPath(sequence)}/${STATEMENT}`);
    const names = (await fs.list(directory)).filter(isSignatureName);
    if (names.length > LIMITS.signatureFiles)
      throw new BundleError('E_LIMIT', `${directory} holds more than ${LIMITS.signatureFiles} signature files`, {
        origin: 'bundle',
      });
    const signatures: NamedBytes[] = [];
    const most = Math.min(LIMITS.signatureBytes, Math.ceil(statementBytes.length * 1.4) + LIMITS.signatureOverheadBytes);
    for (const name of names) signatures.push({ name, bytes: await read(name, most) });
    return {
      sequence,
      statementBytes,
      statementDigest: digestOf(statementBytes),
      statement,
      indexBytes: await read(INDEX, LIMITS.layoutIndexBytes),
      lockBytes: await read(LOCK_FILE, LIMITS.lockFileBytes),
      trustedRootBytes: statement.predicate.files.some((f) => f.name === TRUSTED_ROOT)
        ? await read(TRUSTED_ROOT, LIMITS.trustedRootBytes)
        : undefined,
      signatures,
    };
  } catch (error) {
    throw diskError(error, `reading ${directory}`);
  }
}

export type NewGeneration = Readonly<{ sequence: number; files: readonly NamedBytes[] }>;

/** The commit point: a finished folder, on the disk, gets its name by one rename. */
export async function commitGeneration(fs: FileSystem, root: string, generation: NewGeneration): Promise<void> {
  const temporary = `${root}/${GENERATIONS}/.tmp-${generation.sequence}`;
  try {
    await removeTree(fs, temporary);
    await fs.mkdir(temporary);
    for (const { name, bytes } of generation.files) {
      const handle = await fs.create(`${temporary}/${name}`);
      try {
        await handle.write(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
    }
    await fs.syncDir(temporary);
    await fs.rename(temporary, `${root}/${generationPath(generation.sequence)}`);
    await fs.syncDir(`${root}/${GENERATIONS}`);
  } catch (error) {
    throw diskError(error, `committing generation ${generation.sequence}`);
  }
}

/** Adds a signer's file to a committed generation: the one change that is allowed there. */
export async function addSignature(fs: FileSystem, root: string, sequence: number, signature: NamedBytes): Promise<void> {
  await writeFileDurable(fs, `${root}/${generationPath(sequence)}/${signature.name}`, signature.bytes);
}

/** Makes the directory a valid, empty OCI layout. */
export async function initLayout(fs: FileSystem, root: string): Promise<void> {
  await fs.mkdir(`${root}/blobs/sha256`);
  await fs.mkdir(`${root}/${GENERATIONS}`);
  await refreshFile(fs, `${root}/${OCI_LAYOUT}`, OCI_LAYOUT_BYTES);
}

/** Writes only when the bytes differ: a second run changes nothing on the medium. */
async function refreshFile(fs: FileSystem, path: string, bytes: Uint8Array): Promise<void> {
  const stat = await fs.stat(path);
  if (stat?.kind === 'file' && stat.size === bytes.length && Buffer.from(bytes).equals(await fs.readFile(path, bytes.length)))
    return;
  await writeFileDurable(fs, path, bytes);
}

/** Copies of the newest generation's files at the top, where tools of the field look: made anew where stale. */
export async function refreshCopies(fs: FileSystem, root: string): Promise<void> {
  const newest = (await listGenerations(fs, root)).at(-1);
  if (newest === undefined) return;
  const generation = await readGeneration(fs, root, newest);
  await refreshFile(fs, `${root}/${OCI_LAYOUT}`, OCI_LAYOUT_BYTES);
  await refreshFile(fs, `${root}/${INDEX}`, generation.indexBytes);
  await refreshFile(fs, `${root}/${STATEMENT}`, generation.statementBytes);
  for (const { name, bytes } of generation.signatures) await refreshFile(fs, `${root}/${name}`, bytes);
  const kept = new Set(generation.signatures.map((s) => s.name));
  for (const name of (await fs.list(root)).filter(isSignatureName)) if (!kept.has(name)) await removeFile(fs, `${root}/${name}`);
}

/** Removes all generations but the newest `keep`, then reports which digests the kept ones still list. Index first, blobs after. */
export async function pruneGenerations(
  fs: FileSystem,
  root: string,
  keep: number,
): Promise<{ removed: number[]; listed: Set<Digest> }> {
  const all = await listGenerations(fs, root);
  const removed = all.slice(0, Math.max(0, all.length - keep));
  for (const sequence of removed) {
    const aside = `${root}/${GENERATIONS}/.tmp-old-${sequence}`;
    await removeTree(fs, aside);
    await fs.rename(`${root}/${generationPath(sequence)}`, aside);
    // Before its blobs go: a power cut must not bring back a generation without them.
    await fs.syncDir(`${root}/${GENERATIONS}`);
    await removeTree(fs, aside);
  }
  const listed = new Set<Digest>();
  for (const sequence of all.slice(removed.length)) {
    for (const blob of (await readGeneration(fs, root, sequence)).statement.predicate.blobs) listed.add(blob.digest);
  }
  return { removed, listed };
}

/** Folders of commits and removals that were killed, and temporary files of copies and signatures. Only under the directory lock. */
export async function sweepGenerations(fs: FileSystem, root: string): Promise<void> {
  await sweepTemporary(fs, root);
  const directory = `${root}/${GENERATIONS}`;
  if ((await fs.stat(directory))?.kind !== 'directory') return;
  for (const name of await fs.list(directory)) {
    if (name.startsWith('.tmp-')) await removeTree(fs, `${directory}/${name}`);
    else if (parseGenerationName(name) !== undefined) await sweepTemporary(fs, `${directory}/${name}`);
  }
}

/** How long after it was made a generation may be loaded, in milliseconds. */
const lifetime = ({ created, expires }: Statement['predicate']): number | undefined =>
  expires === undefined ? undefined : Date.parse(expires) - Date.parse(created);

/** Content that decides whether there is anything new: the same references, meanings, blobs and lifetime. */
export const contentKey = (statement: Statement['predicate']): string =>
  JSON.stringify([
    statement.contents,
    [...statement.blobs].sort((a, b) => byteOrder(a.digest, b.digest)),
    statement.platforms,
    statement.name,
    lifetime(statement),
  ]);
