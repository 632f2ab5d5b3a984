import { type Descriptor, parseDescriptor } from '../core/descriptor.ts';
import { type Digest, isDigest } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { byteOrder, isObject, parseStrictJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { isIndexType, MEDIA_TYPE, withoutParameters } from '../core/media-types.ts';
import { parseOciManifest } from '../core/oci-manifest.ts';
import { isTag } from '../core/reference.ts';
import { readAll } from '../core/verified.ts';
import { apiUrl, type Endpoint } from './endpoint.ts';
import { getManifest, pullScope } from './manifests.ts';
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

export type Referrers = Readonly<{ api: boolean; descriptors: readonly Descriptor[] }>;

/**
 * Referrers of a digest by the API, or by the fallback tag `<alg>-<hex>` where there is none (404 and the other forms of "no API").
 * 429 and 5xx are errors and never "none" (retagger #1237). A tag that resolves to the subject itself is not its referrer (GitLab).
 */
export async function listReferrers(
  send: Sender,
  endpoint: Endpoint,
  repository: string,
  digest: Digest,
  signal?: AbortSignal,
): Promise<Referrers> {
  const found = new Map<Digest, Descriptor>();
  const add = (list: readonly Descriptor[]): void => {
    for (const d of list) found.set(d.digest, d);
    if (found.size > LIMITS.referrers)
      throw new BundleError(
        'E_TOO_MANY_PAGES',
        `${endpoint.origin}/${repository}@${digest} has more than ${LIMITS.referrers} referrers`,
      );
  };
  let first = true;
  for await (const page of pages(send, endpoint, repository, apiUrl(endpoint, repository, `referrers/${digest}`), signal)) {
    const isIndex = page.status === 200 && withoutParameters(page.header('content-type') ?? '') === MEDIA_TYPE.ociIndex;
    if (first && !isIndex && [200, 400, 404, 405, 406, 501].includes(page.status)) {
      await page.discard();
      return { api: false, descriptors: await byFallbackTag(send, endpoint, repository, digest, signal) };
    }
    if (!isIndex) throw faultError(await readFault(page), `referrers of ${endpoint.origin}/${repository}@${digest}`);
    first = false;
    const json = parseStrictJson(await readAll(page.body, LIMITS.pageBytes, 'referrers'), 'referrers', 'E_REGISTRY');
    add(
      (Array.isArray(json.manifests) ? json.manifests : [])
        .filter(isObject)
        .map((d, i) => parseDescriptor(d, `referrer ${i}`, 'E_REGISTRY')),
    );
  }
  return { api: true, descriptors: [...found.values()] };
}

export const fallbackTag = (digest: Digest): string => digest.replace(':', '-').slice(0, LIMITS.tagChars);

async function byFallbackTag(
  send: Sender,
  endpoint: Endpoint,
  repository: string,
  digest: Digest,
  signal?: AbortSignal,
): Promise<readonly Descriptor[]> {
  try {
    const tagged = await getManifest(send, endpoint, repository, fallbackTag(digest), signal);
    if (tagged.digest === digest || !isIndexType(tagged.mediaType)) return [];
    const index = parseOciManifest(tagged.bytes, tagged.mediaType, fallbackTag(digest));
    return index.kind === 'index' ? index.manifests.filter((d) => isDigest(d.digest)).slice(0, LIMITS.referrers) : [];
  } catch (error) {
    if (isBundleError(error) && (error.code === 'E_NOT_FOUND' || error.code === 'E_OCI_MANIFEST')) return [];
    throw error;
  }
}
