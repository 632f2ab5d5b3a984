import type { DeepContent } from '../../bundle/deep-evidence.ts';
import type { VerifiedBundle } from '../../bundle/verify.ts';
import type { Trust } from '../../sign/trust.ts';
import { keyLabel } from '../../sign/trust-key.ts';
import type { Verdict } from '../../upstream/verdict.ts';

/** A keyid as people know it. */
export type NameOfKey = (keyid: string) => string;

/** By the names that the trust document gives, else by the beginning of the keyid. */
export function keyNames(trust: Trust | 'insecure-skip'): NameOfKey {
  const known = new Map(trust === 'insecure-skip' ? [] : trust.keys.map((key) => [key.keyid, key]));
  return (keyid) => keyLabel(known.get(keyid) ?? { keyid, name: undefined });
}

export type UpstreamCounts = Readonly<{ verified: number; unsignedAllowed: number; notCovered: number }>;

/** How many images trust.yaml vouches for; undefined without one. */
export function upstreamCounts({ upstream }: Pick<VerifiedBundle, 'upstream'>): UpstreamCounts | undefined {
  if (upstream === undefined) return undefined;
  const count = (result: Verdict['result']): number => [...upstream.verdicts.values()].filter((v) => v.result === result).length;
  return { verified: count('verified'), unsignedAllowed: count('unsigned-allowed'), notCovered: count('not-asked') };
}

export const upstreamText = ({ verified, unsignedAllowed, notCovered }: UpstreamCounts): string =>
  `trust.yaml: upstream's signatures of ${verified} verified, ${unsignedAllowed} may be unsigned, ${notCovered} not covered`;

/** For people: per image, by whom of ours it is signed, what upstream's signatures are worth here, and everything that there is. */
export const evidenceText = (contents: readonly DeepContent[], nameOf: NameOfKey): string =>
  contents.map((content) => contentText(content, nameOf)).join('\n');

function contentText({ ref, ours, upstream, atPull, evidence }: DeepContent, nameOf: NameOfKey): string {
  const lines = [ref];
  for (const { subject, keys } of ours)
    lines.push(
      `  ${short(subject)}  ${keys.length === 0 ? 'NOT signed by a trusted key' : `signed by ${keys.map(nameOf).join(', ')}`}`,
    );
  lines.push(`  upstream: ${verdictText(upstream, atPull)}`);
  for (const item of evidence) lines.push(`    ${evidenceLine(item)}`);
  return `${lines.join('\n')}\n`;
}

const short = (digest: string): string => digest.slice(0, 19);

function verdictText(here: Verdict | undefined, atPull: Verdict | undefined): string {
  if (here !== undefined && here.result !== 'not-asked') return `${resultText(here)}, checked now`;
  return atPull === undefined || atPull.result === 'not-asked'
    ? 'not asked for'
    : `${resultText(atPull)}, by the word of who pulled it`;
}

function resultText(verdict: Verdict): string {
  if (verdict.result !== 'verified') return verdict.result === 'not-asked' ? 'not asked for' : 'may be unsigned';
  const by = 'key' in verdict.by ? `the key ${verdict.by.key.slice(0, 12)}` : `${verdict.by.identity} (${verdict.by.issuer})`;
  return `verified: ${verdict.format} by ${by}${verdict.signedAt === undefined ? '' : `, signed ${verdict.signedAt}`}`;
}

function evidenceLine({
  digest,
  subject,
  format,
  signer,
  predicateType,
  artifactType,
  signedAt,
  fault,
  ours,
}: DeepContent['evidence'][number]): string {
  const who =
    signer === undefined ? undefined : 'issuer' in signer ? `${signer.identity} (${signer.issuer})` : keyText(signer.key);
  const parts = [
    ours ? 'OURS' : undefined,
    format,
    `of ${short(subject)}`,
    who,
    predicateType ?? artifactType,
    signedAt,
    fault && `UNREADABLE: ${fault}`,
  ];
  return `${short(digest)}  ${parts.filter((part) => part !== undefined).join('  ')}`;
}

/** What the signature says of itself. */
const keyText = (keyid: string | undefined): string => (keyid === undefined ? 'a key' : `key ${keyid.slice(0, 12)}`);
