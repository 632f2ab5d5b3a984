import { type Answer, jsonAnswer } from './answer.ts';
import { Refusal } from './refusal.ts';

/** Why nothing should be sent here; undefined when all is well. Told to everybody: no paths, no causes. */
export type Readiness = Readonly<{ reason?: string; detail?: Readonly<Record<string, string | number | boolean>> }>;
export type Health = Readonly<{ ready(): Promise<Readiness> }>;

const PATIENCE_MS = 5000;
const FRESH_MS = 1000;

export type ReadinessOptions = Readonly<{
  /** Reads something of the store. What it throws stays here. */
  probe: () => Promise<Readiness['detail']>;
  stopping: () => boolean;
  now?: () => number;
  /** For the answer of a disk that may hang, milliseconds. */
  patienceMs?: number;
}>;

/** Asks the store at most once a second, however often somebody asks us, and does not wait for a disk that hangs. */
export function createHealth({ probe, stopping, now = Date.now, patienceMs = PATIENCE_MS }: ReadinessOptions): Health {
  let last: { at: number; answer: Promise<Readiness> } | undefined;
  const ask = async (): Promise<Readiness> => {
    const { promise: late, resolve } = Promise.withResolvers<Readiness>();
    const timer = setTimeout(() => resolve({ reason: 'the store does not answer' }), patienceMs);
    const probed = probe().then(
      (detail): Readiness => (detail === undefined ? {} : { detail }),
      (): Readiness => ({ reason: 'the store can not be read' }),
    );
    try {
      return await Promise.race([probed, late]);
    } finally {
      clearTimeout(timer);
    }
  };
  return {
    async ready() {
      if (stopping()) return { reason: 'stopping' };
      if (last === undefined || now() - last.at >= FRESH_MS || now() < last.at) last = { at: now(), answer: ask() };
      return last.answer;
    },
  };
}

const NO_STORE = { 'Cache-Control': 'no-store' };

/** `/healthz`: this process answers. `/readyz`: it can do its work. @throws Refusal 405 */
export async function answerHealth(health: Health | undefined, route: 'healthz' | 'readyz', method: string): Promise<Answer> {
  if (method !== 'GET' && method !== 'HEAD')
    throw new Refusal(405, 'UNSUPPORTED', 'GET or HEAD', { headers: { Allow: 'GET, HEAD' } });
  if (route === 'healthz') return jsonAnswer({ status: 'ok' }, NO_STORE);
  const { reason, detail } = (await health?.ready()) ?? {};
  const answer = jsonAnswer({ status: reason === undefined ? 'ready' : 'not ready', reason, ...detail }, NO_STORE);
  return reason === undefined ? answer : { ...answer, status: 503 };
}

/** undefined for everything else. */
export function healthRoute(url: string): 'healthz' | 'readyz' | undefined {
  const path = url.split('?', 1)[0];
  if (path === '/healthz') return 'healthz';
  return path === '/readyz' ? 'readyz' : undefined;
}
