import { isBundleError } from '../core/errors.ts';
import type { Clock } from './clock.ts';
import type { HttpResponse } from './transport.ts';

/** Worth another try: the way broke, nobody refused. */
export const isTransient = (error: unknown): boolean =>
  isBundleError(error) && (error.code === 'E_NETWORK' || error.code === 'E_TIMEOUT');

/** 0.25, 0.5, 1, 2, 4 s with a spread, so that many blobs don't come back at one instant. */
export const backoffMs = (attempt: number): number => Math.min(8000, 250 * 2 ** (attempt - 1)) * (0.75 + Math.random() / 2);

/** Retry-After in seconds or as a date (RFC 9110 section 10.2.3), else our own back-off. Negative and unreadable values count as absent. */
export function retryDelay(response: Pick<HttpResponse, 'header'>, attempt: number, clock: Pick<Clock, 'now'>): number {
  const value = response.header('retry-after')?.trim();
  if (value === undefined) return backoffMs(attempt);
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? backoffMs(attempt) : Math.max(0, date - clock.now());
}
