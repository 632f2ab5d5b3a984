import type { VerifiedBundle } from '../bundle/verify.ts';
import type { CarriedEvidence } from '../bundle/verify-content.ts';
import type { Digest } from '../core/digest.ts';
import { placesAt, type Target } from './target.ts';

/**
 * Where signatures and other evidence go at the target (design.md section 4). Two kinds of places are shared with others, so that what is there already
 * is kept: cosign's tags, whose layers are united, and the fallback indexes of registries without a referrers API.
 */
export type EvidencePlace = Readonly<{
  repository: string;
  /** cosign's tag; undefined: referrers of `subject`. */
  tag: string | undefined;
  subject: Digest;
  /** The subject is an image's manifest, which is at the target before anything that is said about it. */
  onImage: boolean;
  wanted: readonly CarriedEvidence[];
}>;

/** Every place once, however many references share it. */
export function evidencePlaces({ contents }: Pick<VerifiedBundle, 'contents'>, target: Target): EvidencePlace[] {
  const places = new Map<string, Omit<EvidencePlace, 'wanted'> & { wanted: Map<Digest, CarriedEvidence> }>();
  for (const { content, target: graph, evidence } of contents) {
    const images = new Set(graph.manifests.map(({ descriptor }) => descriptor.digest));
    for (const repository of new Set(placesAt(target, content.ref, content.aliases ?? []).map((p) => p.repository))) {
      for (const carried of evidence) {
        if (carried.evidence.superseded) continue;
        const { tag, subject, digest } = carried.evidence;
        const key = `${repository} ${tag ?? ''} ${subject}`;
        const found = places.get(key);
        const wanted = found?.wanted ?? new Map<Digest, CarriedEvidence>();
        wanted.set(digest, carried);
        places.set(key, { repository, tag, subject, onImage: found?.onImage === true || images.has(subject), wanted });
      }
    }
  }
  return [...places.values()].map((place) => ({ ...place, wanted: [...place.wanted.values()] }));
}

/** In the order of pushing: what is said about a piece of evidence comes after that piece. */
export function levelsOf(places: readonly EvidencePlace[]): EvidencePlace[][] {
  const levels: EvidencePlace[][] = [];
  for (let rest = places; rest.length > 0; ) {
    const waiting = new Set(rest.flatMap((p) => p.wanted.map(({ evidence }) => `${p.repository} ${evidence.digest}`)));
    const ready = rest.filter((p) => p.onImage || !waiting.has(`${p.repository} ${p.subject}`));
    // Digests make no circles, tags may: a manifest under a tag of cosign's for itself.
    const level = ready.length > 0 ? ready : [...rest];
    levels.push(level);
    rest = rest.filter((p) => !level.includes(p));
  }
  return levels;
}
