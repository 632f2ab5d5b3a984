/** Runs something later; the function that comes back calls it off. */
export type Timer = (run: () => void, ms: number) => () => void;

/** What setTimeout can count to: more than that and it fires at once. */
const LONGEST_MS = 2 ** 31 - 1;

/** A timer that does not keep the process alive. */
export const backgroundTimer: Timer = (run, ms) => {
  const timer = setTimeout(run, Math.min(ms, LONGEST_MS)).unref();
  return () => clearTimeout(timer);
};

export type Repetition = Readonly<{
  /** Waits for a run that is under way. */
  stop(): Promise<void>;
}>;

/** Runs a task `everyMs` after the last run ended, until it is stopped. What a run throws goes to `failed`, and the next one comes all the same. */
export function repeat(
  task: (signal: AbortSignal) => Promise<unknown>,
  everyMs: number,
  failed: (error: unknown) => void,
  timer: Timer = backgroundTimer,
): Repetition {
  const ending = new AbortController();
  let running: Promise<unknown> = Promise.resolve();
  let cancel = (): void => undefined;
  const next = (): void => {
    cancel = timer(() => {
      running = task(ending.signal)
        .catch((error) => ending.signal.aborted || failed(error))
        .finally(() => ending.signal.aborted || next());
    }, everyMs);
  };
  next();
  return {
    async stop() {
      ending.abort();
      cancel();
      await running;
    },
  };
}
