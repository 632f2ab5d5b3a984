import { BundleError, type ErrorCode } from './errors.ts';
import { LIMITS } from './limits.ts';

export type JsonObject = { readonly [key: string]: unknown };

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Parses JSON that somebody else wrote: UTF-8 only, an object at the top, no duplicate keys (readers disagree on which one counts,
 * CVE-2021-41190's family), bounded depth (JSON.stringify overflows the stack where JSON.parse does not).
 * @throws BundleError `code`
 */
export function parseStrictJson(bytes: Uint8Array, what: string, code: ErrorCode): JsonObject {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new BundleError(code, `${what} is not UTF-8`, { cause: error });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    // The parser's own message quotes the text around the fault, and the text may be a credentials file.
    const position = /position (\d+)/.exec((error as Error).message)?.[1];
    throw new BundleError(code, `${what} is not JSON${position === undefined ? '' : ` (at character ${position})`}`);
  }
  const fault = structureFault(text);
  if (fault !== undefined) throw new BundleError(code, `${what}: ${fault}`);
  if (!isObject(value)) throw new BundleError(code, `${what} is not a JSON object`);
  return value;
}

/** Finds duplicate keys and excess depth in text that JSON.parse has accepted; one pass, no recursion. */
function structureFault(text: string): string | undefined {
  const scopes: (Set<string> | undefined)[] = [];
  let expectKey = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '"') {
      const start = i;
      for (i++; text[i] !== '"'; i++) if (text[i] === '\\') i++;
      const keys = scopes.at(-1);
      if (!expectKey || keys === undefined) continue;
      const key = JSON.parse(text.slice(start, i + 1)) as string;
      if (keys.has(key)) return `the key ${JSON.stringify(key.slice(0, 60))} occurs twice in one object`;
      keys.add(key);
      expectKey = false;
    } else if (c === '{' || c === '[') {
      if (scopes.length >= LIMITS.jsonDepth) return `nested deeper than ${LIMITS.jsonDepth}`;
      scopes.push(c === '{' ? new Set() : undefined);
      expectKey = c === '{';
    } else if (c === '}' || c === ']') {
      scopes.pop();
      expectKey = false;
    } else if (c === ',') {
      expectKey = scopes.at(-1) !== undefined;
    }
  }
  return undefined;
}

/** Two spaces and a newline at the end: what we write for people to read and for diffs. */
export const prettyJson = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** Byte order, not locale order: the same everywhere. */
export const byteOrder = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** An untrusted value for an error message: as JSON, at most 100 characters. */
export const shown = (value: unknown): string => (JSON.stringify(value) ?? 'nothing').slice(0, 100);
