import type { EvidenceGraph } from '../upstream/candidate.ts';
import type { GraphManifest } from './graph.ts';
import type { CarriedEvidence } from './verify-content.ts';

/** What verification looks at; a list that was superseded is in the one that took its place. */
export const evidenceOf = ({ evidence }: Readonly<{ evidence: readonly CarriedEvidence[] }>): EvidenceGraph[] =>
  evidence.flatMap(({ evidence: item, graph }) => {
    if (item.superseded) return [];
    const { manifest, bytes } = graph.manifests.at(-1) as GraphManifest;
    return [{ evidence: item, manifest, bytes }];
  });
