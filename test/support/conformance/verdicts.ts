/** How a conformance run counts: each check passes, is skipped (the registry lacks a feature that it may lack) or fails. */

export type Verdict = 'skip' | 'pass' | 'fail';
export type Check = Readonly<{ name: string; verdict: Verdict; why: string }>;

/** Thrown when the registry answers in a way that is allowed but says that it can't do this. */
export class Unsupported extends Error {
  override readonly name = 'Unsupported';
}

export type Verdicts = Readonly<{
  checks: readonly Check[];
  /** Runs one check and counts it. @returns what came of it */
  check(name: string, run: () => Promise<void>): Promise<Verdict>;
  /** Counts one that can't be run because another did not pass. */
  skip(name: string, why: string): void;
  of(verdict: Verdict): readonly Check[];
}>;

export function createVerdicts(): Verdicts {
  const checks: Check[] = [];
  return {
    checks,
    async check(name, run) {
      let [verdict, why]: [Verdict, string] = ['pass', ''];
      try {
        await run();
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        verdict = error instanceof Unsupported ? 'skip' : 'fail';
        why = error.message;
      }
      checks.push({ name, verdict, why });
      return verdict;
    },
    skip: (name, why) => void checks.push({ name, verdict: 'skip', why }),
    of: (verdict) => checks.filter((check) => check.verdict === verdict),
  };
}

/** `860/0/0`: passed, failed, skipped. */
export const summaryOf = ({ of }: Verdicts): string => `${of('pass').length}/${of('fail').length}/${of('skip').length}`;

/** What did not pass, one line each. */
export const faultsOf = ({ checks }: Verdicts): readonly string[] =>
  checks.filter(({ verdict }) => verdict !== 'pass').map(({ name, verdict, why }) => `${verdict}: ${name}: ${why}`);
