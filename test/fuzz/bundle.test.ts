/** A whole signed bundle with anything done to its files: refused as damage or as distrust, or every byte that counts is as it was signed. */
import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { after } from 'node:test';
import fc from 'fast-check';
import { type VerifiedBundle, verifyBundle } from '../../src/bundle/verify.ts';
import { exitCodeOf, isBundleError } from '../../src/core/errors.ts';
import { disk, NOW, startJourney, treeOf } from '../support/journey.ts';
import { fuzz } from './budget.ts';
import { memoryFiles } from './memory-files.ts';

type Files = ReadonlyMap<string, Uint8Array>;
const ROOT = '/bundle';
const journey = await startJourney({ after: (fn) => after(fn) });

/** The bundle as pull leaves it. */
async function pulled(edition: number): Promise<Files> {
  const directory = journey.path(`edition-${edition}`);
  await mkdir(directory);
  await journey.pull(directory, edition, disk);
  const names = Object.keys(await treeOf(directory));
  const files = new Map<string, Uint8Array>();
  for (const name of names) {
    const bytes = await readFile(`${directory}/${name}`).catch(() => undefined); // directories
    if (bytes !== undefined) files.set(`${ROOT}/${name}`, bytes);
  }
  return files;
}
const [good, other] = [await pulled(0), await pulled(1)];
const names = [...good.keys()].sort();
const others = [...other.keys()].sort();

const verify = (files: Files): Promise<VerifiedBundle> =>
  verifyBundle(memoryFiles(files), ROOT, { trust: journey.trust, now: NOW });

/** Everything that the statement lists, and the statement: name → bytes. */
async function meaning({ generation, contents, store }: VerifiedBundle, files: Files): Promise<Map<string, string>> {
  const base64 = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('base64');
  const found = new Map([
    ['statement', base64(generation.statementBytes)],
    ['index', base64(generation.indexBytes)],
    ['lock', base64(generation.lockBytes)],
    ['layout', base64(files.get(`${ROOT}/oci-layout`))],
    ['contents', contents.map(({ content }) => `${content.ref} ${content.targetDigest}`).join()],
  ]);
  for (const { digest, size } of generation.statement.predicate.blobs) {
    found.set(digest, base64(await store.readWhole({ digest, size }, size)));
  }
  return found;
}
const meant = await Promise.all([good, other].map(async (files) => meaning(await verify(files), files)));

type Harm = Readonly<{
  kind: 'flip' | 'cut' | 'append' | 'delete' | 'swap' | 'rename' | 'copy' | 'mix' | 'empty' | 'stray';
  at: number;
  other: number;
  byte: number;
  name: string;
}>;
const harm: fc.Arbitrary<Harm> = fc.record({
  kind: fc.constantFrom('flip', 'flip', 'cut', 'append', 'delete', 'swap', 'rename', 'copy', 'mix', 'mix', 'empty', 'stray'),
  at: fc.nat({ max: 1000 }),
  other: fc.nat({ max: 1000 }),
  byte: fc.nat({ max: 100_000 }),
  name: fc.constantFrom(
    'bundle.json',
    'index.json',
    'lock.json',
    'oci-layout',
    'x',
    'BUNDLE.JSON',
    'bundle.json ',
    `${'0'.repeat(64)}.sigstore.json`,
    'generations/5/bundle.json',
    `blobs/sha256/${'0'.repeat(64)}`,
    'blobs/sha256/x',
    '.ingest/x',
  ),
});

function apply(files: Map<string, Uint8Array>, { kind, at, other: second, byte, name }: Harm): void {
  const here = [...files.keys()].sort();
  if (here.length === 0) return;
  const path = here[at % here.length] as string;
  const peer = here[second % here.length] as string;
  const bytes = Buffer.from(files.get(path) as Uint8Array);
  const place = bytes.length === 0 ? 0 : byte % bytes.length;
  if (kind === 'flip' && bytes.length > 0) {
    bytes[place] = (bytes[place] as number) ^ (1 << (byte % 8));
    files.set(path, bytes);
  }
  if (kind === 'cut') files.set(path, bytes.subarray(0, place));
  if (kind === 'append') files.set(path, Buffer.concat([bytes, Buffer.from([byte % 256])]));
  if (kind === 'empty') files.set(path, Buffer.alloc(0));
  if (kind === 'delete') files.delete(path);
  if (kind === 'swap') {
    files.set(path, files.get(peer) as Uint8Array);
    files.set(peer, bytes);
  }
  if (kind === 'rename') {
    files.delete(path);
    files.set(`${path.slice(0, path.lastIndexOf('/'))}/${name.split('/').at(-1)}`, bytes);
  }
  if (kind === 'copy') files.set(peer, bytes);
  if (kind === 'mix') {
    // The same file of the other bundle, or any of its files beside ours.
    const from = byte % 2 === 0 && other.has(path) ? path : (others[second % others.length] as string);
    files.set(from, other.get(from) as Uint8Array);
  }
  if (kind === 'stray') files.set(`${ROOT}/${name}`, bytes);
}

fuzz(
  'a bundle with any of its files changed is refused with exit code 5 or 6, or is what was signed',
  fc.array(harm, { minLength: 1, maxLength: 4 }),
  async (harms) => {
    const files = new Map(good);
    for (const each of harms) apply(files, each);
    let verified: VerifiedBundle;
    try {
      verified = await verify(files);
    } catch (error) {
      assert.ok(isBundleError(error), `not a BundleError: ${error instanceof Error ? error.stack : String(error)}`);
      assert.ok([5, 6].includes(exitCodeOf(error.code)), `${error.code}: ${error.message}`);
      return 'refused';
    }
    const found = await meaning(verified, files);
    assert.ok(
      meant.some((signed) => JSON.stringify([...signed]) === JSON.stringify([...found])),
      'verified, and is not what was signed',
    );
    return 'taken';
  },
  20,
);

fuzz(
  'one byte changed in any file of a bundle is never passed over',
  fc.tuple(
    fc.constantFrom(...names),
    fc.nat({ max: 1_000_000 }),
    fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 255 }), fc.integer({ min: 1, max: 255 })),
  ),
  async ([name, at, mask]) => {
    const files = new Map(good);
    const bytes = Buffer.from(files.get(name) as Uint8Array);
    if (bytes.length > 0) bytes[at % bytes.length] = (bytes[at % bytes.length] as number) ^ mask;
    files.set(name, bytes);
    const error = await verify(files).then(
      () => undefined,
      (cause: unknown) => cause,
    );
    if (mask === 0) assert.equal(error, undefined);
    else
      assert.ok(
        isBundleError(error) && [5, 6].includes(exitCodeOf(error.code)),
        `${name}: byte ${at % bytes.length}: ${String(error)}`,
      );
    return mask === 0 ? 'taken' : 'refused';
  },
  20,
);
