import type { DeepContent } from '../../bundle/deep-evidence.ts';
import type { EvidenceDescription } from '../../upstream/describe-evidence.ts';
import type { Verdict } from '../../upstream/verdict.ts';

/** For people: per image, by whom of ours it is signed, what upstream's signatures are worth here, and everything that there is. */
export const evidenceText = (contents: readonly DeepContent[]): string => contents.map(contentText).join('\n');

function contentText({ ref, ours, upstream, atPull, evidence }: DeepContent): string {
  const lines = [ref];
  for (const { subject, keys } of ours)
    lines.push(
      `  ${short(subject)}  ${keys.length === 0 ? 'NOT signed by a trusted key' : `signed by ${keys.map((k) => k.slice(0, 12)).join(', ')}`}`,
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
}: EvidenceDescription): string {
  const who =
    signer === undefined ? undefined : 'issuer' in signer ? `${signer.identity} (${signer.issuer})` : keyText(signer.key);
  const parts = [format, `of ${short(subject)}`, who, predicateType ?? artifactType, signedAt, fault && `UNREADABLE: ${fault}`];
  return `${short(digest)}  ${parts.filter((part) => part !== undefined).join('  ')}`;
}

/** The hint is what the signature says of itself: base64 of a key's SHA-256, as cosign writes it. */
const keyText = (hint: string | undefined): string =>
  hint === undefined ? 'a key' : `key ${Buffer.from(hint, 'base64').toString('hex').slice(0, 12)}`;
