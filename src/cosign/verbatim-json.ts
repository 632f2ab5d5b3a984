import type { JsonObject } from '../core/json.ts';

declare global {
  /** ECMAScript's "JSON.parse source text access", which every Node that we run on has and TypeScript does not declare yet. */
  interface JSON {
    parse(
      text: string,
      reviver: (this: unknown, key: string, value: unknown, context: Readonly<{ source?: string }>) => unknown,
    ): unknown;
    rawJSON(text: string): object;
  }
}

/**
 * JSON of others that is to be written again: numbers that JavaScript can't hold (2^53 and more, `1.0`, `-0`) stay as they were written. For fields that
 * we pass on and don't read.
 * @param bytes what parseStrictJson has accepted
 */
export const verbatimJson = (bytes: Uint8Array): JsonObject =>
  JSON.parse(Buffer.from(bytes).toString('utf8'), (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined && String(value) !== source ? JSON.rawJSON(source) : value,
  ) as JsonObject;
