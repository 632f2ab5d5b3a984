import type { GraphManifest } from '../bundle/graph.ts';
import type { CarriedEvidence } from '../bundle/verify-content.ts';
import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import type { Evidence } from '../core/evidence.ts';
import { byteOrder } from '../core/json.ts';
import { parseOciManifest } from '../core/oci-manifest.ts';
import { isTag, parseReference } from '../core/reference.ts';
import { isBundleReferrer } from '../cosign/bundle-referrer.ts';
import { type LegacyLayer, legacyTag, mergeLegacy, parseLegacy } from '../cosign/legacy.ts';
import { type SignedImage, signImage } from '../cosign/sign-image.ts';
import type { SigningKey } from '../sign/signing-key.ts';
import { displayName } from './contents.ts';
import { sortedEvidence } from './evidence.ts';
import type { PlannedItem } from './plan.ts';

/** One manifest in one repository, with every reference under which it will be found there. */
type Subject = {
  descriptor: Descriptor;
  /** What goes into `docker-reference`. */
  references: Set<string>;
  /** The oldest resolution: it stays when another reference to the same manifest comes or goes. */
  created: string;
};

export type SignedItems = Readonly<{
  items: PlannedItem[];
  /** Blobs and manifests that came into being here. */
  made: ReadonlyMap<Digest, Uint8Array>;
  warnings: readonly string[];
}>;

/**
 * Adds our own signatures to every image, in both of cosign's formats: on what its tag will mean, on what the origin serves, and on each platform's
 * manifest (containers/image looks at that one only, cosign at the first). cosign's tags are one per manifest and repository, so ours joins upstream's.
 * @param alwaysBundle also where it hides upstream's legacy signatures from cosign 3
 */
export async function signItems(
  planned: readonly PlannedItem[],
  keys: readonly SigningKey[],
  alwaysBundle: boolean,
): Promise<SignedItems> {
  const made = new Map<Digest, Uint8Array>();
  const warnings: string[] = [];
  const items = [...planned];
  for (const [repository, indexes] of byRepository(planned)) {
    const inside = indexes.map((i) => planned[i] as PlannedItem);
    const ours = new Map<Digest, CarriedEvidence[]>();
    for (const [digest, subject] of subjectsOf(inside)) {
      const signed = await signByAll(keys, subject, made);
      const found = inside.flatMap((item) => item.evidence.filter((e) => e.evidence.subject === digest));
      const { evidence, warning } = join(digest, signed, found, made, alwaysBundle);
      if (warning !== undefined) warnings.push(`${repository}@${digest}: ${warning}`);
      ours.set(digest, evidence);
    }
    for (const i of indexes) items[i] = withEvidence(planned[i] as PlannedItem, ours);
  }
  return { items, made, warnings };
}

function byRepository(planned: readonly PlannedItem[]): Map<string, number[]> {
  const found = new Map<string, number[]>();
  for (const [i, { item }] of planned.entries()) {
    const { origin, repository } = parseReference(item.ref);
    const name = `${origin}/${repository}`;
    found.set(name, [...(found.get(name) ?? []), i]);
  }
  return found;
}

function subjectsOf(items: readonly PlannedItem[]): Map<Digest, Subject> {
  const subjects = new Map<Digest, Subject>();
  for (const { item, target, manifests } of items) {
    const at = new Map(manifests.map((m) => [m.descriptor.digest, m.descriptor]));
    for (const digest of new Set([item.targetDigest, item.digest, ...item.platforms.map((p) => p.digest)])) {
      const descriptor = digest === target.digest ? target : at.get(digest);
      if (descriptor === undefined) continue;
      const before = subjects.get(digest) ?? { descriptor, references: new Set(), created: item.resolvedAt };
      // containers/image compares it with the name that is pulled: with its tag where there is one, else by digest.
      before.references.add(displayName(item.ref));
      if (item.resolvedAt < before.created) before.created = item.resolvedAt;
      subjects.set(digest, before);
    }
  }
  return subjects;
}

type Signed = Readonly<{ layers: LegacyLayer[]; referrers: CarriedEvidence[] }>;

async function signByAll(keys: readonly SigningKey[], subject: Subject, made: Map<Digest, Uint8Array>): Promise<Signed> {
  const { descriptor, references, created } = subject;
  const layers: LegacyLayer[] = [];
  const referrers: CarriedEvidence[] = [];
  for (const key of keys) {
    const signed = await signImage(key, descriptor, [...references].sort(byteOrder), created);
    for (const { digest, bytes } of [...signed.blobs, signed.referrer]) made.set(digest, bytes);
    layers.push(...signed.layers);
    referrers.push(carried(descriptor.digest, undefined, signed.referrer));
  }
  return { layers, referrers };
}

function carried(
  subject: Digest,
  tag: string | undefined,
  { mediaType, digest, bytes }: SignedImage['referrer'],
): CarriedEvidence {
  const manifest = parseOciManifest(bytes, mediaType, digest);
  const evidence: Evidence = { subject, ...(tag === undefined ? {} : { tag }), digest, mediaType, size: bytes.length };
  const node: GraphManifest = { descriptor: { mediaType, digest, size: bytes.length }, bytes, manifest };
  const blobs = manifest.kind === 'manifest' ? [manifest.config, ...manifest.layers] : [];
  return { evidence, graph: { manifests: [node], blobs: [...new Map(blobs.map((b) => [b.digest, b])).values()] } };
}

/**
 * What is said about one manifest by upstream (as several references found it) and by us, each thing once.
 *
 * Where upstream has legacy signatures alone, ours is legacy too: cosign 3 reads either all bundles or all legacy signatures of an image, and one bundle
 * of ours would make it blind for what upstream signed.
 */
function join(
  subject: Digest,
  ours: Signed,
  found: readonly CarriedEvidence[],
  made: Map<Digest, Uint8Array>,
  always: boolean,
): { evidence: CarriedEvidence[]; warning?: string } {
  const distinct = (list: readonly CarriedEvidence[]): CarriedEvidence[] => [
    ...new Map(list.map((e) => [`${e.evidence.tag ?? ''} ${e.evidence.digest}`, e])).values(),
  ];
  const tag = legacyTag(subject, 'sig');
  // cosign knows sha256 only: a tag for sha512 would be too long.
  if (!isTag(tag)) return { evidence: distinct([...found, ...ours.referrers]) };
  const bases = distinct(found.filter((e) => e.evidence.tag === tag));
  const others = found.filter((e) => e.evidence.tag !== tag);
  const merged = mergeSignatures(bases, ours.layers);
  if (merged === 'unmergeable')
    return {
      evidence: distinct([...found, ...ours.referrers]),
      warning: `what the origin has under ${tag} is no list of signatures: ours is there as a Sigstore bundle only`,
    };
  const bundles = !always && bases.length > 0 && !others.some(isBundle) ? [] : ours.referrers;
  if (merged === undefined) return { evidence: distinct([...others, ...bases.slice(0, 1), ...bundles]) };
  for (const { digest, bytes } of [merged.config, merged.manifest]) made.set(digest, bytes);
  return { evidence: distinct([...others, ...bases.map(superseded), carried(subject, tag, merged.manifest), ...bundles]) };
}

const superseded = ({ evidence, graph }: CarriedEvidence): CarriedEvidence => ({
  evidence: { ...evidence, superseded: true },
  graph,
});

const isBundle = ({ graph }: CarriedEvidence): boolean => isBundleReferrer((graph.manifests.at(-1) as GraphManifest).manifest);

/** undefined when there is nothing to add to the one that is there. */
function mergeSignatures(
  bases: readonly CarriedEvidence[],
  ours: readonly LegacyLayer[],
): ReturnType<typeof mergeLegacy> | 'unmergeable' {
  const layers: LegacyLayer[] = [];
  for (const { graph } of bases) {
    const { bytes, descriptor } = graph.manifests.at(-1) as GraphManifest;
    const parsed = parseLegacy(bytes, descriptor.mediaType, descriptor.digest);
    if (parsed === undefined) return 'unmergeable';
    layers.push(...parsed.layers);
  }
  if (layers.length + ours.length === 0) return undefined;
  const first = bases[0]?.graph.manifests.at(-1);
  const base = first && { bytes: first.bytes, mediaType: first.descriptor.mediaType };
  return mergeLegacy(base, [...layers, ...ours]);
}

/** Everything about its own manifests, and about what is said of them in turn (a signed SBOM). */
function withEvidence(item: PlannedItem, ours: ReadonlyMap<Digest, readonly CarriedEvidence[]>): PlannedItem {
  const mine = new Set([item.item.targetDigest, item.item.digest, ...item.item.platforms.map((p) => p.digest)]);
  const evidence = [...mine].flatMap((digest) => ours.get(digest) ?? []);
  const deeper = item.evidence.filter((e) => !mine.has(e.evidence.subject));
  return { ...item, evidence: sortedEvidence([...evidence, ...deeper]) };
}
