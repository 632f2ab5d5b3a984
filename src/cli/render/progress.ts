import type { ProgressEvent, Reporter } from '../../core/progress.ts';
import type { Context } from '../context.ts';
import type { Args } from '../options.ts';
import { formatBytes } from './bytes.ts';

export type ProgressMode = 'bars' | 'plain' | 'json' | 'none';
export type Progress = Readonly<{ report: Reporter; end: () => void }>;

/** A pipe, NO_COLOR or TERM=dumb turn bars off; --quiet turns all of it off. */
export function progressMode(args: Args, context: Context): ProgressMode {
  if (args.quiet) return 'none';
  const asked = args.progress ?? 'auto';
  if (asked !== 'auto') return asked as ProgressMode;
  return context.stderrIsTerminal && !context.env.NO_COLOR && context.env.TERM !== 'dumb' ? 'bars' : 'plain';
}

export function createProgress(args: Args, context: Context): Progress {
  const mode = progressMode(args, context);
  if (mode === 'none') return { report: () => undefined, end: () => undefined };
  if (mode === 'json') return { report: (event) => context.stderr(`${JSON.stringify(event)}\n`), end: () => undefined };
  return mode === 'bars' ? createBar(context) : createPlain(context);
}

const PHASES: Readonly<Record<string, string>> = {
  resolve: 'resolving references',
  plan: 'reading manifests',
  fetch: 'fetching',
  verify: 'verifying signatures, then every byte',
  push: 'pushing',
  tag: 'moving tags',
  commit: 'committing the generation',
};

function lineOf(event: ProgressEvent): string | undefined {
  if (event.type === 'phase') return `${PHASES[event.phase]}${event.detail === undefined ? '' : ` to ${event.detail}`}`;
  if (event.type === 'warning') return `warning: ${event.text}`;
  if (event.type !== 'item') return undefined;
  const size = event.bytes ? `  ${formatBytes(event.bytes)}` : '';
  return `  ${event.outcome.padEnd(9)} ${event.name}${size}${event.detail === undefined ? '' : `  (${event.detail})`}`;
}

function createPlain(context: Context): Progress {
  return {
    report(event) {
      const line = lineOf(event);
      if (line !== undefined) context.stderr(`${line}\n`);
    },
    end: () => undefined,
  };
}

const FRAME_MS = 100;

/** Finished items scroll by; one bar below them shows bytes, rate and time left. */
function createBar(context: Context): Progress {
  let total = 0;
  let done = 0;
  let started = context.now();
  let drawnAt = 0;
  let shown = false;
  const clear = (): void => {
    if (shown) context.stderr('\r\x1b[2K');
    shown = false;
  };
  const draw = (): void => {
    const now = context.now();
    if (total === 0 || now - drawnAt < FRAME_MS) return;
    drawnAt = now;
    context.stderr(`\r\x1b[2K${barLine(done, total, now - started, context.terminalWidth())}`);
    shown = true;
  };
  return {
    report(event) {
      if (event.type === 'total') {
        total = event.bytes;
        done = 0;
        started = context.now();
      } else if (event.type === 'bytes') {
        done += event.count;
        draw();
      } else {
        if (event.type === 'phase') total = 0;
        clear();
        const line = lineOf(event);
        if (line !== undefined) context.stderr(`${line}\n`);
      }
    },
    end: clear,
  };
}

/** @param elapsed milliseconds */
export function barLine(done: number, total: number, elapsed: number, width: number): string {
  const share = Math.min(1, done / total);
  const rate = elapsed > 0 ? (done / elapsed) * 1000 : 0;
  const left = rate > 0 ? Math.max(0, Math.round((total - done) / rate)) : 0;
  const text = ` ${Math.floor(share * 100)}%  ${formatBytes(done)} of ${formatBytes(total)}  ${formatBytes(Math.round(rate))}/s  ${left} s left`;
  const cells = Math.max(5, Math.min(40, width - text.length - 4));
  const full = Math.round(share * cells);
  return `[${'#'.repeat(full)}${'.'.repeat(cells - full)}]${text}`.slice(0, Math.max(10, width - 1));
}
