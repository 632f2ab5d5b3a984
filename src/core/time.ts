import * as z from 'zod';

/** RFC 3339, whole seconds in UTC: one spelling of one moment, so that the same content is the same bytes, and text sorts as time does. */
const FORM = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

/** `2026-11-21T08:00:00Z` @param ms milliseconds since 1970 */
export const instant = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

/** True for a moment in the one form; a day that no calendar has (February 30) is none. */
function isInstant(text: string): boolean {
  const ms = FORM.test(text) ? Date.parse(text) : Number.NaN;
  // Date takes the 30th of February for the 2nd of March.
  return !Number.isNaN(ms) && instant(ms) === text;
}

export const timeSchema = z.string().refine(isInstant, 'not a time such as 2026-11-21T08:00:00Z');
