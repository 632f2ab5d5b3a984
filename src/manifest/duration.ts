import { BundleError } from '../core/errors.ts';

const HOUR = 3_600_000;
const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ['h', HOUR],
  ['d', 24 * HOUR],
  ['w', 7 * 24 * HOUR],
]);
/** Ten years: more is "never", which is said by leaving `expires` out. */
const LONGEST_MS = 3650 * 24 * HOUR;

/** `12h`, `30d`, `6w` in milliseconds. Months are left out because `m` is minutes to half of the readers. @throws BundleError E_MANIFEST */
export function parseDuration(text: string): number {
  const match = /^([1-9][0-9]{0,5})([hdw])$/.exec(text);
  const ms = match === null ? Number.NaN : Number(match[1]) * (UNIT_MS.get(match[2] as string) as number);
  if (ms <= LONGEST_MS) return ms;
  const why =
    match === null ? 'is not a duration such as 12h, 30d or 6w' : 'is longer than ten years (3650d); leave it out for "never"';
  throw new BundleError('E_MANIFEST', `${JSON.stringify(text.slice(0, 60))} ${why}`);
}
