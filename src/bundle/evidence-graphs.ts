import type { EvidenceGraph } from '../upstream/candidate.ts';
import { rootOf } from './graph.ts';
import type { CarriedEvidence } from './verify-content.ts';

/** What verification looks at; a list that was superseded is in the one that took its place. */
export const evidenceOf = ({ evidence }: Readonly<{ evidence: readonly CarriedEvidence[] }>): EvidenceGraph[] =>
  evidence.flatMap(({ evidence: item, graph }) => {
    if (item.superseded) return [];
    const { manifest, bytes } = rootOf(graph);
    return [{ evidence: item, manifest, bytes }];
  });
