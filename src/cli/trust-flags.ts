import { BundleError } from '../core/errors.ts';
import type { KeyToAdd } from '../sign/trust-change.ts';
import { numberFlag } from './command.ts';
import type { Context } from './context.ts';
import type { Args } from './options.ts';
import { DEFAULT_STATE } from './ports.ts';

/**
 * NAME=FILE.pub, each with the terms that the flags give. A time that is over is allowed and warned of: as a rule a slip, and for all of them.
 * @param now milliseconds since 1970
 * @throws BundleError E_USAGE, E_TRUST_FILE
 */
export async function keysToAdd(specs: readonly string[], args: Args, context: Context, now: number): Promise<KeyToAdd[]> {
  const { loadTrustPath } = await import('../sign/trust.ts');
  const terms = { from: timeFlag(args, 'from'), until: timeFlag(args, 'until'), bundles: args['for-bundle'] };
  const found: KeyToAdd[] = [];
  for (const spec of specs) {
    const [, name, file] = /^([^=]+)=(.+)$/s.exec(spec) ?? [];
    if (name === undefined || file === undefined)
      throw new BundleError('E_USAGE', `${JSON.stringify(spec).slice(0, 100)} is not NAME=FILE.pub`, {
        hint: 'for example anna=anna.pub',
      });
    const { keys } = await loadTrustPath(context.fs, file);
    const [key] = keys;
    if (key === undefined || keys.length > 1)
      throw new BundleError('E_TRUST_FILE', `${file} holds ${keys.length} keys, want one for the name ${name}`);
    const { pem, spkiDer, keyid, hint } = key;
    found.push({ name, key: { pem, spkiDer, keyid, hint }, ...terms });
  }
  if (found.length > 0 && terms.until !== undefined && Date.parse(terms.until) <= now)
    context.stderr(`warning: --until ${terms.until} is over: ${found.map(({ name }) => name).join(', ')} will not count\n`);
  return found;
}

export const thresholdOf = (args: Args): number | undefined => numberFlag(args, 'threshold', 1, 256);

/** A date means its first second, in UTC. */
function timeFlag(args: Args, flag: 'from' | 'until'): string | undefined {
  const text = args[flag];
  if (text === undefined) return undefined;
  const full = /^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text;
  const parsed = new Date(full);
  // Date takes the 31st of February for the 3rd of March.
  if (Number.isNaN(parsed.getTime()) || `${parsed.toISOString().slice(0, 19)}Z` !== full)
    throw new BundleError('E_USAGE', `--${flag} ${JSON.stringify(text)} is no time such as 2027-01-01 or 2027-01-01T08:00:00Z`);
  return full;
}

/** The clock, but never earlier than what this machine has seen: set back, it must not bring an expired key back. */
export async function timeFor(args: Args, context: Context): Promise<number> {
  const { newestSeen } = await import('../load/state.ts');
  return Math.max(context.now(), await newestSeen(context.fs, args.state ?? DEFAULT_STATE));
}
