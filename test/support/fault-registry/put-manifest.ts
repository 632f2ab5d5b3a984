/** PUT of manifests: strict by default, as CNCF distribution is, so that a wrong push order is found. */
import { isForeignLayerType } from '../../../src/core/media-types.ts';
import { type Exchange, send, sendError, wholeBody } from './exchange.ts';
import { digestWith, type Repository } from './storage.ts';

type Entry = Readonly<{ digest: string; mediaType?: string }>;
type Body = Readonly<{
  mediaType?: string;
  artifactType?: string;
  config?: Entry;
  layers?: readonly Entry[];
  manifests?: readonly Entry[];
  subject?: Entry;
}>;

function parse(bytes: Buffer): Body | undefined {
  try {
    return JSON.parse(bytes.toString()) as Body;
  } catch {
    return undefined;
  }
}

/** Digests that the manifest needs and the repository lacks. A subject need not be there; a foreign layer neither. */
function missingFrom(into: Repository, body: Body, sparseOk: boolean): string[] {
  const blobs = [...(body.config ? [body.config] : []), ...(body.layers ?? [])].filter(
    (entry) => !isForeignLayerType(entry.mediaType ?? ''),
  );
  const children = sparseOk ? [] : (body.manifests ?? []);
  return [
    ...blobs.filter((entry) => !into.blobs.has(entry.digest)),
    ...children.filter((entry) => !into.manifests.has(entry.digest)),
  ].map((entry) => entry.digest);
}

/** [status, code, message] of what this personality has against it. */
function objection(
  x: Exchange,
  into: Repository,
  reference: string,
  bytes: Buffer,
  body: Body | undefined,
): [number, string, string] | undefined {
  const { manifest, sha512, tag } = x.world.switches;
  if (manifest === 'max-4MiB' && bytes.length > 4 * 1024 * 1024) return [413, 'SIZE_INVALID', 'manifest too large'];
  if (body === undefined) return [400, 'MANIFEST_INVALID', 'not JSON'];
  const type = x.request.headers['content-type'];
  if (type === undefined || (body.mediaType !== undefined && body.mediaType !== type)) {
    return [400, 'MANIFEST_INVALID', `mediaType ${body.mediaType} under Content-Type ${type}`];
  }
  if (manifest === 'need-mediatype' && body.mediaType === undefined) return [400, 'UNSUPPORTED', 'Invalid JSON syntax'];
  if (manifest === '405-artifact' && body.artifactType !== undefined)
    return [405, 'UNSUPPORTED', 'Invalid parameter: artifactType'];
  if (reference.startsWith('sha512:') && sha512 === 'refused') return [400, 'DIGEST_INVALID', 'unsupported digest algorithm'];
  if (reference.includes(':') && digestWith(reference.slice(0, 6), bytes) !== reference) {
    return [400, 'DIGEST_INVALID', 'provided digest did not match uploaded content'];
  }
  const missing = missingFrom(into, body, manifest === 'sparse-ok');
  if (missing.length > 0) return [400, 'MANIFEST_BLOB_UNKNOWN', `do not exist: ${missing.join(', ')}`];
  const held = into.tags.get(reference);
  if (tag !== 'mutable' && held !== undefined) {
    const message = `The image tag '${reference}' already exists and cannot be overwritten because the tag is immutable.`;
    return tag === 'immutable-400' ? [400, 'TAG_INVALID', message] : [409, 'TAG_IMMUTABLE', message];
  }
  return undefined;
}

export async function putManifest(x: Exchange, repository: string, reference: string): Promise<void> {
  const { switches, storage } = x.world;
  const bytes = await wholeBody(x);
  const into = storage.repository(repository);
  const body = parse(bytes);
  const against = objection(x, into, reference, bytes, body);
  if (against !== undefined) return sendError(x, ...against);
  const asked = reference.startsWith('sha512:') && switches.sha512 === 'ok' ? 'sha512' : 'sha256';
  const digest = digestWith(asked, bytes);
  const kept = switches.manifest === 'stores-other-bytes' ? Buffer.concat([bytes, Buffer.from('\n')]) : bytes;
  into.manifests.set(digest, { digest, bytes: kept, mediaType: x.request.headers['content-type'] as string });
  if (!reference.includes(':')) into.tags.set(reference, digest);
  const subject = body?.subject?.digest;
  const told =
    switches.subjectHeader !== 'never' &&
    (['api', 'unfiltered', 'empty', '404-unknown'].includes(switches.referrers) || switches.subjectHeader === 'always');
  send(x, 201, {
    location: `/v2/${repository}/manifests/${digest}`,
    'docker-content-digest': digest,
    ...(subject !== undefined && told ? { 'oci-subject': subject } : {}),
  });
}
