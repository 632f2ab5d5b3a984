/**
 * Text that somebody else chose, for an error message: cut to `chars`, and with control and formatting characters as escapes, so that a file can't
 * steer the terminal of the one who checks it.
 */
export const printable = (text: string, chars: number): string =>
  text.slice(0, chars).replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (c) => `\\u{${(c.codePointAt(0) as number).toString(16)}}`);
