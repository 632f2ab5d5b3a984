import { type Digest, digestOf, hexOf } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { isObject, parseStrictJson, shown } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import type { FileSystem } from '../files/file-system.ts';
import { type Generation, listGenerations } from './generation.ts';
import { generationPath, INDEX, isSignatureName, LOCK_FILE, OCI_LAYOUT, STATEMENT, TRUSTED_ROOT } from './layout.ts';

/** The files beside the blobs: pinned by the statement's subject or its `files`; the copies at the top must be a generation's, byte for byte. */
export async function checkFiles(fs: FileSystem, directory: string, generation: Generation): Promise<string[]> {
  const { statement, indexBytes, lockBytes, trustedRootBytes } = generation;
  if (hexOf(digestOf(indexBytes)) !== statement.subject[0]?.digest.sha256)
    throw altered(`generations/${generation.sequence}/${INDEX}`);
  for (const file of statement.predicate.files) {
    if (file.name === LOCK_FILE) requireBytes(lockBytes, file, `generations/${generation.sequence}/${LOCK_FILE}`);
    else if (file.name === TRUSTED_ROOT && trustedRootBytes !== undefined)
      requireBytes(trustedRootBytes, file, `generations/${generation.sequence}/${TRUSTED_ROOT}`);
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
  const roots = Array.isArray(json.manifests)
    ? json.manifests.filter(isObject).map((m) => (typeof m.digest === 'string' ? m.digest : shown(m.digest)))
    : [];
  const wanted = new Set<string>(
    generation.statement.predicate.contents.flatMap((c) => [c.targetDigest, ...(c.evidence ?? []).map((e) => e.digest)]),
  );
  const extra = roots.find((digest) => !wanted.has(digest));
  const absent = [...wanted].find((digest) => !roots.includes(digest));
  if (extra !== undefined)
    throw new BundleError('E_UNLISTED', `${INDEX} has the root ${extra}, which the statement does not list`, {
      origin: 'bundle',
    });
  if (absent !== undefined)
    throw new BundleError('E_LAYOUT', `${INDEX} and the statement name different roots`, { origin: 'bundle' });
}

/** Copies older than the newest generation are what a killed pull leaves: said, not refused. Anything else was altered. */
async function checkCopies(fs: FileSystem, directory: string, generation: Generation): Promise<string[]> {
  const sequences = await listGenerations(fs, directory);
  const newest = sequences.at(-1) as number;
  let stale = false;
  const check = async (name: string, own: Uint8Array | undefined, max: number): Promise<void> => {
    const bytes = await readTop(fs, directory, name, max);
    const owner =
      own !== undefined && Buffer.compare(bytes, own) === 0
        ? generation.sequence
        : await ownerOf(fs, directory, name, bytes, sequences);
    if (owner === undefined)
      throw new BundleError('E_DIGEST', `${name} at the top of the bundle was altered: it is no generation's`, {
        origin: 'bundle',
        hint: 'copy the bundle again',
      });
    if (owner !== newest) stale = true;
  };
  await check(INDEX, generation.indexBytes, LIMITS.layoutIndexBytes);
  await check(STATEMENT, generation.statementBytes, LIMITS.statementBytes);
  const signatures = (await fs.list(directory)).filter(isSignatureName);
  for (const name of signatures)
    await check(name, generation.signatures.find((s) => s.name === name)?.bytes, LIMITS.signatureBytes);
  // An approver may have added one to the generation alone.
  const expected = (await fs.list(`${directory}/${generationPath(newest)}`)).filter(isSignatureName);
  if (expected.some((name) => !signatures.includes(name))) stale = true;
  return stale
    ? [
        'the copies at the top of the bundle are older than its newest generation or not all there; the next "bundle pull" or "bundle sign" makes them anew',
      ]
    : [];
}

/** The newest generation that has these very bytes under this name. One file at a time, and only one of the right size: others' folders are not trusted. */
async function ownerOf(
  fs: FileSystem,
  directory: string,
  name: string,
  bytes: Buffer,
  sequences: readonly number[],
): Promise<number | undefined> {
  for (const sequence of [...sequences].reverse()) {
    const path = `${directory}/${generationPath(sequence)}/${name}`;
    const stat = await fs.stat(path);
    if (stat?.kind !== 'file' || stat.size !== bytes.length) continue;
    if (bytes.equals(await fs.readFile(path, bytes.length))) return sequence;
  }
  return undefined;
}
