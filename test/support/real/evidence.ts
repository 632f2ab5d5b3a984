/** What says something about an image in an open registry, asked for as a stranger to our own client would: by plain requests. */

import type { Descriptor } from '../../../src/core/descriptor.ts';
import { type Digest, digestOf } from '../../../src/core/digest.ts';
import { fallbackTag } from '../../../src/core/fallback-tag.ts';
import { parseOciManifest } from '../../../src/core/oci-manifest.ts';
import type { EvidenceGraph } from '../../../src/upstream/verify-image.ts';

/** Evidence of one image with the blobs that it names: what `verifyImage` is asked with. */
export type Collected = Readonly<{
  digest: Digest;
  evidence: readonly EvidenceGraph[];
  readBlob(descriptor: Descriptor): Promise<Uint8Array>;
}>;

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const TAGS = ['sig', 'att', 'sbom'] as const;

type Found = Readonly<{ bytes: Buffer; mediaType: string }>;

async function get(url: string): Promise<Found | undefined> {
  const response = await fetch(url, { headers: { accept: `${MANIFEST}, ${INDEX}` }, signal: AbortSignal.timeout(10_000) });
  const bytes = Buffer.from(await response.arrayBuffer());
  if (response.status === 404) return undefined;
  if (!response.ok) throw new Error(`${url}: ${response.status} ${bytes.toString('utf8').slice(0, 500)}`);
  return { bytes, mediaType: response.headers.get('content-type') ?? '' };
}

function graphOf({ bytes, mediaType }: Found, subject: Digest, tag?: string): EvidenceGraph {
  const digest = digestOf(bytes);
  const evidence = { subject, ...(tag === undefined ? {} : { tag }), digest, mediaType, size: bytes.length };
  return { evidence, manifest: parseOciManifest(bytes, mediaType, tag ?? digest), bytes };
}

/** Gathers cosign's tags and the referrers (by the API, else by the fallback tag) of `host/repository@digest`. */
export async function collectEvidence(ref: string): Promise<Collected> {
  const [name, digest] = ref.split('@') as [string, Digest];
  const slash = name.indexOf('/');
  const repository = `http://${name.slice(0, slash)}/v2/${name.slice(slash + 1)}`;
  const evidence: EvidenceGraph[] = [];
  for (const kind of TAGS) {
    const tag = `${digest.replace(':', '-')}.${kind}`;
    const found = await get(`${repository}/manifests/${tag}`);
    if (found) evidence.push(graphOf(found, digest, tag));
  }
  const list = (await get(`${repository}/referrers/${digest}`)) ?? (await get(`${repository}/manifests/${fallbackTag(digest)}`));
  const { manifests } = JSON.parse(list?.bytes.toString('utf8') ?? '{"manifests":[]}') as { manifests: readonly Descriptor[] };
  for (const referrer of manifests) {
    const found = await get(`${repository}/manifests/${referrer.digest}`);
    if (found) evidence.push(graphOf(found, digest));
  }
  const readBlob = async (descriptor: Descriptor): Promise<Uint8Array> => {
    const found = await get(`${repository}/blobs/${descriptor.digest}`);
    if (found === undefined) throw new Error(`${repository} has no blob ${descriptor.digest}`);
    return found.bytes;
  };
  return { digest, evidence, readBlob };
}

/**
 * The same with every JSON layer changed, and digests that fit, as somebody who owns the registry would leave it.
 * `change` gets the parsed blob.
 */
export async function tamper<T>(collected: Collected, change: (blob: T) => T): Promise<Collected> {
  const blobs = new Map<Digest, Uint8Array>();
  const evidence: EvidenceGraph[] = [];
  for (const graph of collected.evidence) {
    const json = JSON.parse(Buffer.from(graph.bytes).toString('utf8')) as {
      layers?: { digest: Digest; size: number; mediaType: string }[];
    };
    for (const layer of json.layers ?? []) {
      const blob = JSON.parse(Buffer.from(await collected.readBlob(layer)).toString('utf8')) as T;
      const bytes = Buffer.from(JSON.stringify(change(blob)));
      layer.digest = digestOf(bytes);
      layer.size = bytes.length;
      blobs.set(layer.digest, bytes);
    }
    const { subject, tag, mediaType } = graph.evidence;
    evidence.push(graphOf({ bytes: Buffer.from(JSON.stringify(json)), mediaType }, subject, tag));
  }
  const readBlob = async (descriptor: Descriptor): Promise<Uint8Array> =>
    blobs.get(descriptor.digest) ?? (await collected.readBlob(descriptor));
  return { digest: collected.digest, evidence, readBlob };
}
