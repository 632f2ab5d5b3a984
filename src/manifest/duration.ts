import { durationMs } from '../core/duration.ts';
import { BundleError } from '../core/errors.ts';

/** Ten years: more is "never", which is said by leaving `expires` out. */
const LONGEST_MS = 3650 * 86_400_000;

/** `12h`, `30d`, `6w` in milliseconds. Months are left out because `m` is minutes to half of the readers. @throws BundleError E_MANIFEST */
export function parseDuration(text: string): number {
  const ms = durationMs(text, 'hdw');
  if (ms !== undefined && ms <= LONGEST_MS) return ms;
  const why =
    ms === undefined ? 'is not a duration such as 12h, 30d or 6w' : 'is longer than ten years (3650d); leave it out for "never"';
  throw new BundleError('E_MANIFEST', `${JSON.stringify(text.slice(0, 60))} ${why}`);
}
