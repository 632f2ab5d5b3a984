import type { Ending } from '../temp-dir.ts';

/** Ends things in the reverse order of their beginning: node:test runs its own hooks first to last, and a folder would go before its server. */
export function createScope(t: Ending): Ending {
  const endings: (() => Promise<void> | void)[] = [];
  t.after(async () => {
    for (const end of endings.reverse()) await end();
  });
  return {
    after: (end) => {
      endings.push(end);
    },
  };
}

/** The same for `before` and `after` of a suite, which are two calls: `end` is the second. */
export function createSuiteScope(): Ending & { end(): Promise<void> } {
  let end: (() => Promise<void> | void) | undefined;
  const scope = createScope({
    after: (all) => {
      end = all;
    },
  });
  return { ...scope, end: async () => end?.() };
}
