/** Byte ranges, `end` exclusive. */
export type ByteRange = Readonly<{ start: number; end: number }>;

/**
 * `Range: bytes=…` of a GET against `size` bytes (RFC 9110 section 14). Several ranges, other units and what can't be read are ignored, which
 * means the whole; `bytes=500-0` could be ignored too, but 416 tells the client that it made a mistake.
 * @returns 'whole', 'unsatisfiable' (416), or the range clamped to the size
 */
export function parseRange(header: string | undefined, size: number): ByteRange | 'whole' | 'unsatisfiable' {
  const match = header === undefined ? null : /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(header);
  if (match === null) return 'whole';
  const [first, last] = [match[1] as string, match[2] as string];
  if (first === '' && last === '') return 'whole';
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size };
  }
  const start = Number(first);
  const end = last === '' ? size : Math.min(Number(last) + 1, size);
  return start >= end ? 'unsatisfiable' : { start, end };
}

/**
 * `Content-Range: 0-1023` of an upload chunk: no unit and no total, unlike HTTP's own (distribution-spec "Pushing a blob in chunks"); those
 * who send them anyway are understood.
 */
export function parseContentRange(header: string): ByteRange | undefined {
  const match = /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/(?:\d+|\*))?$/.exec(header.trim());
  if (match === null) return undefined;
  const [start, end] = [Number(match[1]), Number(match[2]) + 1];
  return end > start ? { start, end } : undefined;
}

/** The `Range` header of an upload: the last byte held. An empty session has none; `0-0` is the common form. */
export const uploadRange = (received: number): string => `0-${Math.max(0, received - 1)}`;
