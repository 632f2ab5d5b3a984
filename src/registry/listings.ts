import { type Descriptor, parseDescriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { fallbackTag } from '../core/fallback-tag.ts';
import { byteOrder, parseStrictJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { isIndexType, MEDIA_TYPE, withoutParameters } from '../core/media-types.ts';
import { parseOciManifest } from '../core/oci-manifest.ts';
import { isTag } from '../core/reference.ts';
import { readAll } from '../core/verified.ts';
import { apiUrl, type Endpoint } from './endpoint.ts';
import { getManifest, headManifest, pullScope } from './manifests.ts';
import { isSameOrigin } from './network-policy.ts';
import { faultError, readFault } from './response-error.ts';
import { parseLocation, type Sender } from './send.ts';
import type { HttpResponse } from './transport.ts';

/** All tags, sorted. `null`, empty and digest-shaped entries (Nexus, Artifactory) are left out. @throws BundleError E_TOO_MANY_PAGES, E_NOT_FOUND, … */
export async function listTags(send: Sender, endpoint: Endpoint, repository: string, signal?: AbortSignal): Promise<string[]> {
  const tags = new Set<string>();
  const first = apiUrl(endpoint, repository, 'tags/list?n=1000'); // ECR refuses more
  for await (const page of pages(send, endpoint, repository, first, signal)) {
    if (page.status !== 200) throw faultError(await readFault(page), `tags of ${endpoint.origin}/${repository}`);
    const json = parseStrictJson(await readAll(page.body, LIMITS.pageBytes, 'tag list'), 'tag list', 'E_REGISTRY');
    const found = Array.isArray(json.tags) ? json.tags : [];
    for (const tag of found) if (typeof tag === 'string' && isTag(tag)) tags.add(tag);
    if (tags.size > LIMITS.tags)
      throw new BundleError('E_TOO_MANY_PAGES', `${endpoint.origin}/${repository} lists more than ${LIMITS.tags} tags`);
  }
  return [...tags].sort(byteOrder);
}

/** Follows `Link: <…>; rel="next"` on the same host only; a page seen twice or too many pages are errors, not an endless walk. */
async function* pages(
  send: Sender,
  endpoint: Endpoint,
  repository: string,
  first: URL,
  signal?: AbortSignal,
): AsyncGenerator<HttpResponse> {
  const seen = new Set<string>();
  for (let url: URL | undefined = first; url !== undefined; ) {
    if (seen.has(url.href) || seen.size >= LIMITS.pages) {
      throw new BundleError(
        'E_TOO_MANY_PAGES',
        `${endpoint.origin}/${repository}: the list has no end (${seen.size} pages so far)`,
      );
    }
    seen.add(url.href);
    const response: HttpResponse = await send({
      method: 'GET',
      endpoint,
      repository,
      scopes: [pullScope(endpoint, repository)],
      url,
      signal,
      wholeBody: LIMITS.pageBytes,
    });
    yield response;
    const next = /<([^>]+)>\s*;\s*(?:[^,]*;\s*)?rel="?next"?/i.exec(response.header('link') ?? '')?.[1];
    if (next === undefined) return;
    const resolved = parseLocation(next, response.url);
    if (!isSameOrigin(resolved, endpoint.base) && !isSameOrigin(resolved, response.url)) {
      throw new BundleError('E_REDIRECT', `${endpoint.origin}: the next page is said to be on ${resolved.host}`);
    }
    url = resolved;
  }
}

export type Referrers = Readonly<{
  /** Whether the registry has the referrers API. What it says of one manifest that is there holds for its whole repository. */
  api: boolean;
  descriptors: readonly Descriptor[];
}>;

/** How registries without the referrers API answer it; 200 with another content type is one more way (go-containerregistry, oras). */
const NO_API: readonly number[] = [400, 404, 405, 406, 501];

/**
 * Referrers of a digest by the API, or by the fallback tag where there is none (404 and the other forms of "no API").
 * 401, 403, 429 and 5xx are errors and never "none" (retagger #1237), and so is an answer that can't be read.
 * @throws BundleError E_AUTH, E_RATE_LIMIT, E_REGISTRY, E_NETWORK, E_DIGEST_INVALID, E_TOO_MANY_PAGES, E_LIMIT
 */
export async function listReferrers(
  send: Sender,
  endpoint: Endpoint,
  repository: string,
  digest: Digest,
  signal?: AbortSignal,
): Promise<Referrers> {
  const found = new Map<Digest, Descriptor>();
  const what = `referrers of ${endpoint.origin}/${repository}@${digest}`;
  let first = true;
  for await (const page of pages(send, endpoint, repository, apiUrl(endpoint, repository, `referrers/${digest}`), signal)) {
    const isIndex = page.status === 200 && withoutParameters(page.header('content-type') ?? '') === MEDIA_TYPE.ociIndex;
    if (first && !isIndex && (page.status === 200 || NO_API.includes(page.status))) {
      await page.discard();
      return { api: false, descriptors: await listTaggedReferrers(send, endpoint, repository, digest, signal) };
    }
    if (!isIndex) throw faultError(await readFault(page), what);
    first = false;
    for (const d of referrersOn(await readAll(page.body, LIMITS.pageBytes, what), what)) found.set(d.digest, d);
    if (found.size > LIMITS.referrers) throw tooMany(what);
  }
  return { api: true, descriptors: [...found.values()] };
}

const tooMany = (what: string): BundleError => new BundleError('E_TOO_MANY_PAGES', `${what}: more than ${LIMITS.referrers}`);

/** One page. An empty list is written as `null` by some (a nil slice of Go); no list at all is not an answer. */
function referrersOn(bytes: Uint8Array, what: string): Descriptor[] {
  const { manifests } = parseStrictJson(bytes, what, 'E_REGISTRY');
  if (manifests === null) return [];
  if (!Array.isArray(manifests)) throw new BundleError('E_REGISTRY', `${what}: the answer has no list "manifests"`);
  return manifests.map((d, i) => parseDescriptor(d, `${what}: entry ${i}`, 'E_REGISTRY'));
}

/**
 * What a registry without the referrers API has under the fallback tag. No such tag, or one on something that is no index, means none: `cosign copy`
 * tags the image itself so, and GitLab reads the tag as the digest. An index that can't be read is an error.
 * @throws as {@link listReferrers}, and E_OCI_MANIFEST
 */
export async function listTaggedReferrers(
  send: Sender,
  endpoint: Endpoint,
  repository: string,
  subject: Digest,
  signal?: AbortSignal,
): Promise<readonly Descriptor[]> {
  const tag = fallbackTag(subject);
  const found = await lookUp(send, endpoint, repository, tag, signal).catch((error: unknown) => {
    if (isBundleError(error) && error.code === 'E_SCHEMA1') return undefined; // an image
    throw error;
  });
  if (found === undefined || found.digest === subject || !isIndexType(found.mediaType)) return [];
  const tagged = await getManifest(send, endpoint, repository, tag, signal);
  const what = `${endpoint.origin}/${repository}:${tag}`;
  const index = parseOciManifest(tagged.bytes, tagged.mediaType, what);
  if (index.kind !== 'index' || tagged.digest === subject) return [];
  if (index.manifests.length > LIMITS.referrers) throw tooMany(what);
  return index.manifests;
}

/**
 * What a tag means now, or whether a digest is there; undefined where the registry says that there is none. By HEAD, which Docker Hub does not count as a pull; by GET where
 * HEAD says too little or is refused (some registries answer HEAD worse than GET).
 * @throws BundleError E_AUTH, E_RATE_LIMIT, E_REGISTRY, E_NETWORK, E_SCHEMA1, E_OCI_MANIFEST
 */
export async function lookUp(
  send: Sender,
  endpoint: Endpoint,
  repository: string,
  reference: string,
  signal?: AbortSignal,
): Promise<Readonly<{ digest: Digest; mediaType: string }> | undefined> {
  try {
    const head = await headManifest(send, endpoint, repository, reference, signal).catch((error: unknown) => {
      if (isBundleError(error) && error.code === 'E_AUTH') return undefined;
      throw error;
    });
    return head ?? (await getManifest(send, endpoint, repository, reference, signal));
  } catch (error) {
    if (isBundleError(error) && error.code === 'E_NOT_FOUND') return undefined;
    throw error;
  }
}
