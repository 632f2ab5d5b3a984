import type { Descriptor } from '../core/descriptor.ts';
import { LIMITS } from '../core/limits.ts';
import { MEDIA_TYPE } from '../core/media-types.ts';
import { type Answer, jsonAnswer } from './answer.ts';
import type { Exchange, Service } from './exchange.ts';
import { allReferrers } from './fallback-tag.ts';
import { Refusal } from './refusal.ts';
import { digestIn } from './route.ts';

/** RFC 8288; the query is ours, so the client follows it as it is. */
const nextLink = (path: string, query: Record<string, string>): Record<string, string> => ({
  Link: `<${path}?${new URLSearchParams(query)}>; rel="next"`,
});

function pageSize(text: string | null): number | undefined {
  if (text === null) return undefined;
  if (/^\d+$/.test(text)) return Number(text); // however many digits: more than there are is all of them
  throw new Refusal(400, 'UNSUPPORTED', 'n is not a number of entries');
}

/** What `n` and `last` leave of a list in byte order, and the Link to what comes after. @throws Refusal 400 */
function pageOf(names: readonly string[], query: URLSearchParams, path: string) {
  const n = pageSize(query.get('n'));
  const last = query.get('last') ?? '';
  const rest = last === '' ? names : names.filter((name) => name > last);
  const page = rest.slice(0, n);
  const more = page.length > 0 && page.length < rest.length;
  return { page, headers: more ? nextLink(path, { n: String(n), last: page.at(-1) as string }) : {} };
}

/** `GET /v2/_catalog`, as in CNCF distribution: the repositories that this client may pull from. @throws Refusal 400 */
export async function listRepositories({ content }: Service, { query, grant }: Exchange): Promise<Answer> {
  const mayPull = (await content.repositories()).filter((repository) => grant.may(repository, 'pull'));
  const { page, headers } = pageOf(mayPull, query, '/v2/_catalog');
  return jsonAnswer({ repositories: page }, headers);
}

/** distribution-spec "Listing Tags". Without `n` all in one answer: not every client follows Link. @throws Refusal 400, 404 */
export async function listTags(service: Service, exchange: Exchange, repository: string): Promise<Answer> {
  const all = await service.content.tags(repository);
  if (all === undefined) throw new Refusal(404, 'NAME_UNKNOWN', 'there is no such repository', { detail: { name: repository } });
  const { page, headers } = pageOf(all, exchange.query, `/v2/${repository}/tags/list`);
  return jsonAnswer({ name: repository, tags: page }, headers);
}

/** Clients read an index of at most 4 MiB; room for the frame. */
const REFERRERS_BYTES = LIMITS.ociManifestBytes - 1024;

/** As many as fit into one index, and at least one. */
function firstPage(descriptors: readonly Descriptor[]): readonly Descriptor[] {
  let bytes = 0;
  const end = descriptors.findIndex((descriptor) => {
    bytes += Buffer.byteLength(JSON.stringify(descriptor)) + 1;
    return bytes > REFERRERS_BYTES;
  });
  return end === -1 ? descriptors : descriptors.slice(0, Math.max(1, end));
}

/** distribution-spec "Listing Referrers": an unknown repository or subject has none, which is not an error. @throws Refusal 400 */
export async function listReferrers(
  service: Service,
  exchange: Exchange,
  route: Readonly<{ repository: string; digest: string }>,
): Promise<Answer> {
  const digest = digestIn(route.digest);
  const type = exchange.query.get('artifactType') ?? '';
  const last = exchange.query.get('last') ?? '';
  const all = await allReferrers(service.content, route.repository, digest);
  const rest = all.filter((entry) => (type === '' || entry.artifactType === type) && entry.digest > last);
  const manifests = firstPage(rest);
  const filter = type === '' ? {} : { artifactType: type };
  const headers = {
    ...(type === '' ? {} : { 'OCI-Filters-Applied': 'artifactType' }),
    ...(manifests.length < rest.length
      ? nextLink(`/v2/${route.repository}/referrers/${digest}`, { ...filter, last: manifests.at(-1)?.digest ?? '' })
      : {}),
  };
  return jsonAnswer({ schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests }, headers, MEDIA_TYPE.ociIndex);
}
