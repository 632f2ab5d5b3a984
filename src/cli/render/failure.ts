import { type BundleError, exitCodeOf, isBundleError } from '../../core/errors.ts';
import { printable } from '../../core/printable.ts';
import type { Context } from '../context.ts';

/** One place where an error becomes words and an exit code. With `json` the same goes to standard output as a document. */
export function reportFailure(error: unknown, context: Context, options: { json: boolean; verbose: boolean }): number {
  const known = isBundleError(error) ? error : undefined;
  const code = known?.code ?? 'E_UNEXPECTED';
  const exitCode = exitCodeOf(code);
  const message = known?.message ?? (error instanceof Error ? error.message : String(error));
  context.stderr(`error: ${forTerminal(message)}\n`);
  const hint =
    known?.hint ??
    (exitCode === 5 && known?.origin === 'bundle' ? 'this is not what was signed: copy the bundle again' : undefined);
  if (hint !== undefined) context.stderr(`  hint: ${forTerminal(hint)}\n`);
  context.stderr(`  ${code}, exit code ${exitCode}\n`);
  if (known === undefined) context.stderr('  this is a fault of bundle itself; run again with -v and report what it prints\n');
  if (options.verbose && error instanceof Error) context.stderr(`${stackOf(error)}\n`);
  if (options.json)
    context.stdout(`${JSON.stringify({ ok: false, error: describe(known, message, code), exitCode }, null, 2)}\n`);
  return exitCode;
}

/** Names out of a file or an answer may be in a message: they must not steer the terminal. */
const forTerminal = (text: string): string =>
  text
    .split('\n')
    .map((line) => printable(line, 8000))
    .join('\n');

/** A signal is no failure of ours: one line, and the shell's exit code for it (128 + number). */
export function reportInterrupted(context: Context, json: boolean): number {
  const exitCode = context.signal.reason === 'SIGTERM' ? 143 : exitCodeOf('E_INTERRUPTED');
  const message = 'interrupted; run the same command again, it goes on where it stopped';
  context.stderr(`${message}\n`);
  if (json) context.stdout(`${JSON.stringify({ ok: false, error: { code: 'E_INTERRUPTED', message }, exitCode }, null, 2)}\n`);
  return exitCode;
}

const describe = (error: BundleError | undefined, message: string, code: string) => ({
  code,
  message,
  ...(error?.hint === undefined ? {} : { hint: error.hint }),
  ...(error?.origin === undefined ? {} : { origin: error.origin }),
  ...(error === undefined || Object.keys(error.detail).length === 0 ? {} : { detail: error.detail }),
});

function stackOf(error: Error): string {
  const own = error.stack ?? error.message;
  return error.cause instanceof Error ? `${own}\ncaused by ${stackOf(error.cause)}` : own;
}

/** The one document that `--json` promises. */
export const printJson = (context: Context, value: Readonly<Record<string, unknown>>): void =>
  context.stdout(`${JSON.stringify({ ok: true, ...value }, null, 2)}\n`);
