import { printable } from '../../core/printable.ts';
import type { Verdict } from '../../upstream/verdict.ts';

/** What pull found of upstream's signatures, in a few words. Names are as the statement has them, which may be unchecked: they can't steer the terminal. */
export function verdictText(verdict: Verdict | undefined): string {
  if (verdict === undefined) return '-';
  if (verdict.result === 'not-asked') return 'not asked';
  if (verdict.result === 'unsigned-allowed') return 'unsigned allowed';
  const { by } = verdict;
  return `verified by ${'key' in by ? `key ${by.key.slice(0, 12)}` : printable(by.identity, 200)}`;
}
