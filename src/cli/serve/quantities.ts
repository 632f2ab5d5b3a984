import { durationMs } from '../../core/duration.ts';
import { BundleError } from '../../core/errors.ts';
import type { Args, OptionName } from '../options.ts';

const LONGEST_MS = 3650 * 86_400_000;
/** Node's timers overflow beyond 2^31 ms and then fire at once. */
export const LONGEST_TIMER_MS = 24 * 86_400_000;

/** `30s`, `10m`, `24h`, `30d`, `2w` in milliseconds; `0` where it turns something off. @throws BundleError E_USAGE */
export function durationFlag(
  args: Args,
  name: OptionName,
  options: Readonly<{ zero?: boolean; mostMs?: number }> = {},
): number | undefined {
  const text = args[name];
  if (text === undefined) return undefined;
  if (options.zero && text === '0') return 0;
  const ms = durationMs(String(text), 'smhdw');
  const { mostMs = LONGEST_MS } = options;
  if (ms !== undefined && ms <= mostMs) return ms;
  const off = options.zero ? ', or 0 for never' : '';
  const why =
    ms === undefined
      ? `is not a duration such as 30s, 10m, 24h or 30d${off}`
      : `is longer than ${Math.floor(mostMs / 86_400_000)}d`;
  throw new BundleError('E_USAGE', `--${name}: ${JSON.stringify(String(text).slice(0, 60))} ${why}`);
}

export type Floor = Readonly<{ bytes: number } | { percent: number }>;

const UNITS = ['', 'k', 'm', 'g', 't'];

/** `10GiB`, `500M` (powers of 1024, as df -h has them), `5%` of the file system. @throws BundleError E_USAGE */
export function floorFlag(args: Args, name: OptionName): Floor | undefined {
  const text = args[name];
  if (text === undefined) return undefined;
  const match = /^(\d{1,12})(?:(%)|([kmgt]?)(?:i?b)?)$/i.exec(String(text));
  const number = Number(match?.[1]);
  if (match?.[2] === '%' && number <= 90) return { percent: number };
  const bytes = number * 1024 ** UNITS.indexOf((match?.[3] ?? '').toLowerCase());
  if (match !== null && match[2] === undefined && Number.isSafeInteger(bytes)) return { bytes };
  throw new BundleError(
    'E_USAGE',
    `--${name}: ${JSON.stringify(String(text).slice(0, 60))} is not a size such as 10GiB or 500M, or a share up to 90%`,
  );
}
