import { BundleError } from '../core/errors.ts';
import type { Context } from './context.ts';
import { OPTIONS, type OptionName } from './options.ts';

/** Long flags as written, up to `--`, with what stands behind their `=`. */
function longFlags(argv: readonly string[]): { name: string; value: string | undefined }[] {
  const end = argv.indexOf('--');
  return (end === -1 ? argv : argv.slice(0, end)).flatMap((word) => {
    const match = /^--([a-z][a-z-]*)(?:=(.*))?$/s.exec(word);
    return match === null ? [] : [{ name: match[1] as string, value: match[2] }];
  });
}

/** How a failure is to be told is known from the words alone: the command line itself may be what failed. */
export function failureStyle(argv: readonly string[], env: Context['env']): { json: boolean; verbose: boolean } {
  const isOn = (name: OptionName): boolean => {
    const said = longFlags(argv).findLast((flag) => flag.name === name);
    if (said !== undefined) return said.value !== 'false';
    return ['1', 'true', 'yes'].includes(env[`BUNDLE_${name.toUpperCase()}`]?.toLowerCase() ?? '');
  };
  return { json: isOn('json'), verbose: isOn('verbose') || argv.some((word) => /^-[a-z]*v[a-z]*$/.test(word)) };
}

/** yargs reads `--dry-run=yes` as "no": every value of a flag but true and false is refused. @throws BundleError E_USAGE */
export function checkFlagValues(argv: readonly string[]): void {
  const flags = Object.entries(OPTIONS).filter(([, { type }]) => type === 'boolean');
  const names = new Set(flags.flatMap(([name, options]) => ['alias' in options ? String(options.alias) : name, name]));
  for (const { name, value } of longFlags(argv))
    if (value !== undefined && names.has(name) && value !== 'true' && value !== 'false')
      throw new BundleError('E_USAGE', `--${name}=${value.slice(0, 60)}: want true or false, or nothing behind it`);
}
