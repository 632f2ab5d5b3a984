import type { Descriptor } from '../core/descriptor.ts';
import { LIMITS } from '../core/limits.ts';
import { MEDIA_TYPE } from '../core/media-types.ts';
import { type Answer, jsonAnswer } from './answer.ts';
import type { Exchange, Service } from './exchange.ts';
import { Refusal } from './refusal.ts';
import { digestIn } from './route.ts';

/** RFC 8288; the query is ours, so the client follows it as it is. */
const nextLink = (path: string, query: Record<string, string>): Record<string, string> => ({
  Link: `<${path}?${new URLSearchParams(query)}>; rel="next"`,
});

function pageSize(text: string | null): number | undefined {
  if (text === null) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new Refusal(400, 'UNSUPPORTED', 'n is not a number of tags');
}

/** distribution-spec "Listing Tags". Without `n` all in one answer: not every client follows Link. @throws Refusal 400, 404 */
export async function listTags(service: Service, exchange: Exchange, repository: string): Promise<Answer> {
  const n = pageSize(exchange.query.get('n'));
  const last = exchange.query.get('last') ?? '';
  const all = await service.content.tags(repository);
  if (all === undefined) throw new Refusal(404, 'NAME_UNKNOWN', 'there is no such repository', { detail: { name: repository } });
  const rest = last === '' ? all : all.filter((tag) => tag > last);
  const tags = rest.slice(0, n);
  const more = tags.length > 0 && tags.length < rest.length;
  const link = more ? nextLink(`/v2/${repository}/tags/list`, { n: String(n), last: tags.at(-1) as string }) : {};
  return jsonAnswer({ name: repository, tags }, link);
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
  const all = await service.content.referrers(route.repository, digest);
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
