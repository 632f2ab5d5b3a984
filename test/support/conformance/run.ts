/**
 * The OCI distribution conformance suite as a sequential client of our own: the same requests in the same order, counted the same way. What it
 * demands is in distribution-spec; the suite itself is a Go program that is no part of this project.
 */
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { type Digest, type DigestAlgorithm, digestOf } from '../../../src/core/digest.ts';
import * as blobs from './blobs.ts';
import { type DataSet, dataSets, invalidImage } from './data.ts';
import * as manifests from './manifests.ts';
import { createVerdicts, Unsupported, type Verdict, type Verdicts } from './verdicts.ts';
import { createWire, type Wire, type WireOptions } from './wire.ts';

export type SuiteOptions = WireOptions &
  Readonly<{
    /** `dev` adds the cancelling of uploads, tags by parameter and digest headers that must be there. */
    version: '1.1' | 'dev';
    /** Also pushes manifests that lack blobs or children. */
    sparse?: boolean;
    /** A repository and the one to mount from. */
    repositories?: readonly [string, string];
  }>;

/** Ways to push, in the order in which they are tried. */
const WAYS = { postPut: blobs.postPut, postOnly: blobs.postOnly, stream: blobs.stream, chunked: blobs.chunked } as const;
type Method = keyof typeof WAYS;
const METHODS = Object.keys(WAYS) as Method[];
const RANK: Readonly<Record<Verdict, number>> = { skip: 0, pass: 1, fail: 2 };

export type Run = Readonly<{
  wire: Wire;
  verdicts: Verdicts;
  repository: string;
  from: string;
  dev: boolean;
  /** The worst that each way to push has given so far. */
  known: Map<Method, Verdict>;
}>;

/** A whole run against a registry that can be written to. */
export async function runSuite(options: SuiteOptions): Promise<Verdicts> {
  const { version, sparse = false, repositories = ['conformance/repo1', 'conformance/repo2'] } = options;
  const wire = createWire(options);
  const [repository, from] = repositories;
  const verdicts = createVerdicts();
  const run: Run = { wire, verdicts, repository, from, dev: version === 'dev', known: new Map() };
  try {
    await ping(run);
    await empty(run);
    for (const algorithm of ['sha256', 'sha512'] as const) await blobApis(run, algorithm);
    for (const set of dataSets({ sparse, tagParameters: run.dev })) await dataSet(run, set);
    await missingManifests(run);
    await invalidDigest(run);
  } finally {
    wire.close();
  }
  return verdicts;
}

export const ping = (run: Run): Promise<Verdict> =>
  run.verdicts.check('ping', async () => void (await run.wire.send({ method: 'GET', url: new URL('/v2/', run.wire.base) })));

export async function empty(run: Run): Promise<void> {
  await run.verdicts.check('empty/tag list', () => manifests.expectTags(run, []));
  await run.verdicts.check('empty/referrers', () => manifests.expectNoReferrers(run));
}

/** Counted, and remembered for {@link pushAny}. */
async function pushBy(run: Run, name: string, method: Method, push: () => Promise<void>): Promise<Verdict> {
  const verdict = await run.verdicts.check(name, push);
  const before = run.known.get(method);
  if (before === undefined || RANK[verdict] > RANK[before]) run.known.set(method, verdict);
  return verdict;
}

const pushOf = (run: Run, bytes: Buffer, digest: Digest, repository = run.repository): blobs.Push => ({
  wire: run.wire,
  repository,
  digest,
  bytes,
  digestHeader: run.dev,
});

/** By whichever way works, those first that have worked. */
async function pushAny(run: Run, name: string, push: blobs.Push): Promise<Verdict> {
  const proven = METHODS.filter((method) => run.known.get(method) === 'pass');
  for (const method of [...proven, ...METHODS.filter((other) => !proven.includes(other))]) {
    const verdict = await pushBy(run, `${name}/${method}`, method, () => WAYS[method](push));
    if (verdict === 'pass') return verdict;
  }
  return 'fail';
}

async function headAndGet(run: Run, name: string, known: blobs.Known): Promise<void> {
  for (const method of ['HEAD', 'GET'] as const) {
    await run.verdicts.check(`${name}/${method}`, () => blobs.readBlob(method, known, run.dev));
  }
}

/** A delete counts twice: itself, and that the thing is gone at once. */
async function deleted(run: Run, name: string, remove: () => Promise<void>, gone: () => Promise<void>): Promise<void> {
  if ((await run.verdicts.check(`${name}/delete`, remove)) === 'pass') await run.verdicts.check(`${name}/gone`, gone);
  else run.verdicts.skip(`${name}/gone`, 'not deleted');
}

const deleteBlob = (run: Run, name: string, known: blobs.Known): Promise<void> =>
  deleted(
    run,
    name,
    () => blobs.deleteBlob(known),
    () => blobs.expectNoBlob('HEAD', known),
  );

const deleteReference = (run: Run, name: string, reference: string): Promise<void> =>
  deleted(
    run,
    name,
    () => manifests.deleteManifest(run, reference),
    () => manifests.expectNoManifest('HEAD', run, reference),
  );

async function blobApis(run: Run, algorithm: DigestAlgorithm): Promise<void> {
  const fresh = (size: number): blobs.Push => {
    const bytes = randomBytes(size);
    return pushOf(run, bytes, digestOf(bytes, algorithm));
  };
  const title = `${algorithm} blobs`;
  await run.verdicts.check(`${title}/get missing`, () => blobs.expectNoBlob('GET', fresh(512)));

  const pushed = async (name: string, size: number, push: (blob: blobs.Push) => Promise<Verdict>): Promise<void> => {
    const blob = fresh(size);
    if ((await push(blob)) === 'pass') await headAndGet(run, `${title}/${name}`, blob);
    await deleteBlob(run, `${title}/${name}`, blob);
  };
  const by = (name: string, method: Method, size: number, send: (blob: blobs.Push) => Promise<void>): Promise<void> =>
    pushed(name, size, (blob) => pushBy(run, `${title}/${name}`, method, () => send(blob)));
  await by('post only', 'postOnly', 512, blobs.postOnly);
  await by('post+put', 'postPut', 512, blobs.postPut);
  await by('chunked single', 'chunked', 512, blobs.chunked);
  await by('stream', 'stream', 512, blobs.stream);

  for (const [name, from] of [['mount', run.from] as const, ['mount anonymous', undefined] as const]) {
    const source = { ...fresh(512), repository: run.from };
    await pushAny(run, `${title}/${name}/source`, source);
    const target = { ...source, repository: run.repository };
    const verdict = await run.verdicts.check(`${title}/${name}`, () => blobs.mount(target, from));
    if (verdict === 'pass') await headAndGet(run, `${title}/${name}`, target);
    await deleteBlob(run, `${title}/${name}`, target);
    await deleteBlob(run, `${title}/${name}/source`, source);
  }
  await pushed('mount missing', 512, (blob) =>
    run.verdicts.check(`${title}/mount missing`, () => blobs.mountMissing(blob, run.from)),
  );
  const cancelled = fresh(512);
  if (run.dev) await run.verdicts.check(`${title}/post cancel`, () => blobs.cancel(cancelled));
  await deleteBlob(run, `${title}/post cancel`, cancelled);

  for (const lastInPut of [false, true]) {
    const how = lastInPut ? ' and put chunk' : '';
    await by(`chunked multi${how}`, 'chunked', 3067, (blob) => blobs.chunked(blob, { lastInPut }));
    await by(`chunked out-of-order${how}`, 'chunked', 3067, (blob) => blobs.chunked(blob, { lastInPut, outOfOrder: true }));
  }
  await ranges(run, title, fresh(2048));

  for (const [name, bytes] of [['empty', Buffer.alloc(0)] as const, ['empty JSON', Buffer.from('{}')] as const]) {
    const blob = pushOf(run, bytes, digestOf(bytes, algorithm));
    await pushAny(run, `${title}/${name}`, blob);
    await headAndGet(run, `${title}/${name}`, blob);
    await deleteBlob(run, `${title}/${name}`, blob);
  }

  const spoilt = (): blobs.Push => {
    const blob = fresh(3067);
    return { ...blob, bytes: Buffer.concat([blob.bytes, Buffer.from('oh no')]), refused: true };
  };
  const bad = (name: string, method: Method, send: (blob: blobs.Push) => Promise<void>): Promise<Verdict> =>
    pushBy(run, `${title}/bad digest ${name}`, method, () => send(spoilt()));
  await bad('post only', 'postOnly', blobs.postOnly);
  await bad('post+put', 'postPut', blobs.postPut);
  await bad('chunked', 'chunked', blobs.chunked);
  await bad('chunked and put chunk', 'chunked', (blob) => blobs.chunked(blob, { lastInPut: true }));
  await bad('stream', 'stream', blobs.stream);
}

async function ranges(run: Run, title: string, blob: blobs.Push): Promise<void> {
  const pushed = await pushAny(run, `${title}/ranges`, blob);
  if (pushed !== 'pass') {
    await run.verdicts.check(`${title}/ranges`, async () => assert.fail('nothing there to read'));
    return;
  }
  for (const one of blobs.RANGES) {
    await run.verdicts.check(`${title}/range ${one.range}`, () => blobs.readRange(blob, one));
  }
  await deleteBlob(run, `${title}/ranges`, blob);
}

async function dataSet(run: Run, set: DataSet): Promise<void> {
  const pushed = await pushSet(run, set);
  await run.verdicts.check(`${set.name}/tag list`, () => manifests.expectTags(run, set.tags.keys()));
  for (const method of ['HEAD', 'GET'] as const) await readSet(run, set, method);
  if (set.referrers.size > 0) {
    await run.verdicts.check(`${set.name}/referrers`, async () => {
      for (const [subject, wanted] of set.referrers) await manifests.expectReferrers(run, subject, wanted);
    });
  }
  await deleteSet(run, set, pushed);
}

const manifestIn = (set: DataSet, digest: Digest): manifests.ManifestBytes => {
  const bytes = set.manifests.get(digest);
  if (bytes === undefined) throw new Error(`${set.name} has no ${digest}`);
  return { digest, bytes };
};

/** @returns the tags that are there */
async function pushSet(run: Run, set: DataSet): Promise<Set<string>> {
  const there = new Set<string>();
  for (const [digest, bytes] of set.blobs) await pushAny(run, `${set.name}/push blob`, pushOf(run, bytes, digest));
  for (const digest of set.order) {
    const tags = set.tagParameters ? [...set.tags].filter(([, target]) => target === digest).map(([tag]) => tag) : [];
    await run.verdicts.check(`${set.name}/push manifest`, async () => {
      const push = { reference: digest, manifest: manifestIn(set, digest), tags, refused: set.wrong.has(digest) };
      const taken = await manifests.putManifest(run, push);
      for (const tag of taken) there.add(tag);
      if (taken.length < tags.length) throw new Unsupported('OCI-Tag does not name the tags');
    });
  }
  for (const [tag, digest] of set.tags) {
    if (there.has(tag)) continue;
    const verdict = await run.verdicts.check(`${set.name}/push tag`, async () => {
      await manifests.putManifest(run, { reference: tag, manifest: manifestIn(set, digest) });
    });
    if (verdict === 'pass') there.add(tag);
  }
  return there;
}

async function readSet(run: Run, set: DataSet, method: 'GET' | 'HEAD'): Promise<void> {
  const read = (what: string, reference: string, digest: Digest): Promise<Verdict> =>
    run.verdicts.check(`${set.name}/${method} ${what}`, () =>
      manifests.readManifest(method, run, reference, manifestIn(set, digest), run.dev),
    );
  for (const [tag, digest] of set.tags) await read('tag', tag, digest);
  for (const digest of set.order) if (!set.wrong.has(digest)) await read('manifest', digest, digest);
  for (const [digest, bytes] of set.blobs) {
    await run.verdicts.check(`${set.name}/${method} blob`, () => blobs.readBlob(method, { ...run, digest, bytes }, run.dev));
  }
}

/** Parents before children. */
async function deleteSet(run: Run, set: DataSet, tags: ReadonlySet<string>): Promise<void> {
  for (const tag of tags) await deleteReference(run, `${set.name}/tag`, tag);
  for (const digest of set.order.toReversed()) await deleteReference(run, `${set.name}/manifest`, digest);
  for (const digest of set.blobs.keys()) await deleteBlob(run, `${set.name}/blob`, { ...run, digest });
}

export async function missingManifests(run: Run): Promise<void> {
  await run.verdicts.check('missing-manifest/by digest', () =>
    manifests.expectNoManifest('GET', run, digestOf(randomBytes(1024))),
  );
  await run.verdicts.check('missing-manifest/by tag', () => manifests.expectNoManifest('GET', run, `missing-${randomUUID()}`));
}

const MALFORMED = 'sha256:baddigeststring';

export const getMalformed = (run: Run): Promise<Verdict> =>
  run.verdicts.check('invalid-digest-format/get', () => manifests.expectNoManifest('GET', run, MALFORMED, [404, 400]));

async function invalidDigest(run: Run): Promise<void> {
  const set = invalidImage();
  for (const [digest, bytes] of set.blobs) await pushAny(run, 'invalid-digest-format/push blob', pushOf(run, bytes, digest));
  for (const digest of set.order) {
    await run.verdicts.check('invalid-digest-format/put', async () => {
      await manifests.putManifest(run, { reference: MALFORMED, manifest: manifestIn(set, digest), refused: true });
    });
  }
  await getMalformed(run);
  await deleteSet(run, set, new Set());
}

export type ReadOnlyOptions = WireOptions &
  Readonly<{
    version: '1.1' | 'dev';
    repository: string;
    tags: readonly string[];
    manifests: readonly Digest[];
    blobs: readonly Digest[];
    subjects: readonly Digest[];
    /** Also asks for deletes, which a read-only registry answers 405: skips, but nothing may vanish. */
    deletes: boolean;
  }>;

/** The run against content that is there already and can't be changed. */
export async function runReadOnlySuite(options: ReadOnlyOptions): Promise<Verdicts> {
  const { version, repository, tags, deletes } = options;
  const wire = createWire(options);
  const verdicts = createVerdicts();
  const run: Run = { wire, verdicts, repository, from: repository, dev: version === 'dev', known: new Map() };
  try {
    await ping(run);
    await empty(run);
    await verdicts.check('read-only/tag list', () => manifests.expectTags(run, tags));
    await readNamed(run, options);
    await verdicts.check('read-only/referrers', async () => {
      for (const subject of options.subjects) await manifests.expectIndexOfReferrers(run, subject);
    });
    if (deletes) {
      for (const digest of options.manifests) await deleteReference(run, 'read-only/manifest', digest);
      for (const digest of options.blobs) await deleteBlob(run, 'read-only/blob', { ...run, digest });
    }
    await missingManifests(run);
    await getMalformed(run);
    if (deletes) await deleteSet(run, invalidImage(), new Set());
  } finally {
    wire.close();
  }
  return verdicts;
}

async function readNamed(run: Run, options: ReadOnlyOptions): Promise<void> {
  for (const method of ['HEAD', 'GET'] as const) {
    for (const reference of [...options.tags, ...options.manifests]) {
      await run.verdicts.check(`read-only/${method} manifest`, () =>
        manifests.readManifest(method, run, reference, undefined, run.dev),
      );
    }
    for (const digest of options.blobs) {
      await run.verdicts.check(`read-only/${method} blob`, () => blobs.readBlob(method, { ...run, digest }, run.dev));
    }
  }
}
