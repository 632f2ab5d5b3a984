import { isDigest } from '../core/digest.ts';
import { isBundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { readAll } from '../core/verified.ts';
import type { Answer } from './answer.ts';
import { etagOf, notModified } from './condition.ts';
import { contentLength, type Exchange, type Service, type WritingService } from './exchange.ts';
import { checkedManifest, digestFor, incomplete, mediaTypeOf, missingFrom, sparseWarning } from './manifest-check.ts';
import { Refusal } from './refusal.ts';
import { referenceIn, tagIn } from './route.ts';

type ManifestRoute = Readonly<{ repository: string; reference: string }>;

/** distribution-spec "Pushing Manifests with tag parameters": at least 10 must be taken. */
const TAG_PARAMETERS = 100;

const unknown = (reference: string): Refusal =>
  new Refusal(404, 'MANIFEST_UNKNOWN', 'this repository has no such manifest', { detail: { reference } });

/** GET and HEAD: the stored bytes under the stored type, whatever Accept says; 304 for If-None-Match. @throws Refusal 400, 404 */
export async function getManifest(service: Service, exchange: Exchange, route: ManifestRoute): Promise<Answer> {
  const reference = referenceIn(route.reference);
  const found = await service.content.manifest(route.repository, reference);
  if (found === undefined) throw unknown(reference);
  const { digest, mediaType, bytes } = found;
  const unchanged = notModified(exchange.headers, digest);
  if (unchanged !== undefined) return unchanged;
  const headers = { 'Content-Type': mediaType, 'Docker-Content-Digest': digest, ETag: etagOf(digest) };
  return { status: 200, headers, body: bytes };
}

/** @throws Refusal 400, 413 */
export async function putManifest(service: WritingService, exchange: Exchange, route: ManifestRoute): Promise<Answer> {
  const { content } = service.writing;
  const { repository } = route;
  const reference = referenceIn(route.reference);
  const extraTags = isDigest(reference) ? tagParameters(exchange.query) : [];
  const bytes = await readManifest(exchange);
  const digest = digestFor(reference, bytes);
  const mediaType = mediaTypeOf(exchange.headers['content-type'], bytes);
  const manifest = checkedManifest(bytes, mediaType);
  const missing = await missingFrom(content, repository, manifest);
  if (missing.length > 0 && !service.acceptSparse) throw incomplete(manifest, missing);
  await content.putManifest(repository, { mediaType, digest, bytes }, isDigest(reference) ? extraTags : [reference]);
  const subject = service.referrersApi ? manifest.subject : undefined;
  return {
    status: 201,
    headers: {
      Location: `/v2/${repository}/manifests/${digest}`,
      'Docker-Content-Digest': digest,
      ...(subject === undefined ? {} : { 'OCI-Subject': subject.digest }),
      ...(extraTags.length === 0 ? {} : { 'OCI-Tag': extraTags }),
      ...(missing.length === 0 ? {} : { Warning: sparseWarning(manifest, missing) }),
    },
  };
}

function tagParameters(query: URLSearchParams): string[] {
  const tags = [...new Set(query.getAll('tag').map(tagIn))];
  if (tags.length <= TAG_PARAMETERS) return tags;
  throw new Refusal(400, 'MANIFEST_INVALID', `${tags.length} tags in one request, more than ${TAG_PARAMETERS}`);
}

async function readManifest(exchange: Exchange): Promise<Buffer> {
  const limit = LIMITS.ociManifestBytes;
  const tooLarge = (cause?: unknown): Refusal =>
    new Refusal(413, 'SIZE_INVALID', `a manifest of more than ${limit} bytes`, { cause });
  if ((contentLength(exchange.headers) ?? 0) > limit) throw tooLarge();
  try {
    return await readAll(exchange.body(), limit, 'the manifest');
  } catch (error) {
    throw isBundleError(error) && error.code === 'E_LIMIT' ? tooLarge(error) : error;
  }
}

/** A digest takes its tags along; a tag leaves the manifest. @throws Refusal 400, 404 */
export async function deleteManifest({ writing }: WritingService, route: ManifestRoute): Promise<Answer> {
  const reference = referenceIn(route.reference);
  const { content } = writing;
  const gone = isDigest(reference)
    ? await content.deleteManifest(route.repository, reference)
    : await content.deleteTag(route.repository, reference);
  if (!gone) throw unknown(reference);
  return { status: 202 };
}
