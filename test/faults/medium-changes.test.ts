/** The medium changes between the check and the push: no wrong byte becomes visible at the target (containerd CVE-2025-47290's family). */
import assert from 'node:assert/strict';
import { cp, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { it, type TestContext } from 'node:test';
import type { VerifiedBundle } from '../../src/bundle/verify.ts';
import type { Digest } from '../../src/core/digest.ts';
import { exitCodeOf, isBundleError } from '../../src/core/errors.ts';
import type { FileSystem } from '../../src/files/file-system.ts';
import { parseTarget, placesAt } from '../../src/load/target.ts';
import { startFaultRegistry } from '../support/fault-registry.ts';
import {
  disk,
  type Journey,
  loadInto,
  putImage,
  requireComplete,
  type Store,
  startJourney,
  startStore,
} from '../support/journey.ts';
import { digestOfBytes, randomImage } from '../support/random-image.ts';

/** Whatever the target answers to a blob's digest has that digest; whatever a tag means is complete. */
async function checkVisible(store: Store, bundle: VerifiedBundle, what: string): Promise<number> {
  let tags = 0;
  for (const { content, target } of bundle.contents) {
    for (const { repository, tag } of placesAt(parseTarget(store.host), content.ref, content.aliases ?? [])) {
      for (const { digest } of target.blobs) {
        const chunks: Buffer[] = [];
        const blob = await store.content.blob(repository, digest as Digest);
        if (blob === undefined) continue;
        for await (const chunk of blob.open()) chunks.push(Buffer.from(chunk));
        assert.equal(digestOfBytes(Buffer.concat(chunks)), digest, `${what}: a wrong blob is at the target`);
      }
      if ((await store.content.manifest(repository, tag as string)) === undefined) continue;
      await requireComplete(store.content, `${repository}:${tag}`);
      tags++;
    }
  }
  return tags;
}

type Change = (path: string, other: string) => Promise<unknown>;
const CHANGES: Readonly<Record<string, Change>> = {
  'a bit flipped': async (path) => {
    const bytes = await readFile(path);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
    await writeFile(path, bytes);
  },
  'cut short': async (path) => truncate(path, (await readFile(path)).length - 1),
  'made longer': async (path) => writeFile(path, 'x', { flag: 'a' }),
  emptied: (path) => truncate(path, 0),
  gone: (path) => rm(path),
  'another blob in its place': (path, other) => cp(other, path),
  'a link to the right bytes': async (path) => {
    await rename(path, `${path}.aside`);
    await symlink(`${path}.aside`, path);
  },
};

async function bench(t: TestContext): Promise<{ journey: Journey; store: Store; good: string }> {
  const journey = await startJourney(t);
  const store = await startStore(t);
  const good = journey.path('good');
  await journey.pull(good, 0);
  return { journey, store, good };
}

it('any blob changed in any way after verify: the load ends with 5 or 9, or needed that file no more and is right', async (t) => {
  const { journey, store, good } = await bench(t);
  const { predicate } = (await journey.verify(good)).generation.statement;
  const manifests = new Set(
    (await journey.verify(good)).contents.flatMap((c) => c.target.manifests.map((m) => m.descriptor.digest)),
  );
  const codes = new Map<string, number>();
  for (const { digest } of predicate.blobs) {
    for (const [how, change] of Object.entries(CHANGES)) {
      const what = `${digest.slice(0, 14)} ${how}`;
      const directory = journey.path('stick');
      await cp(good, directory, { recursive: true });
      store.reset();
      const bundle = await journey.verify(directory);
      const other = predicate.blobs.find((b) => b.digest !== digest)?.digest.slice(7);
      await change(`${directory}/blobs/sha256/${digest.slice(7)}`, `${directory}/blobs/sha256/${other}`);
      const error = await loadInto(store, bundle, journey.path('state')).then(
        () => undefined,
        (e: unknown) => e,
      );
      const tags = await checkVisible(store, bundle, what);
      if (error === undefined) {
        // Manifests are kept from the check on; their files are not read again. The index that was carried along is one of them.
        assert.ok(
          manifests.has(digest) || !bundle.contents.some((c) => c.target.blobs.some((b) => b.digest === digest)),
          `${what}: it was loaded`,
        );
        assert.equal(tags, 3, what);
      } else {
        assert.ok(isBundleError(error), `${what}: ${error instanceof Error ? error.stack : String(error)}`);
        assert.ok([5, 9].includes(exitCodeOf(error.code)), `${what}: ended with ${error.code}: ${error.message}`);
        assert.equal(tags, 0, `${what}: a tag moved`);
      }
      const code = isBundleError(error) ? error.code : 'loaded right';
      codes.set(code, (codes.get(code) ?? 0) + 1);
      await rm(directory, { recursive: true });
    }
  }
  t.diagnostic([...codes].map(([code, n]) => `${code} ${n}`).join(', '));
});

it('every file beside the blobs may go after verify: what was checked is what is pushed', async (t) => {
  const { journey, store, good } = await bench(t);
  const bundle = await journey.verify(good);
  for (const name of ['generations', 'index.json', 'bundle.json', 'oci-layout']) await rm(`${good}/${name}`, { recursive: true });
  await loadInto(store, bundle, journey.path('state'));
  assert.equal(await checkVisible(store, bundle, 'files gone'), 3);
});

/** A layer of several reads, on a medium that changes the rest of it once the first read has been handed out. */
async function largeBundle(t: TestContext, seed: number, when: 'whole' | 'parts') {
  const { journey, store } = await bench(t);
  const image = await randomImage({ seed, files: 1, bytes: 6_000_000, layers: 1, compression: 'none' });
  await putImage(journey.origin.content, 'team/app', '1.0', image);
  const { makeLock } = await import('../../src/lock/lock.ts');
  const { createConfigReader, createManifestReader } = await import('../../src/lock/resolve.ts');
  const { client, manifest } = journey;
  const ports = { client, readManifest: createManifestReader(client), readConfig: createConfigReader(client), now: Date.now };
  const { lock } = await makeLock({ manifest, previous: undefined, update: 'all' }, ports);
  const directory = journey.path('large');
  await journey.pull(directory, 0, disk, { lock });
  const layer = image.layers[0]?.blob as { digest: Digest; size: number };
  const path = `${directory}/blobs/sha256/${layer.digest.slice(7)}`;
  const changed = await readFile(path);
  changed[changed.length - 10] = (changed[changed.length - 10] as number) ^ 1;
  let armed = false;
  // The whole is tried before the parts.
  let beginnings = when === 'whole' ? 1 : 2;
  const fs: FileSystem = {
    ...disk,
    async openRead(name) {
      const handle = await disk.openRead(name);
      if (!armed || name !== path) return handle;
      return {
        ...handle,
        async *read(start, end, into) {
          for await (const chunk of handle.read(start, end, into)) {
            if (start === 0 && --beginnings === 0) await writeFile(path, changed);
            yield chunk;
          }
        },
      };
    },
  };
  const bundle = await journey.verify(directory, {}, fs);
  armed = true;
  return { journey, store, bundle, layer };
}

it('a layer that changes while it is pushed never becomes a blob of the target', async (t) => {
  const { journey, store, bundle, layer } = await largeBundle(t, 71, 'whole');
  const error = await loadInto(store, bundle, journey.path('state')).then(
    () => assert.fail('it was loaded'),
    (e: unknown) => e,
  );
  assert.ok(isBundleError(error) && [5, 9].includes(exitCodeOf(error.code)), String(error));
  assert.equal(await checkVisible(store, bundle, 'changing layer'), 0);
  const repository = placesAt(parseTarget(store.host), bundle.contents[0]?.content.ref as string, [])[0]?.repository as string;
  assert.equal(await store.content.blob(repository, layer.digest), undefined);
});

it('neither does it where the registry wants the layer in chunks, which are not hashed one by one', async (t) => {
  const registry = await startFaultRegistry(t, { switches: { putMaxBytes: 1_000_000 } });
  const { journey, bundle, layer } = await largeBundle(t, 72, 'parts');
  const error = await loadInto(registry, bundle, journey.path('state')).then(
    () => assert.fail('it was loaded'),
    (e: unknown) => e,
  );
  assert.ok(registry.seen('upload', 'PATCH').length > 1, 'it was pushed in chunks');
  assert.ok(isBundleError(error), String(error));
  assert.ok([5, 9].includes(exitCodeOf(error.code)), `${error.code}: ${error.message}`);
  for (const { content } of bundle.contents) {
    for (const { repository, tag } of placesAt(parseTarget(registry.host), content.ref, content.aliases ?? [])) {
      assert.ok(!registry.hasBlob(repository, layer.digest), repository);
      if (content.ref.includes('app')) assert.equal(registry.manifestAt(repository, tag as string), undefined);
    }
  }
});
