import { algorithmOf, type Digest, digestOf, isDigest } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { isManifestType, isSchema1Type, MANIFEST_ACCEPT, withoutParameters } from '../core/media-types.ts';
import { readAll } from '../core/verified.ts';
import { apiUrl, type Endpoint } from './endpoint.ts';
import { faultError, readFault } from './response-error.ts';
import type { ApiRequest, Sender } from './send.ts';
import type { HttpResponse } from './transport.ts';

/** An OCI manifest as received, byte for byte, hashed by us. */
export type FetchedManifest = Readonly<{ mediaType: string; digest: Digest; bytes: Buffer }>;
export type ManifestHead = Readonly<{ mediaType: string; digest: Digest; size: number }>;

export const pullScope = (endpoint: Endpoint, repository: string): string => `repository:${endpoint.prefix}${repository}:pull`;
export const pushScope = (endpoint: Endpoint, repository: string): string =>
  `repository:${endpoint.prefix}${repository}:pull,push`;

const nameOf = (endpoint: Endpoint, repository: string, reference: string): string =>
  `${endpoint.origin}/${repository}${isDigest(reference) ? '@' : ':'}${reference}`;

function manifestRequest(
  endpoint: Endpoint,
  repository: string,
  reference: string,
  method: 'GET' | 'HEAD',
  signal?: AbortSignal,
): ApiRequest {
  return {
    method,
    endpoint,
    repository,
    scopes: [pullScope(endpoint, repository)],
    url: apiUrl(endpoint, repository, `manifests/${reference}`),
    headers: { accept: MANIFEST_ACCEPT },
    signal,
  };
}

/**
 * Resolves by HEAD, which Docker Hub does not count as a pull. undefined when the answer can't be relied on (no digest header, other type,
 * HEAD not allowed): then the caller GETs. Content-Length is only a hint here.
 * @throws BundleError E_NOT_FOUND, E_AUTH, E_RATE_LIMIT, E_REGISTRY, E_NETWORK
 */
export async function headManifest(
  send: Sender,
  endpoint: Endpoint,
  repository: string,
  reference: string,
  signal?: AbortSignal,
): Promise<ManifestHead | undefined> {
  const response = await send(manifestRequest(endpoint, repository, reference, 'HEAD', signal));
  await response.discard();
  const what = nameOf(endpoint, repository, reference);
  if (response.status === 404 || response.status === 401 || response.status === 403 || response.status === 429)
    throw faultError({ status: response.status, codes: [], message: '' }, what);
  const digest = response.header('docker-content-digest');
  const mediaType = withoutParameters(response.header('content-type') ?? '');
  const size = Number(response.header('content-length'));
  if (response.status !== 200 || !isDigest(digest) || !isManifestType(mediaType) || !(size > 0)) return undefined;
  if (isDigest(reference) && reference !== digest) throw lying(what, reference, digest);
  return { digest, mediaType, size };
}

/**
 * Fetches a manifest and hashes what came; a digest asked for must be the digest of the bytes, whatever the headers say.
 * @throws BundleError E_DIGEST, E_LIMIT, E_SCHEMA1, E_OCI_MANIFEST, and those of {@link headManifest}
 */
export async function getManifest(
  send: Sender,
  endpoint: Endpoint,
  repository: string,
  reference: string,
  signal?: AbortSignal,
): Promise<FetchedManifest> {
  const what = nameOf(endpoint, repository, reference);
  const response = await send({
    ...manifestRequest(endpoint, repository, reference, 'GET', signal),
    wholeBody: LIMITS.ociManifestBytes,
  });
  if (response.status !== 200) throw faultError(await readFault(response), what);
  const mediaType = withoutParameters(response.header('content-type') ?? '');
  await requireIdentity(response, what);
  const bytes = await readAll(response.body, LIMITS.ociManifestBytes, what);
  const claimed = response.header('docker-content-digest');
  const digest = digestOf(
    bytes,
    isDigest(reference) ? algorithmOf(reference) : isDigest(claimed) ? algorithmOf(claimed) : 'sha256',
  );
  if (isDigest(reference) && digest !== reference) throw lying(what, reference, digest);
  if (!isDigest(reference) && claimed !== undefined && claimed !== digest) throw lying(what, claimed, digest);
  if (isSchema1Type(mediaType)) {
    throw new BundleError('E_SCHEMA1', `${what} is a Docker image of schema 1, which Docker withdrew in 2020`, {
      hint: 'push it again with a current tool (skopeo copy, docker push), which makes schema 2 of it',
    });
  }
  return { mediaType: isManifestType(mediaType) ? mediaType : typeInside(bytes, mediaType, what), digest, bytes };
}

/** Some proxies answer application/octet-stream or nothing: then the type written inside decides, as it is part of what was hashed. */
function typeInside(bytes: Buffer, outside: string, what: string): string {
  let inside: unknown;
  try {
    inside = (JSON.parse(bytes.toString('utf8')) as { mediaType?: unknown }).mediaType;
  } catch {
    inside = undefined;
  }
  const generic =
    outside === '' || outside === 'application/octet-stream' || outside === 'application/json' || outside === 'text/plain';
  if (generic && typeof inside === 'string' && isManifestType(inside)) return inside;
  throw new BundleError(
    'E_OCI_MANIFEST',
    `${what}: the registry answers with type ${JSON.stringify(outside.slice(0, 100))}, which is no image or index`,
    { origin: 'source' },
  );
}

const lying = (what: string, want: string, got: string): BundleError =>
  new BundleError('E_DIGEST', `${what}: the registry answers with content of digest ${got}, want ${want}`, { origin: 'source' });

/** @throws BundleError E_REGISTRY when the bytes were encoded on the way although we asked for them as they are */
export async function requireIdentity(response: HttpResponse, what: string): Promise<void> {
  const encoding = response.header('content-encoding');
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    await response.discard();
    throw new BundleError(
      'E_REGISTRY',
      `${what}: the answer is encoded (${encoding.slice(0, 50)}), so its digest can't be checked`,
      { origin: 'source' },
    );
  }
}

/**
 * Puts a manifest under a tag or its digest. `subjectHandled` says whether the registry answered with OCI-Subject.
 * @throws BundleError E_DIGEST when the registry names another digest, E_REGISTRY and others of {@link faultError}
 */
export async function putManifest(
  send: Sender,
  endpoint: Endpoint,
  repository: string,
  reference: string,
  manifest: Readonly<{ mediaType: string; digest: Digest; bytes: Uint8Array }>,
  signal?: AbortSignal,
): Promise<{ subjectHandled: boolean }> {
  const response = await send({
    method: 'PUT',
    endpoint,
    repository,
    scopes: [pushScope(endpoint, repository)],
    url: apiUrl(endpoint, repository, `manifests/${reference}`),
    headers: { 'content-type': manifest.mediaType },
    body: { length: manifest.bytes.length, open: () => manifest.bytes },
    redirects: 'none',
    signal,
  });
  const what = nameOf(endpoint, repository, reference);
  if (response.status !== 201 && response.status !== 200) throw faultError(await readFault(response), `pushing ${what}`);
  await response.discard();
  const claimed = response.header('docker-content-digest');
  // A sha512 push answered with a sha256 value was stored under another name (registry-conformance.md section 1).
  if (claimed !== undefined && claimed !== manifest.digest) {
    throw new BundleError(
      'E_DIGEST',
      `pushing ${what}: the registry stored it as ${claimed.slice(0, 140)}, want ${manifest.digest}`,
      { origin: 'target' },
    );
  }
  return { subjectHandled: response.header('oci-subject') !== undefined };
}
