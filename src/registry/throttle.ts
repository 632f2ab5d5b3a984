import pLimit, { type LimitFunction } from 'p-limit';
import type { Clock } from './clock.ts';

export interface Throttle {
  /** Runs `task` inside one global slot and one slot of `host`. */
  run<T>(host: string, task: () => Promise<T>): Promise<T>;
  /** Returns once `host` may be asked again. */
  ready(host: string, signal?: AbortSignal): Promise<void>;
  /** The host asked for quiet: nobody asks it for `ms`, and from then on half as many at once. */
  slowDown(host: string, ms: number): void;
}

export type ThrottleOptions = Readonly<{ global: number; perHost: number }>;

/** One global and one per-host limit; back-off belongs to the host, not to the request that was refused, so uploads wait too. */
export function createThrottle(options: ThrottleOptions, clock: Clock): Throttle {
  const everyone = pLimit(options.global);
  const hosts = new Map<string, { limit: LimitFunction; notBefore: number }>();
  const stateOf = (host: string) => {
    let state = hosts.get(host);
    if (state === undefined) {
      state = { limit: pLimit(options.perHost), notBefore: 0 };
      hosts.set(host, state);
    }
    return state;
  };
  return {
    // The host's slot first: requests waiting for a slow host must not hold global slots.
    run: (host, task) => stateOf(host).limit(() => everyone(task)),
    async ready(host, signal) {
      const state = stateOf(host);
      for (let wait = state.notBefore - clock.now(); wait > 0; wait = state.notBefore - clock.now())
        await clock.sleep(wait, signal);
    },
    slowDown(host, ms) {
      const state = stateOf(host);
      state.notBefore = Math.max(state.notBefore, clock.now() + ms);
      state.limit.concurrency = Math.max(1, Math.floor(state.limit.concurrency / 2));
    },
  };
}
