/**
 * Lets one request find out whether a password is right while the others wait: eight wrong ones at once can lock an account.
 * Every `mayUse` that says true before an answer is known must be followed by `learn`.
 */
export interface FirstTry {
  /** True: send it. False: it was refused before. Waits while another request is finding out. Rejects with the reason of `signal`. */
  mayUse(header: string, signal?: AbortSignal): Promise<boolean>;
  /** The HTTP status that came of it; without one, or with one that says nothing of the password, the next request finds out. */
  learn(header: string, status: number | undefined): void;
}

type Verdict = 'right' | 'wrong' | Readonly<{ done: Promise<void>; end: () => void }>;

export function createFirstTry(): FirstTry {
  const verdicts = new Map<string, Verdict>();
  return {
    async mayUse(header, signal) {
      for (;;) {
        const verdict = verdicts.get(header);
        if (verdict === 'right') return true;
        if (verdict === 'wrong') return false;
        if (verdict === undefined) {
          const { promise, resolve } = Promise.withResolvers<void>();
          verdicts.set(header, { done: promise, end: resolve });
          return true;
        }
        await orAborted(verdict.done, signal);
      }
    },
    learn(header, status) {
      const before = verdicts.get(header);
      if (typeof before !== 'object') return; // A right password can be refused for one repository: that says nothing of the others.
      if (status === 401) verdicts.set(header, 'wrong');
      else if (status === undefined || status === 429 || status >= 500) verdicts.delete(header);
      else verdicts.set(header, 'right');
      before.end();
    },
  };
}

function orAborted(done: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return done;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort, { once: true });
    done.then(() => {
      signal.removeEventListener('abort', abort);
      resolve();
    });
  });
}
