/** Faults that strike single requests: so many times, on what matches. */
import type { Exchange, HostName, RequestKind } from './exchange.ts';

export type EarlyAction =
  /** An answer instead of the real one. `body` as a number: so many bytes of filler. */
  | Readonly<{ kind: 'answer'; status: number; headers?: Readonly<Record<string, string>>; body?: string | Buffer | number }>
  | Readonly<{ kind: 'redirect'; to: string; status?: number }>
  /** Read nothing, say nothing, until the caller gives up. */
  | Readonly<{ kind: 'hang' }>
  /** The connection goes away before an answer. */
  | Readonly<{ kind: 'reset' }>
  /** The connection goes away after so many bytes of the request's body. */
  | Readonly<{ kind: 'cut-request'; after: number }>
  /** The request is carried out, and the answer is lost. */
  | Readonly<{ kind: 'lose' }>;

export type ContentAction =
  /** The length is announced in full, and the connection goes away after so many bytes. */
  | Readonly<{ kind: 'cut'; after: number }>
  /** A shorter body that HTTP can't see is short. */
  | Readonly<{ kind: 'short'; bytes: number }>
  | Readonly<{ kind: 'drip'; bytes: number; everyMs: number }>
  /** One bit of the byte at this offset is another. */
  | Readonly<{ kind: 'flip'; at: number }>
  /** More bytes than promised; with `length: 'hidden'` without a Content-Length. */
  | Readonly<{ kind: 'append'; bytes: number; length?: 'told' | 'hidden' }>
  /** No Content-Length and no end. */
  | Readonly<{ kind: 'endless' }>;

/** Headers replaced (undefined: left out) on an answer that is otherwise the real one. */
export type HeaderAction = Readonly<{ kind: 'headers'; set: Readonly<Record<string, string | undefined>> }>;

export type Action = EarlyAction | ContentAction | HeaderAction;

export type Fault = Readonly<{
  /** default: everything */
  on?: RequestKind | readonly RequestKind[];
  /** default: every host */
  at?: HostName;
  method?: string;
  path?: RegExp;
  /** default 1; Infinity: always */
  times?: number;
  /** so many matching requests pass first */
  skip?: number;
  does: Action;
}>;

/** What `inject` gives back: how often it struck, and a way to end it. */
export type Injected = { readonly fault: Fault; hits: number; passed: number; stop(): void };

const EARLY = new Set(['answer', 'redirect', 'hang', 'reset', 'cut-request', 'lose']);
const PHASE_OF = (action: Action): 'early' | 'headers' | 'content' =>
  EARLY.has(action.kind) ? 'early' : action.kind === 'headers' ? 'headers' : 'content';

function matches(fault: Fault, x: Exchange): boolean {
  const kinds = fault.on === undefined ? undefined : [fault.on].flat();
  if (kinds !== undefined && !kinds.includes(x.record.kind)) return false;
  if (fault.at !== undefined && fault.at !== x.at) return false;
  if (fault.method !== undefined && fault.method !== x.method) return false;
  return fault.path === undefined || fault.path.test(x.rawUrl);
}

function take(x: Exchange, phase: 'early' | 'headers' | 'content'): Action | undefined {
  for (const injected of x.world.injected) {
    const { fault } = injected;
    if (PHASE_OF(fault.does) !== phase || !matches(fault, x)) continue;
    if (injected.passed < (fault.skip ?? 0)) {
      injected.passed++;
      continue;
    }
    if (injected.hits >= (fault.times ?? 1)) continue;
    injected.hits++;
    return fault.does;
  }
  return undefined;
}

export const takeEarly = (x: Exchange): EarlyAction | undefined => take(x, 'early') as EarlyAction | undefined;
export const takeContent = (x: Exchange): ContentAction | undefined => take(x, 'content') as ContentAction | undefined;
export const takeHeaders = (x: Exchange): HeaderAction | undefined => take(x, 'headers') as HeaderAction | undefined;
