/** Promise 1: whatever was done to the files of a bundle on its way, it is refused with a promised code before anything is written to the target. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFile, cp, link, mkdir, readFile, rename, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { listGenerations } from '../../src/bundle/generation.ts';
import { exitCodeOf, isBundleError } from '../../src/core/errors.ts';
import { parseTarget, placesAt } from '../../src/load/target.ts';
import { rejectsWith } from '../support/assert-code.ts';
import {
  disk,
  type Journey,
  loadInto,
  requireComplete,
  type Store,
  startJourney,
  startStore,
  treeOf,
} from '../support/journey.ts';

type Bench = Readonly<{ journey: Journey; store: Store; good: string; sequences: number[] }>;

/** A bundle of two images with two generations. */
async function bench(t: TestContext): Promise<Bench> {
  const journey = await startJourney(t);
  const store = await startStore(t);
  const good = journey.path('good');
  await journey.pull(good, 0);
  await journey.pull(good, 1);
  return { journey, store, good, sequences: await listGenerations(disk, good) };
}

/** What the two commands do, and the exit code that they end with. */
async function exitOf(run: () => Promise<unknown>, name: string): Promise<{ exit: number; code: string }> {
  try {
    await run();
    return { exit: 0, code: 'ok' };
  } catch (error) {
    assert.ok(isBundleError(error), `${name}: ended with ${error instanceof Error ? error.stack : String(error)}`);
    return { exit: exitCodeOf(error.code), code: error.code };
  }
}

const verifyAll =
  ({ journey, sequences }: Bench, directory: string) =>
  async (): Promise<void> => {
    await journey.verify(directory);
    for (const generation of sequences.slice(0, -1)) await journey.verify(directory, { generation, now: 0 });
  };

const load =
  ({ journey, store }: Bench, directory: string) =>
  async (): Promise<void> => {
    const state = journey.path('state');
    store.reset();
    await loadInto(store, await journey.verify(directory), state);
  };

/** A load that went through must have brought exactly what is right. */
async function requireRight({ journey, store, good }: Bench): Promise<void> {
  const { contents } = await journey.verify(good);
  for (const { content } of contents) {
    for (const { repository, tag } of placesAt(parseTarget(store.host), content.ref, content.aliases ?? [])) {
      const name = `${repository}:${tag}`;
      await requireComplete(store.content, name);
      assert.equal((await store.content.manifest(repository, tag as string))?.digest, content.targetDigest, name);
    }
  }
}

type Damage = Readonly<{ what: string; apply: (path: string, others: readonly string[], root: string) => Promise<unknown> }>;

const flip = (where: (size: number) => number, bit: number) => async (path: string) => {
  const bytes = await readFile(path);
  const at = where(bytes.length);
  bytes[at] = (bytes[at] as number) ^ (1 << bit);
  await writeFile(path, bytes);
};
const cut = (length: (size: number) => number) => async (path: string) => truncate(path, length((await stat(path)).size));
const replaced = (make: (path: string) => unknown) => async (path: string) => {
  await rm(path);
  await make(path);
};

const DAMAGES: readonly Damage[] = [
  { what: 'first bit flipped', apply: flip(() => 0, 0) },
  { what: 'a bit in the middle flipped', apply: flip((size) => size >> 1, 5) },
  { what: 'last bit flipped', apply: flip((size) => size - 1, 0) },
  { what: 'emptied', apply: cut(() => 0) },
  { what: 'cut in half', apply: cut((size) => size >> 1) },
  { what: 'last byte cut off', apply: cut((size) => size - 1) },
  { what: 'a byte appended', apply: (path) => appendFile(path, 'x') },
  { what: 'deleted', apply: (path) => rm(path) },
  { what: 'zeroed', apply: async (path) => writeFile(path, Buffer.alloc((await stat(path)).size)) },
  {
    what: 'a link to the same bytes elsewhere',
    apply: async (path, _others, root) => {
      await rename(path, `${root}.aside`);
      await symlink(`${root}.aside`, path);
    },
  },
  { what: 'a directory', apply: replaced((path) => mkdir(path)) },
  {
    what: 'a pipe',
    apply: async (path, _others, root) => {
      await rm(path);
      await link(`${root}.pipe`, path);
    },
  },
  {
    what: 'swapped with another file',
    apply: async (path, others) => {
      const other = others[(others.indexOf(path) + 1) % others.length] as string;
      const [mine, theirs] = [await readFile(path), await readFile(other)];
      await writeFile(path, theirs);
      await writeFile(other, mine);
    },
  },
];

it('every file of a bundle, damaged in every way, is noticed: exit code 5 or 6 and no write to the target', async (t) => {
  const b = await bench(t);
  const { good, journey, store } = b;
  const names = Object.entries(await treeOf(good)).flatMap(([name, kind]) => (kind === 'directory' ? [] : [name]));
  const newest = await journey.verify(good);
  const older = await journey.verify(good, { generation: b.sequences[0] as number, now: 0 });
  const needed = new Set<string>(newest.generation.statement.predicate.blobs.map((blob) => blob.digest.slice(7)));
  assert.ok(older.generation.statement.predicate.blobs.some((blob) => !needed.has(blob.digest.slice(7))));
  const codes = new Map<string, number>();
  const passed: string[] = [];
  const directory = journey.path('bad');
  await cp(good, directory, { recursive: true });
  execFileSync('mkfifo', [`${directory}.pipe`]);
  const restore = async (path: string): Promise<void> => {
    await rm(path, { recursive: true, force: true });
    await cp(good + path.slice(directory.length), path);
  };
  for (const name of names) {
    for (const { what, apply } of DAMAGES) {
      const label = `${name} ${what}`;
      const others = names.filter((n) => dirname(n) === dirname(name)).map((n) => join(directory, n));
      const alone = what.startsWith('swapped') && others.length < 2;
      if (!alone) {
        await apply(join(directory, name), others, directory);
        const loaded = await exitOf(load(b, directory), label);
        // Both begin with the same gate; `verify` looks at the older generations too.
        const verified = loaded.exit === 0 ? await exitOf(verifyAll(b, directory), label) : loaded;
        codes.set(verified.code, (codes.get(verified.code) ?? 0) + 1);
        if (verified.exit === 0) passed.push(label);
        else assert.ok([5, 6].includes(verified.exit), `${label}: verify ended with ${verified.code}`);
        if (loaded.exit === 0) {
          // Only where what was damaged is none of what is loaded: the older generation, or a blob of its own.
          const isOlder =
            name.startsWith(`generations/${b.sequences[0]}/`) || (name.startsWith('blobs/') && !needed.has(name.slice(13)));
          assert.ok(isOlder || verified.exit === 0, `${label}: load went through`);
          await requireRight(b);
        } else {
          assert.ok([5, 6].includes(loaded.exit), `${label}: load ended with ${loaded.code}`);
          assert.deepEqual(store.writes(), [], `${label}: the target was written`);
        }
      }
      for (const path of what.startsWith('swapped') ? others : [join(directory, name)]) await restore(path);
      await rm(`${directory}.aside`, { force: true });
    }
  }
  assert.deepEqual(await treeOf(directory), await treeOf(good));
  // The copy of a signature at the top is for other tools; the one that counts is in its generation. `verify` says that it is missing.
  assert.deepEqual(
    passed.filter((label) => !/^[0-9a-f]{64}\.sigstore\.json deleted$/.test(label)),
    [],
  );
  t.diagnostic(
    `${names.length} files x ${DAMAGES.length} kinds of damage; verify said ${[...codes].map(([c, n]) => `${c} ${n}`).join(', ')}`,
  );
});

it('every single bit of the signature file matters, the key hint that nobody signs included', async (t) => {
  const b = await bench(t);
  const directory = b.journey.path('bad');
  await cp(b.good, directory, { recursive: true });
  const file = `${directory}/generations/${b.sequences.at(-1)}/${b.journey.key.publicKey.keyid}.sigstore.json`;
  const whole = await readFile(file);
  const at = whole.indexOf(b.journey.key.publicKey.hint);
  assert.ok(at > 0);
  for (let i = at; i < at + b.journey.key.publicKey.hint.length; i++) {
    const bytes = Buffer.from(whole);
    bytes[i] = (bytes[i] as number) ^ 1;
    await writeFile(file, bytes);
    const { code } = await exitOf(() => b.journey.verify(directory), `byte ${i}`);
    assert.ok(['E_SIGNATURE', 'E_DIGEST'].includes(code), `byte ${i} of the hint: ${code}`);
  }
  // The same with the copy at the top changed alike, so that it is the signature that is looked at.
  for (const name of [file, join(directory, file.slice(file.lastIndexOf('/') + 1))]) {
    await writeFile(
      name,
      Buffer.from(whole.toString().replace(b.journey.key.publicKey.hint, Buffer.alloc(32, 7).toString('base64'))),
    );
  }
  await rejectsWith(b.journey.verify(directory), 'E_SIGNATURE', /names another key/);
});

type Plant = (directory: string, b: Bench) => Promise<unknown>;
const newestFolder = (directory: string, b: Bench): string => `${directory}/generations/${b.sequences.at(-1)}`;
const linkAway = (name: (b: Bench) => string) => async (directory: string, b: Bench) => {
  await rename(join(directory, name(b)), `${directory}.aside`);
  await symlink(`${directory}.aside`, join(directory, name(b)));
};
const moved = (from: (b: Bench) => string, to: (b: Bench) => string) => (directory: string, b: Bench) =>
  rename(join(directory, from(b)), join(directory, to(b)));
const blobName = async (b: Bench): Promise<string> =>
  `blobs/sha256/${(await b.journey.verify(b.good)).generation.statement.predicate.contents[0]?.targetDigest.slice(7)}`;

const PLANTS: Readonly<Record<string, { plant: Plant; code: string }>> = {
  'blobs is a link': { plant: linkAway(() => 'blobs'), code: 'E_NOT_REGULAR' },
  'blobs/sha256 is a link': { plant: linkAway(() => 'blobs/sha256'), code: 'E_NOT_REGULAR' },
  'generations is a link': { plant: linkAway(() => 'generations'), code: 'E_NOT_REGULAR' },
  'a generation is a link': { plant: linkAway((b) => `generations/${b.sequences.at(-1)}`), code: 'E_NOT_REGULAR' },
  'generations is a file': {
    plant: async (directory) => {
      await rm(`${directory}/generations`, { recursive: true });
      await writeFile(`${directory}/generations`, '');
    },
    code: 'E_NOT_REGULAR',
  },
  'an empty folder with a higher number': {
    plant: (directory) => mkdir(`${directory}/generations/9999999999`),
    code: 'E_MISSING',
  },
  'the newest generation again under a higher number': {
    plant: (directory, b) => cp(newestFolder(directory, b), `${directory}/generations/9999999999`, { recursive: true }),
    code: 'E_STATEMENT',
  },
  'the older generation in the place of the newer': {
    plant: async (directory, b) => {
      await rm(newestFolder(directory, b), { recursive: true });
      await cp(`${directory}/generations/${b.sequences[0]}`, newestFolder(directory, b), { recursive: true });
    },
    code: 'E_STATEMENT',
  },
  'a blob in capitals': {
    plant: async (directory, b) => {
      const name = await blobName(b);
      await rename(join(directory, name), join(directory, 'blobs/sha256', name.slice(13).toUpperCase()));
    },
    code: 'E_MISSING',
  },
  'the statement in capitals': {
    plant: moved(
      (b) => `generations/${b.sequences.at(-1)}/bundle.json`,
      (b) => `generations/${b.sequences.at(-1)}/BUNDLE.JSON`,
    ),
    code: 'E_MISSING',
  },
  'the signature file in capitals': {
    plant: (directory, b) => {
      const { keyid } = b.journey.key.publicKey;
      return rename(
        join(newestFolder(directory, b), `${keyid}.sigstore.json`),
        join(newestFolder(directory, b), `${keyid.toUpperCase()}.sigstore.json`),
      );
    },
    code: 'E_UNSIGNED',
  },
  'the signature under the name of nobody': {
    plant: (directory, b) =>
      rename(
        join(newestFolder(directory, b), `${b.journey.key.publicKey.keyid}.sigstore.json`),
        join(newestFolder(directory, b), `${'0'.repeat(64)}.sigstore.json`),
      ),
    code: 'E_SIGNATURE',
  },
  'a root more in index.json': {
    plant: async (directory, b) => {
      for (const name of [join(newestFolder(directory, b), 'index.json'), join(directory, 'index.json')]) {
        const index = JSON.parse(await readFile(name, 'utf8'));
        index.manifests.push({ ...index.manifests[0], annotations: { 'org.opencontainers.image.ref.name': 'evil' } });
        await writeFile(name, JSON.stringify(index));
      }
    },
    code: 'E_DIGEST',
  },
  'a root more in the index.json at the top alone': {
    plant: async (directory) => {
      const index = JSON.parse(await readFile(join(directory, 'index.json'), 'utf8'));
      index.manifests.push(index.manifests[0]);
      await writeFile(join(directory, 'index.json'), JSON.stringify(index));
    },
    code: 'E_DIGEST',
  },
  'a signature at the top that no generation has': {
    plant: (directory) => writeFile(join(directory, `${'1'.repeat(64)}.sigstore.json`), '{}'),
    code: 'E_DIGEST',
  },
  'sixty-five signature files': {
    plant: async (directory, b) => {
      for (let i = 0; i < 65; i++)
        await writeFile(join(newestFolder(directory, b), `${i.toString(16).padStart(64, '0')}.sigstore.json`), '{}');
    },
    code: 'E_LIMIT',
  },
  'a statement of a terabyte, sparse': {
    plant: (directory, b) => truncate(join(newestFolder(directory, b), 'bundle.json'), 1024 ** 4),
    code: 'E_LIMIT',
  },
  'a blob of a terabyte, sparse': {
    plant: async (directory, b) => truncate(join(directory, await blobName(b)), 1024 ** 4),
    code: 'E_SIZE',
  },
};

it('whatever is planted, moved or renamed among the files is refused before anything is written', async (t) => {
  const b = await bench(t);
  for (const [what, { plant, code }] of Object.entries(PLANTS)) {
    const directory = b.journey.path('bad');
    await cp(b.good, directory, { recursive: true });
    await plant(directory, b);
    const started = performance.now();
    const loaded = await exitOf(load(b, directory), what);
    assert.equal(loaded.code, code, what);
    assert.ok([5, 6].includes(loaded.exit), what);
    assert.deepEqual(b.store.writes(), [], what);
    assert.ok(performance.now() - started < 5000, `${what}: took too long`);
    await rm(directory, { recursive: true, force: true });
    await rm(`${directory}.aside`, { recursive: true, force: true });
  }
  t.diagnostic(`${Object.keys(PLANTS).length} plants`);
});

it('leftovers that nothing lists are named and never pushed', async (t) => {
  const b = await bench(t);
  const directory = b.journey.path('odd');
  await cp(b.good, directory, { recursive: true });
  const stray = 'f'.repeat(64);
  await writeFile(`${directory}/blobs/sha256/${stray}`, 'stray');
  await writeFile(`${directory}/blobs/sha256/not-a-digest`, 'stray');
  await mkdir(`${directory}/generations/.tmp-5`);
  await mkdir(`${directory}/generations/0009`);
  await mkdir(`${directory}/generations/7`);
  await writeFile(`${directory}/README`, 'hello');
  const verified = await b.journey.verify(directory);
  assert.ok(verified.unlisted.includes(`sha256:${stray}`) && verified.unlisted.includes('sha256:not-a-digest'));
  await load(b, directory)();
  await requireRight(b);
  assert.ok(!b.store.requests.some((r) => r.url.includes(stray) || r.url.includes('not-a-digest')));
  // `verify` looks at the other generations as well, and refuses one that is none.
  await rejectsWith(b.journey.verify(directory, { generation: 7, now: 0 }), 'E_MISSING');
});

it('parts of two bundles that were both signed do not mix', async (t) => {
  const b = await bench(t);
  const [first, second] = [b.journey.path('first'), b.journey.path('second')];
  await b.journey.pull(first, 0);
  await b.journey.pull(second, 1);
  const folders = [first, second].map((root, i) => `${root}/generations/${b.sequences[i]}`) as [string, string];
  const signature = `${b.journey.key.publicKey.keyid}.sigstore.json`;
  const mixes: Record<string, string[]> = {
    E_SIGNATURE: ['bundle.json', signature],
    E_DIGEST: ['index.json', 'lock.json'],
    E_STATEMENT: [`bundle.json ${signature} index.json lock.json`],
  };
  for (const [code, lists] of Object.entries(mixes)) {
    for (const list of lists) {
      const directory = b.journey.path('mixed');
      await cp(first, directory, { recursive: true });
      for (const name of list.split(' ')) await cp(`${folders[1]}/${name}`, `${directory}/generations/${b.sequences[0]}/${name}`);
      const { code: got } = await exitOf(load(b, directory), list);
      // A lock file has a size of its own.
      assert.ok(got === code || (list === 'lock.json' && got === 'E_SIZE'), `${list}: ${got}`);
      assert.deepEqual(b.store.writes(), []);
    }
  }
  // The newer generation without the blobs that only it has.
  await cp(folders[1], `${first}/generations/${b.sequences[1]}`, { recursive: true });
  const { code } = await exitOf(load(b, first), 'generation without blobs');
  assert.equal(code, 'E_MISSING');
  assert.deepEqual(b.store.writes(), []);
});

it('a pull does not write through a folder that is a link', async (t) => {
  const b = await bench(t);
  for (const name of ['blobs', 'blobs/sha256', 'generations', '.ingest']) {
    const [directory, elsewhere] = [b.journey.path('planted'), b.journey.path('elsewhere')];
    await mkdir(join(directory, dirname(name)), { recursive: true });
    await mkdir(elsewhere);
    await writeFile(`${elsewhere}/precious`, 'x');
    await symlink(elsewhere, join(directory, name));
    await rejectsWith(b.journey.pull(directory), 'E_NOT_REGULAR', new RegExp(name));
    assert.deepEqual(Object.keys(await treeOf(elsewhere)), ['precious']);
  }
});

it('a file at the top that is a link is replaced, not written through', async (t) => {
  const b = await bench(t);
  const directory = b.journey.path('planted');
  const victim = b.journey.path('victim');
  await mkdir(directory);
  await writeFile(victim, 'precious');
  for (const name of ['index.json', 'bundle.json', 'oci-layout', `${b.journey.key.publicKey.keyid}.sigstore.json`])
    await symlink(victim, join(directory, name));
  await b.journey.pull(directory, 0);
  assert.equal(await readFile(victim, 'utf8'), 'precious');
  await b.journey.verify(directory);
});
