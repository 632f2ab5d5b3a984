import { isBundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { ResponseRecord } from './access-log.ts';

/** What the distribution-spec puts into queries, and nothing secret. Any other value may be one: the name alone is told. */
const HARMLESS = new Set(['n', 'last', 'digest', 'digest-algorithm', 'mount', 'from', 'artifactType', 'tag']);

/** One JSON line: who asked what, and what came of it. Control characters come out escaped, credentials not at all. @param time milliseconds since 1970 */
export function logLine(record: ResponseRecord, time: number): string {
  const { id, peer, user, method, route, status, received, sent, milliseconds, whole, authorization, range, userAgent } = record;
  const line = {
    time: new Date(time).toISOString(),
    id,
    peer,
    user,
    authorization,
    method,
    url: cleanUrl(record.url),
    route,
    status,
    received,
    sent,
    ms: Math.round(milliseconds * 10) / 10,
    // Cut off in the middle: by the client, or by us for a reason that `error` gives.
    ...(whole ? {} : { whole }),
    range,
    userAgent,
    ...(record.error === undefined ? {} : { error: errorText(record.error) }),
  };
  return `${JSON.stringify(line, (_, value) => (typeof value === 'string' ? clean(value) : value))}\n`;
}

// JSON escapes C0 by itself; these are what terminals and line readers take for more than a character.
const ODD = /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;
const clean = (text: string): string =>
  text.slice(0, LIMITS.logFieldChars).replace(ODD, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** Path and query, without values that might be secret and without what stands before an "@" in an absolute target. */
function cleanUrl(url: string): string {
  const mark = url.indexOf('?');
  const path = (mark === -1 ? url : url.slice(0, mark)).replace(/^([a-z]+:\/\/)[^/]*@/i, '$1');
  if (mark === -1) return path;
  const shown = url
    .slice(mark + 1, mark + 1 + LIMITS.logFieldChars)
    .split('&')
    .map((part) =>
      HARMLESS.has(part.split('=', 1)[0] ?? '') ? part : `${part.split('=', 1)[0]}${part.includes('=') ? '=…' : ''}`,
    );
  // A part without "=" is all name: it is told only where it is a name that we know.
  const safe = shown.map((part) => (part.includes('=') || HARMLESS.has(part) ? part : part === '' ? '' : '…'));
  return `${path}?${safe.join('&')}`;
}

function errorText(error: unknown): string {
  if (isBundleError(error)) return `${error.code}: ${error.message}`;
  const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : '';
  return `${error instanceof Error ? error.message : String(error)}${cause}`;
}
