import { setImmediate } from 'node:timers/promises';
import type { CarriedEvidence } from '../bundle/verify-content.ts';
import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { byteOrder } from '../core/json.ts';
import { parseReference } from '../core/reference.ts';
import type { LegacyLayer } from '../cosign/legacy.ts';
import { signImage } from '../cosign/sign-image.ts';
import type { SigningKey } from '../sign/signing-key.ts';
import { displayName } from './contents.ts';
import { sortedEvidence } from './evidence.ts';
import { carriedFrom, type FoundEvidence, isBundle, joinEvidence, type OwnEvidence } from './join-evidence.ts';
import type { PlannedItem } from './plan.ts';
import type { SignaturesOfBefore } from './signatures-of-before.ts';

/** One manifest in one repository, with every reference under which it will be found there. */
type Subject = {
  descriptor: Descriptor;
  /** What goes into `docker-reference`. */
  references: Set<string>;
  /** The oldest resolution, from the lock alone: the same lock gives the same bytes, also in a fresh directory. */
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
 * manifest (containers/image looks at that one only, cosign at the first). cosign's tags are one per manifest and repository, so ours joins upstream's,
 * and what several references found under one is joined too.
 * @param before the keys, and what they signed before
 * @param alwaysBundle also where it hides upstream's legacy signatures from cosign 3
 */
export async function signItems(
  planned: readonly PlannedItem[],
  before: SignaturesOfBefore,
  alwaysBundle: boolean,
): Promise<SignedItems> {
  const made = new Map<Digest, Uint8Array>();
  const warnings: string[] = [];
  const items = [...planned];
  for (const [repository, indexes] of byRepository(planned)) {
    const inside = indexes.map((i) => planned[i] as PlannedItem);
    const found = bySubject(inside);
    const subjects = subjectsOf(inside);
    const joined = new Map<Digest, readonly CarriedEvidence[]>();
    for (const digest of new Set([...subjects.keys(), ...found.keys()])) {
      await setImmediate(); // a signature takes some milliseconds, and blobs are on their way
      const upstream = found.get(digest) ?? [];
      const subject = subjects.get(digest);
      const ours = subject === undefined ? NOTHING : await signByAll(subject, before.keys, made);
      const { evidence, made: lists, warning } = joinEvidence(digest, upstream, ours, alwaysBundle);
      for (const list of lists) made.set(list.digest, list.bytes);
      const place = `${repository}@${digest}`;
      if (warning !== undefined) warnings.push(`${place}: ${warning}`);
      if (before.bundled.has(place) && !evidence.some(isBundle)) warnings.push(`${place}: ${LEFT_BEHIND}`);
      joined.set(digest, evidence);
    }
    for (const i of indexes) items[i] = withEvidence(planned[i] as PlannedItem, joined);
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

/** What upstream says, by what it is about. */
function bySubject(items: readonly PlannedItem[]): Map<Digest, FoundEvidence[]> {
  const found = new Map<Digest, FoundEvidence[]>();
  for (const { item, evidence } of items) {
    for (const carried of evidence) {
      const { subject } = carried.evidence;
      const there = found.get(subject) ?? [];
      there.push({ carried, at: item.evidenceAt ?? '' });
      found.set(subject, there);
    }
  }
  return found;
}

const carriedBy = ({ item }: PlannedItem): Set<Digest> =>
  new Set([item.targetDigest, item.digest, ...item.platforms.map((p) => p.digest)]);

function subjectsOf(items: readonly PlannedItem[]): Map<Digest, Subject> {
  const subjects = new Map<Digest, Subject>();
  for (const planned of items) {
    const { item, target, manifests } = planned;
    const at = new Map(manifests.map((m) => [m.descriptor.digest, m.descriptor]));
    for (const digest of carriedBy(planned)) {
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

/** What is at a target stays there, and cosign 3 looks at bundles alone where there is one. */
const LEFT_BEHIND =
  'upstream signs it in the legacy form now, and ours has no bundle any more: where an earlier one is, cosign 3 finds upstream with --new-bundle-format=false alone';

const NOTHING: OwnEvidence = { layers: [], referrers: [] };

async function signByAll(
  { descriptor, references, created }: Subject,
  keys: readonly SigningKey[],
  made: Map<Digest, Uint8Array>,
): Promise<OwnEvidence> {
  const layers: LegacyLayer[] = [];
  const referrers: CarriedEvidence[] = [];
  for (const key of keys) {
    const signed = await signImage(key, descriptor, [...references].sort(byteOrder), created);
    for (const { digest, bytes } of [...signed.blobs, signed.referrer]) made.set(digest, bytes);
    layers.push(...signed.layers);
    referrers.push(carriedFrom(descriptor.digest, undefined, signed.referrer));
  }
  return { layers, referrers };
}

/** Everything about its own manifests, and about what it found is said of them in turn (a signed SBOM). */
function withEvidence(planned: PlannedItem, joined: ReadonlyMap<Digest, readonly CarriedEvidence[]>): PlannedItem {
  const subjects = new Set([...carriedBy(planned), ...planned.evidence.map((e) => e.evidence.subject)]);
  return { ...planned, evidence: sortedEvidence([...subjects].flatMap((digest) => joined.get(digest) ?? [])) };
}
