import { createHmac, randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { LIMITS } from '../core/limits.ts';
import type { Htpasswd } from './htpasswd.ts';
import type { CheckLogin, Login } from './passwords.ts';
import { Refusal } from './refusal.ts';

export type LoginCheckOptions = Readonly<{
  /** Asked each time, so that a new file counts from its first request on. */
  users: () => Htpasswd;
  /** bcrypt; in tests something that counts. */
  compare: (password: string, hash: string) => Promise<boolean>;
  now?: () => number;
  /** How long a verdict is remembered, milliseconds: a right one from its last use, a wrong one from when it was found. */
  rememberMs?: number;
  /** Leaves the processor to others between two runs, milliseconds. */
  rest?: (ms: number) => Promise<unknown>;
}>;

type Verdict = { readonly right: Promise<boolean>; readonly until: number };

/** A hash that no password has, as costly as the costliest there: an unknown user takes as long as a known one. */
function hashOfNobody(users: Htpasswd): string {
  const costs = [...users.values()].map((hash) => hash.slice(4, 6));
  return `$2b$${costs.sort().at(-1) ?? '10'}$xzDhnDCAYtn4J2o60ONFGOcJNNqLTdxy26IvKGTdi1hk.gqojYshm`;
}
const VERDICTS = 1000;

/**
 * Logins against bcrypt hashes, without letting whoever guesses have the processor: bcrypt is made to be slow, and it runs in the thread that
 * serves. One runs at a time, then rests twice as long as it took; few wait, fewer of one address, and the others are told to come again (429).
 * A verdict is remembered by a keyed hash of name, stored hash and password, the right ones apart from the wrong ones, so that guesses do not
 * push out the logins of the nodes; equal logins at one time are one run.
 */
export function createLoginCheck(options: LoginCheckOptions): CheckLogin {
  const { users, compare, now = Date.now, rememberMs = 5 * 60_000, rest = setTimeout } = options;
  const secret = randomBytes(32);
  const [right, wrong, running] = [new Map<string, Verdict>(), new Map<string, Verdict>(), new Map<string, Promise<boolean>>()];
  const inTurn = createQueue(rest);
  const keyOf = ({ user, password }: Login, hash: string): string => {
    const mac = createHmac('sha256', secret);
    for (const part of [user, hash, password]) mac.update(`${part.length}:${part}`);
    return mac.digest('base64');
  };
  const remembered = (key: string): Promise<boolean> | undefined => {
    for (const known of [right, wrong]) {
      const found = known.get(key);
      known.delete(key);
      if (found === undefined || found.until <= now()) continue;
      // Who keeps coming needs no place in the queue again, which strangers may have filled. Last in the map: what was not used for longest goes first.
      known.set(key, known === right ? { ...found, until: now() + rememberMs } : found);
      return found.right;
    }
    return running.get(key);
  };
  const remember = (key: string, verdict: boolean): void => {
    const known = verdict ? right : wrong;
    const [oldest] = known.keys();
    if (known.size >= VERDICTS && oldest !== undefined) known.delete(oldest);
    known.set(key, { right: Promise.resolve(verdict), until: now() + rememberMs });
  };
  return async (login, peer) => {
    const hash = users().get(login.user);
    const key = keyOf(login, hash ?? '');
    const known = remembered(key);
    if (known !== undefined) return known;
    const run = inTurn(peer, async () => {
      const verdict = (await compare(login.password, hash ?? hashOfNobody(users()))) && hash !== undefined;
      remember(key, verdict);
      return verdict;
    });
    running.set(key, run);
    try {
      return await run;
    } finally {
      running.delete(key);
    }
  };
}

/** One after the other, with rests between. @throws Refusal 429 when too many wait */
function createQueue(rest: (ms: number) => Promise<unknown>) {
  const waiting = new Map<string, number>();
  let all = 0;
  let last: Promise<unknown> = Promise.resolve();
  return async <T>(peer: string, run: () => Promise<T>): Promise<T> => {
    const own = waiting.get(peer) ?? 0;
    if (all >= LIMITS.waitingLogins || own >= LIMITS.waitingLoginsOfOne)
      throw new Refusal(429, 'TOOMANYREQUESTS', 'too many logins are being checked', { headers: { 'Retry-After': '2' } });
    waiting.set(peer, own + 1);
    all++;
    const turn = last.then(async () => {
      const started = performance.now();
      const result = await run();
      return { result, took: performance.now() - started };
    });
    last = turn.then(
      ({ took }) => rest(2 * took),
      () => undefined,
    );
    try {
      return (await turn).result;
    } finally {
      all--;
      const left = (waiting.get(peer) ?? 1) - 1;
      if (left === 0) waiting.delete(peer);
      else waiting.set(peer, left);
    }
  };
}
