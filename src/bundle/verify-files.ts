import { type Digest, digestOf, hexOf } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { isObject, parseStrictJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import type { FileSystem } from '../files/file-system.ts';
import { type Generation, listGenerations, readGeneration } from './generation.ts';
import { INDEX, isSignatureName, LOCK_FILE, OCI_LAYOUT, STATEMENT } from './layout.ts';

/** The files beside the blobs: pinned by the statement's subject or its `files`; the copies at the top must be a generation's, byte for byte. */
export async function checkFiles(fs: FileSystem, directory: string, generation: Generation): Promise<string[]> {
  const { statement, indexBytes, lockBytes } = generation;
  if (hexOf(digestOf(indexBytes)) !== statement.subject[0]?.digest.sha256)
    throw altered(`generations/${generation.sequence}/${INDEX}`);
  for (const file of statement.predicate.files) {
    if (file.name === LOCK_FILE) requireBytes(lockBytes, file, `generations/${generation.sequence}/${LOCK_FILE}`);
    else if (file.name === OCI_LAYOUT) requireBytes(await readTop(fs, directory, OCI_LAYOUT, file.size), file, OCI_LAYOUT);
    else
      throw new BundleError('E_STATEMENT', `the statement lists the file ${file.name}, which this version does not know`, {
        origin: 'bundle',
        hint: 'use a newer version of bundle',
      });
  }
  requireRoots(generation);
  return checkCopies(fs, directory, generation);
}

const altered = (what: string): BundleError =>
  new BundleError('E_DIGEST', `${what} was altered: its digest is not the signed one`, {
    origin: 'bundle',
    hint: 'copy the bundle again',
  });

function requireBytes(bytes: Uint8Array, file: { size: number; digest: Digest }, what: string): void {
  if (bytes.length !== file.size)
    throw new BundleError('E_SIZE', `${what}: has ${bytes.length} bytes, want ${file.size}`, { origin: 'bundle' });
  if (digestOf(bytes) !== file.digest) throw altered(what);
}

async function readTop(fs: FileSystem, directory: string, name: string, max: number): Promise<Buffer> {
  if ((await fs.stat(`${directory}/${name}`)) === undefined)
    throw new BundleError('E_MISSING', `${name} is missing`, {
      origin: 'bundle',
      hint: 'copy the bundle again; if its "bundle pull" was stopped, run that again',
    });
  return fs.readFile(`${directory}/${name}`, max + 1);
}

/** index.json and the statement must name the same roots: what one lists and the other does not would reach some tools and not others. */
function requireRoots(generation: Generation): void {
  const json = parseStrictJson(generation.indexBytes, INDEX, 'E_LAYOUT');
  const roots = Array.isArray(json.manifests) ? json.manifests.filter(isObject).map((m) => String(m.digest)) : [];
  const wanted = generation.statement.predicate.contents.map((c) => c.targetDigest);
  const extra = roots.find((digest) => !wanted.includes(digest as Digest));
  const absent = wanted.find((digest) => !roots.includes(digest));
  if (extra !== undefined)
    throw new BundleError('E_UNLISTED', `${INDEX} has the root ${extra}, which the statement does not list`, {
      origin: 'bundle',
    });
  if (absent !== undefined)
    throw new BundleError('E_LAYOUT', `${INDEX} and the statement name different roots`, { origin: 'bundle' });
}

/** Copies older than the newest generation are what a killed pull leaves: said, not refused. Anything else was altered. */
async function checkCopies(fs: FileSystem, directory: string, newest: Generation): Promise<string[]> {
  const sequences = await listGenerations(fs, directory);
  const candidates: Generation[] = [newest];
  for (const sequence of sequences)
    if (sequence !== newest.sequence) candidates.push(await readGeneration(fs, directory, sequence));
  let stale = false;
  const check = async (name: string, bytesOf: (g: Generation) => Uint8Array | undefined, max: number): Promise<void> => {
    const bytes = await readTop(fs, directory, name, max);
    const owner = candidates.find((g) => Buffer.from(bytesOf(g) ?? []).equals(bytes) && bytes.length > 0);
    if (owner === undefined)
      throw new BundleError('E_DIGEST', `${name} at the top of the bundle was altered: it is no generation's`, {
        origin: 'bundle',
        hint: 'copy the bundle again',
      });
    if (owner.sequence !== (sequences.at(-1) ?? owner.sequence)) stale = true;
  };
  await check(INDEX, (g) => g.indexBytes, LIMITS.layoutIndexBytes);
  await check(STATEMENT, (g) => g.statementBytes, LIMITS.statementBytes);
  const signatures = (await fs.list(directory)).filter(isSignatureName);
  for (const name of signatures) {
    await check(name, (g) => g.signatures.find((s) => s.name === name)?.bytes, LIMITS.signatureBytes);
  }
  // An approver may have added one to the generation alone.
  const last = candidates.find((g) => g.sequence === sequences.at(-1));
  if (last?.signatures.some((s) => !signatures.includes(s.name))) stale = true;
  return stale
    ? [
        'the copies at the top of the bundle are older than its newest generation or not all there; the next "bundle pull" makes them anew',
      ]
    : [];
}
