/** The manifest and discovery requests of a conformance run. Each function throws when the answer is wrong, `Unsupported` as in blobs.ts. */
import { digestOf } from '../../../src/core/digest.ts';
import { MEDIA_TYPE } from '../../../src/core/media-types.ts';
import type { Referrer } from './data.ts';
import { Unsupported } from './verdicts.ts';
import { expectAnswer, expectDigest, type Got, locationOf, type Wire } from './wire.ts';

export type Place = Readonly<{ wire: Wire; repository: string }>;
export type ManifestBytes = Readonly<{ digest: string; bytes: Buffer }>;

/** Two lines, not one with a comma: what a server reads that takes the last of equal headers. */
const ACCEPT = [
  ['Accept', MEDIA_TYPE.ociIndex],
  ['Accept', MEDIA_TYPE.ociManifest],
] as const;
const NOTHING = Buffer.alloc(0);

const manifestUrl = ({ wire, repository }: Place, reference: string): URL =>
  new URL(`/v2/${repository}/manifests/${reference}`, wire.base);

type Inside = Readonly<{ mediaType: string; subject?: Readonly<{ digest: string }> }>;
const insideOf = (bytes: Buffer): Inside => JSON.parse(bytes.toString()) as Inside;

const exactly = (bytes: Buffer): Readonly<Record<string, string>> => ({
  'Content-Type': insideOf(bytes).mediaType,
  'Content-Length': String(bytes.length),
});

export type ManifestPush = Readonly<{
  reference: string;
  manifest: ManifestBytes;
  /** 400 is wanted. */
  refused?: boolean;
  /** Tags by parameter; `OCI-Tag` must name them. */
  tags?: readonly string[];
  /** Whether the referrers API is there, and with it `OCI-Subject`. */
  referrersApi?: boolean;
}>;

/** @returns what `OCI-Tag` names */
export async function putManifest(place: Place, push: ManifestPush): Promise<readonly string[]> {
  const { bytes, digest } = push.manifest;
  const { mediaType, subject } = insideOf(bytes);
  const url = manifestUrl(place, push.reference);
  for (const tag of push.tags ?? []) url.searchParams.append('tag', tag);
  const got = await place.wire.send({ method: 'PUT', url, body: bytes, chunked: true, headers: [['Content-Type', mediaType]] });
  if (push.refused) {
    expectAnswer(got, { status: [400] });
    return [];
  }
  const named = push.referrersApi !== false && subject !== undefined ? { 'OCI-Subject': subject.digest } : {};
  expectAnswer(got, { status: [201], headers: named });
  expectDigest(got, digest, false);
  const located = await place.wire.send({ method: 'GET', url: locationOf(got, url), headers: ACCEPT });
  expectAnswer(located, { status: [200], body: bytes, headers: exactly(bytes) });
  return taken(got, push.tags ?? []);
}

function taken(got: Got, tags: readonly string[]): readonly string[] {
  const named = got.values('oci-tag').flatMap((value) => value.split(',').map((tag) => tag.trim()));
  return tags.filter((tag) => named.includes(tag));
}

/** @param manifest absent where the content is not known */
export async function readManifest(
  method: 'GET' | 'HEAD',
  place: Place,
  reference: string,
  manifest: ManifestBytes | undefined,
  digestHeader: boolean,
): Promise<void> {
  const got = await place.wire.send({ method, url: manifestUrl(place, reference), headers: ACCEPT });
  const body = method === 'HEAD' ? NOTHING : manifest?.bytes;
  expectAnswer(got, {
    status: [200],
    ...(body === undefined ? {} : { body }),
    ...(manifest === undefined ? {} : { headers: exactly(manifest.bytes) }),
  });
  expectDigest(got, manifest?.digest ?? (reference.includes(':') ? reference : ''), digestHeader);
}

export async function expectNoManifest(
  method: 'GET' | 'HEAD',
  place: Place,
  reference: string,
  status: readonly number[] = [404],
): Promise<void> {
  expectAnswer(await place.wire.send({ method, url: manifestUrl(place, reference), headers: ACCEPT }), { status });
}

export async function deleteManifest(place: Place, reference: string): Promise<void> {
  const got = await place.wire.send({ method: 'DELETE', url: manifestUrl(place, reference) });
  expectAnswer(got, { status: [202, 404, 400, 405] });
  if (got.status === 400 || got.status === 405) throw new Unsupported(`deletes are ${got.status}`);
}

async function tagList({ wire, repository }: Place, last?: string): Promise<readonly string[]> {
  const url = new URL(`/v2/${repository}/tags/list`, wire.base);
  if (last !== undefined) url.searchParams.set('last', last);
  const got = await wire.send({ method: 'GET', url });
  expectAnswer(got, { status: [200, 404] });
  return got.status === 404 ? [] : ((JSON.parse(got.body.toString()) as { tags: string[] | null }).tags ?? []);
}

/** All of `tags` in one answer, and `last` from the middle of the list. */
export async function expectTags(place: Place, tags: Iterable<string>): Promise<void> {
  const listed = await tagList(place);
  const missing = [...tags].filter((tag) => !listed.includes(tag));
  if (missing.length > 0) throw new Error(`not listed: ${missing.join(', ')}`);
  if (listed.length < 2) return;
  const sorted = [...listed].sort();
  const middle = Math.floor(sorted.length / 2);
  const rest = await tagList(place, sorted[middle - 1]);
  const wrong = [
    ...sorted.slice(0, middle).filter((tag) => rest.includes(tag)),
    ...sorted.slice(middle).filter((tag) => !rest.includes(tag)),
  ];
  if (wrong.length > 0) throw new Error(`last=${sorted[middle - 1]}: wrong for ${wrong.join(', ')}`);
}

type Listed = Readonly<{ applied: string; manifests: readonly (Partial<Referrer> & { digest: string })[] }>;

async function referrerList({ wire, repository }: Place, subject: string, type?: string): Promise<Listed> {
  const url = new URL(`/v2/${repository}/referrers/${subject}`, wire.base);
  if (type !== undefined) url.searchParams.set('artifactType', type);
  const got = await wire.send({ method: 'GET', url });
  expectAnswer(got, { status: [200], headers: { 'Content-Type': MEDIA_TYPE.ociIndex } });
  const index = JSON.parse(got.body.toString()) as { schemaVersion: number; mediaType: string; manifests: Listed['manifests'] };
  if (index.schemaVersion !== 2 || index.mediaType !== MEDIA_TYPE.ociIndex || !Array.isArray(index.manifests)) {
    throw new Error('the list of referrers is no index');
  }
  return { applied: got.value('oci-filters-applied'), manifests: index.manifests };
}

export async function expectIndexOfReferrers(place: Place, subject: string): Promise<void> {
  await referrerList(place, subject);
}

export async function expectNoReferrers(place: Place): Promise<void> {
  const { manifests } = await referrerList(place, digestOf(Buffer.from(`${Math.random()}`)));
  if (manifests.length > 0) throw new Error('what was never seen has referrers');
}

const isListed = (manifests: Listed['manifests'], wanted: Referrer): boolean =>
  manifests.some(
    (entry) =>
      entry.digest === wanted.digest &&
      entry.mediaType === wanted.mediaType &&
      entry.size === wanted.size &&
      (entry.artifactType ?? '') === wanted.artifactType &&
      Object.entries(wanted.annotations).every(([key, value]) => entry.annotations?.[key] === value),
  );

/** All of `wanted`, whole and by each of their types. */
export async function expectReferrers(place: Place, subject: string, wanted: readonly Referrer[]): Promise<void> {
  const lacking = (manifests: Listed['manifests'], some: readonly Referrer[], what: string): void => {
    const missing = some.filter((referrer) => !isListed(manifests, referrer));
    if (missing.length > 0) throw new Error(`${what} lacks ${missing.map(({ digest }) => digest).join(', ')}`);
  };
  lacking((await referrerList(place, subject)).manifests, wanted, 'the list');
  let filtered = true;
  for (const type of new Set(wanted.map(({ artifactType }) => artifactType))) {
    const { applied, manifests } = await referrerList(place, subject, type);
    if (applied.split(',').some((filter) => filter.trim() === 'artifactType')) {
      lacking(
        manifests,
        wanted.filter(({ artifactType }) => artifactType === type),
        `the list of ${type}`,
      );
      if (manifests.some((entry) => entry.artifactType !== type)) throw new Error(`the list of ${type} has other types`);
    } else {
      lacking(manifests, wanted, `the unfiltered list of ${type}`);
      filtered = false;
    }
  }
  if (!filtered) throw new Unsupported('artifactType is not filtered by');
}
