import { type GraphManifest, rootOf as rootManifest } from '../bundle/graph.ts';
import type { CarriedEvidence } from '../bundle/verify-content.ts';
import type { Digest } from '../core/digest.ts';
import { byteOrder } from '../core/json.ts';
import { parseOciManifest } from '../core/oci-manifest.ts';
import { isBundleReferrer } from '../cosign/bundle-referrer.ts';
import { COSIGN_TAGS, type CosignTag, type LegacyLayer, legacyTag, mergeLegacy, parseLegacy } from '../cosign/legacy.ts';
import type { MadeManifest } from '../cosign/made.ts';

/** A piece of evidence as one reference found it. */
export type FoundEvidence = Readonly<{
  carried: CarriedEvidence;
  /** When it was listed, RFC 3339. */
  at: string;
}>;

/** What we say about one manifest: for its `.sig`, and as referrers. */
export type OwnEvidence = Readonly<{ layers: readonly LegacyLayer[]; referrers: readonly CarriedEvidence[] }>;

export type JoinedEvidence = Readonly<{
  evidence: readonly CarriedEvidence[];
  /** Manifests and configs that came into being. */
  made: readonly Readonly<{ digest: Digest; bytes: Uint8Array }>[];
  warning?: string;
}>;

/**
 * What is said about one manifest by upstream (as several references found it) and by us, each thing once, and one thing under each of cosign's tags. It
 * does not depend on the order of `found`.
 *
 * Where upstream has legacy signatures alone, ours is legacy too: cosign 3 reads either all bundles or all legacy signatures of an image, and one bundle
 * of ours would make it blind for what upstream signed.
 * @param always also then
 */
export function joinEvidence(
  subject: Digest,
  found: readonly FoundEvidence[],
  ours: OwnEvidence,
  always: boolean,
): JoinedEvidence {
  const tagged = COSIGN_TAGS.map((kind) => joinTag(subject, kind, found, kind === 'sig' ? ours.layers : []));
  const signatures = tagged[COSIGN_TAGS.indexOf('sig')];
  const referrers = found.flatMap(({ carried }) => (carried.evidence.tag === undefined ? [carried] : []));
  const legacyAlone = signatures?.upstream === 'lists' && !found.some(({ carried }) => isBundle(carried));
  const evidence = [...tagged.flatMap((t) => t.evidence), ...referrers, ...(legacyAlone && !always ? [] : ours.referrers)];
  const lost = signatures?.upstream === 'other' && ours.layers.length > 0;
  return {
    evidence: [...new Map(evidence.map((e) => [`${e.evidence.tag ?? ''} ${e.evidence.digest}`, e])).values()],
    made: tagged.flatMap((t) => t.made),
    ...(lost
      ? {
          warning: `what the origin has under ${legacyTag(subject, 'sig')} is no list of signatures: ours is there as a Sigstore bundle only`,
        }
      : {}),
  };
}

type JoinedTag = Pick<JoinedEvidence, 'evidence' | 'made'> &
  Readonly<{
    /** What upstream has there: lists of signatures, or something to which none can be added. */
    upstream: 'nothing' | 'lists' | 'other';
  }>;

/** Signatures and attestations are united; of anything else what was listed last has the tag. */
function joinTag(
  subject: Digest,
  kind: CosignTag,
  found: readonly FoundEvidence[],
  additions: readonly LegacyLayer[],
): JoinedTag {
  const tag = legacyTag(subject, kind);
  const there = oneEach(found.filter(({ carried }) => carried.evidence.tag === tag));
  const lists = kind === 'sbom' ? undefined : layersOf(there);
  if (lists === undefined) {
    const last = there.reduce<FoundEvidence | undefined>((a, b) => (a === undefined || b.at > a.at ? b : a), undefined);
    return {
      evidence: there.map((one) => (one === last ? one.carried : superseded(one.carried))),
      made: [],
      upstream: there.length === 0 ? 'nothing' : 'other',
    };
  }
  const upstream = there.length === 0 ? 'nothing' : 'lists';
  const layers = lists.flat();
  if (layers.length + additions.length === 0) return { evidence: there.map(({ carried }) => carried), made: [], upstream };
  // A list that grew stays as upstream made it.
  const base = there.find((one) => mergeLegacy(rootOf(one), layers) === undefined) ?? there[0];
  const merged = mergeLegacy(base && rootOf(base), [...layers, ...additions]);
  if (merged === undefined)
    return { evidence: there.map((one) => (one === base ? one.carried : superseded(one.carried))), made: [], upstream };
  return {
    evidence: [...there.map((one) => superseded(one.carried)), carriedFrom(subject, tag, merged.manifest)],
    made: [merged.config, merged.manifest],
    upstream,
  };
}

/** Each digest once, with the last time that it was listed; by digest. */
function oneEach(found: readonly FoundEvidence[]): FoundEvidence[] {
  const distinct = new Map<Digest, FoundEvidence>();
  for (const one of found) {
    const before = distinct.get(one.carried.evidence.digest);
    if (before === undefined || before.at < one.at) distinct.set(one.carried.evidence.digest, one);
  }
  return [...distinct.values()].sort((a, b) => byteOrder(a.carried.evidence.digest, b.carried.evidence.digest));
}

/** undefined when one of them is no list of signatures. */
function layersOf(found: readonly FoundEvidence[]): LegacyLayer[][] | undefined {
  const lists: LegacyLayer[][] = [];
  for (const one of found) {
    const { bytes, mediaType } = rootOf(one);
    const parsed = parseLegacy(bytes, mediaType, one.carried.evidence.digest);
    if (parsed === undefined) return undefined;
    lists.push(parsed.layers);
  }
  return lists;
}

function rootOf({ carried }: FoundEvidence): { bytes: Uint8Array; mediaType: string } {
  const { bytes, descriptor } = rootManifest(carried.graph);
  return { bytes, mediaType: descriptor.mediaType };
}

const superseded = ({ evidence, graph }: CarriedEvidence): CarriedEvidence => ({
  evidence: { ...evidence, superseded: true },
  graph,
});

export const isBundle = ({ graph }: CarriedEvidence): boolean => isBundleReferrer(rootManifest(graph).manifest);

/** A manifest that came into being here, as evidence. */
export function carriedFrom(
  subject: Digest,
  tag: string | undefined,
  { mediaType, digest, bytes }: MadeManifest,
): CarriedEvidence {
  const manifest = parseOciManifest(bytes, mediaType, digest);
  const node: GraphManifest = { descriptor: { mediaType, digest, size: bytes.length }, bytes, manifest };
  const blobs = manifest.kind === 'manifest' ? [manifest.config, ...manifest.layers] : [];
  return {
    evidence: { subject, ...(tag === undefined ? {} : { tag }), digest, mediaType, size: bytes.length },
    graph: { manifests: [node], blobs: [...new Map(blobs.map((b) => [b.digest, b])).values()] },
  };
}
