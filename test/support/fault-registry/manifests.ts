/** GET, HEAD, DELETE of manifests. */
import { gzipSync } from 'node:zlib';
import { MEDIA_TYPE } from '../../../src/core/media-types.ts';
import { otherDigest } from './blobs.ts';
import { contentOf, deliver } from './deliver.ts';
import { type Exchange, send, sendError } from './exchange.ts';
import { digestWith, type StoredManifest } from './storage.ts';

const SCHEMA1 = Buffer.from('{\n   "schemaVersion": 1,\n   "name": "converted",\n   "fsLayers": []\n}');

/** What is handed out for a stored manifest: bytes, and the type before parameters are added. */
function shown(x: Exchange, stored: StoredManifest, reference: string): StoredManifest {
  const { manifestLie, accept } = x.world.switches;
  if (manifestLie === 'other-manifest') {
    // Valid in itself, of the same type, and under a header that claims the digest asked for.
    return {
      ...stored,
      bytes: Buffer.from(`${stored.bytes.toString().trimEnd().slice(0, -1)}, "annotations": {"swapped": "yes"}}`),
    };
  }
  if (manifestLie === 'flipped') {
    const bytes = Buffer.from(stored.bytes);
    bytes[bytes.length - 2] = (bytes[bytes.length - 2] as number) ^ 1;
    return { ...stored, bytes };
  }
  const listed = (x.request.headers.accept ?? '').split(',').map((type) => type.split(';')[0]?.trim());
  if (accept !== 'any' && !reference.includes(':') && !listed.includes(stored.mediaType)) {
    return { mediaType: MEDIA_TYPE.dockerSchema1Signed, bytes: SCHEMA1, digest: digestWith('sha256', SCHEMA1) };
  }
  return stored;
}

function contentType(x: Exchange, stored: StoredManifest): Record<string, string> {
  switch (x.world.switches.ctype) {
    case 'exact':
      return { 'content-type': stored.mediaType };
    case 'charset':
      return { 'content-type': `${stored.mediaType};charset=ISO-8859-1` };
    case 'missing':
      return {};
    case 'html':
      return { 'content-type': 'text/html' };
    case 'octet-stream':
      return { 'content-type': 'application/octet-stream' };
    case 'other-kind':
      return { 'content-type': stored.mediaType === MEDIA_TYPE.ociIndex ? MEDIA_TYPE.ociManifest : MEDIA_TYPE.ociIndex };
  }
}

function refuseMissing(x: Exchange, repository: string): undefined {
  const { missing } = x.world.switches;
  const name = missing === '404-name' || x.world.storage.find(repository) === undefined;
  sendError(
    x,
    404,
    name ? 'NAME_UNKNOWN' : 'MANIFEST_UNKNOWN',
    name ? 'repository name not known to registry' : 'manifest unknown',
  );
}

function remove(x: Exchange, repository: string, reference: string): undefined {
  const found = x.world.storage.find(repository);
  if (found === undefined) return refuseMissing(x, repository);
  const gone = reference.includes(':') ? found.manifests.delete(reference) : found.tags.delete(reference);
  for (const [tag, digest] of found.tags) if (digest === reference) found.tags.delete(tag);
  return gone ? send(x, 202) : refuseMissing(x, repository);
}

function lookUp(x: Exchange, repository: string, reference: string): StoredManifest | undefined {
  const found = x.world.storage.manifest(repository, reference);
  const fallback = /^(sha256|sha512)-([0-9a-f]+)$/.exec(reference);
  // GitLab reads the fallback tag as the digest itself and answers with the subject.
  if (found === undefined && fallback !== null && x.world.switches.fallbackTag === 'resolves-digest') {
    return x.world.storage.manifest(repository, `${fallback[1]}:${fallback[2]}`);
  }
  return found;
}

export async function serveManifest(x: Exchange, repository: string, reference: string): Promise<void> {
  if (x.method === 'DELETE') return remove(x, repository, reference);
  if (x.method !== 'GET' && x.method !== 'HEAD') return sendError(x, 405, 'UNSUPPORTED');
  const { dcd, headLies, contentEncoding, accept } = x.world.switches;
  const stored = lookUp(x, repository, reference);
  if (stored === undefined) return refuseMissing(x, repository);
  const answer = shown(x, stored, reference);
  if (accept === 'literal' && answer.mediaType === MEDIA_TYPE.dockerSchema1Signed && answer !== stored)
    return refuseMissing(x, repository);
  const lying = dcd === 'lying' || (x.method === 'HEAD' && headLies === 'digest');
  const claimed = lying ? otherDigest(answer.digest) : answer.digest;
  const headers = {
    ...contentType(x, answer),
    ...(dcd === 'none' ? {} : { 'docker-content-digest': claimed, etag: `"${claimed}"` }),
    ...(contentEncoding === 'gzip' ? { 'content-encoding': 'gzip' } : {}),
    ...(x.method === 'HEAD' && headLies === 'size' ? { 'content-length': answer.bytes.length + 1 } : {}),
  };
  await deliver(x, 200, headers, contentOf(contentEncoding === 'gzip' ? gzipSync(answer.bytes) : answer.bytes));
}
