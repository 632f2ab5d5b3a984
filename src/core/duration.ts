const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
  ['w', 7 * 86_400_000],
]);

/**
 * `30s`, `12h`, `30d` in milliseconds; undefined for anything else.
 * @param units those that may be written, such as `hdw`
 */
export function durationMs(text: string, units: string): number | undefined {
  const match = /^([1-9][0-9]{0,5})([a-z])$/.exec(text);
  const unit = match?.[2] ?? '';
  const ms = UNIT_MS.get(unit);
  return match === null || ms === undefined || !units.includes(unit) ? undefined : Number(match[1]) * ms;
}
