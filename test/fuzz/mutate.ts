/** Arbitraries that change a valid document: in its fields where it is JSON, in its words where it is text, in its bytes. */
import fc from 'fast-check';

const HEX = 'a'.repeat(64);

/** Values that readers have stumbled over. */
const odd = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    0,
    -1,
    -0,
    1.5,
    2 ** 53,
    1e308,
    '',
    '..',
    '../../etc/passwd',
    '/etc/passwd',
    '.',
    '\0',
    '\u001b[31m',
    '\ud800',
    '\u212a',
    'constructor',
    '__proto__',
    [],
    {},
    [[]],
    [null],
    { toString: 1, valueOf: 1 },
    { length: 1e9 },
    `sha256:${HEX}`,
    `sha256:${HEX.toUpperCase()}`,
    `sha512:${HEX}`,
    `sha256:${HEX}\n`,
    `md5:${HEX.slice(32)}`,
    '2026-02-30T00:00:00Z',
    '9999-99-99T99:99:99Z',
    'docker.io/library/redis:7',
    'x'.repeat(30_000),
  ),
  fc.string({ maxLength: 20 }),
  fc.integer(),
  fc.double(),
  fc.jsonValue({ maxDepth: 3 }),
);

const names = fc.oneof(
  fc.constantFrom('__proto__', 'constructor', 'toString', 'toJSON', '', 'Digest', 'SIZE', 'x'.repeat(5000), '\u001b[31m'),
  fc.string({ maxLength: 6 }),
);

type FieldChange =
  | Readonly<{ kind: 'replace'; at: number; value: unknown }>
  | Readonly<{ kind: 'delete' | 'double' | 'wrap' | 'case' | 'cut' | 'number'; at: number }>
  | Readonly<{ kind: 'swap'; at: number; other: number }>
  | Readonly<{ kind: 'add'; at: number; name: string; value: unknown }>;

const at = fc.nat({ max: 10_000 });
const fieldChange: fc.Arbitrary<FieldChange> = fc.oneof(
  fc.record({ kind: fc.constant('replace' as const), at, value: odd }),
  fc.record({ kind: fc.constantFrom('delete', 'double', 'wrap', 'case', 'cut', 'number'), at }),
  fc.record({ kind: fc.constant('swap' as const), at, other: at }),
  fc.record({ kind: fc.constant('add' as const), at, name: names, value: odd }),
);

type Loose = { [key: string]: unknown };
type Slot = Readonly<{ holder: Loose; key: string }>;

/** Every place of a document, its own included. */
function slotsOf(holder: Loose): Slot[] {
  return Object.keys(holder).flatMap((key) => {
    const value = holder[key];
    return [{ holder, key }, ...(typeof value === 'object' && value !== null ? slotsOf(value as Loose) : [])];
  });
}

/** Assignment would change the prototype where the key is `__proto__`. */
const put = (holder: Loose, key: string, value: unknown): unknown =>
  Object.defineProperty(holder, key, { value, writable: true, enumerable: true, configurable: true });

const otherCase = (text: string): string => (text === text.toUpperCase() ? text.toLowerCase() : text.toUpperCase());

function apply(root: Loose, change: FieldChange): void {
  const slots = slotsOf(root);
  const { holder, key } = slots[change.at % slots.length] as Slot;
  const value = holder[key];
  if (change.kind === 'replace') put(holder, key, structuredClone(change.value));
  if (change.kind === 'delete') Array.isArray(holder) ? holder.splice(Number(key), 1) : delete holder[key];
  if (change.kind === 'double') {
    if (Array.isArray(holder)) holder.push(structuredClone(value));
    else put(holder, `${key}x`, structuredClone(value));
  }
  if (change.kind === 'wrap') put(holder, key, [value]);
  if (change.kind === 'case') {
    if (typeof value === 'string') put(holder, key, otherCase(value));
    else if (!Array.isArray(holder)) put(holder, otherCase(key), value);
  }
  if (change.kind === 'cut' && typeof value === 'string') put(holder, key, value.slice(0, -1));
  if (change.kind === 'number' && typeof value === 'number') put(holder, key, value + 1);
  if (change.kind === 'swap') {
    const other = slots[change.other % slots.length] as Slot;
    const theirs = structuredClone(other.holder[other.key]);
    put(other.holder, other.key, structuredClone(value));
    put(holder, key, theirs);
  }
  if (change.kind === 'add' && typeof value === 'object' && value !== null && !Array.isArray(value))
    put(value as Loose, change.name, structuredClone(change.value));
}

/** A JSON document of one of these, as a value, with up to three changes. */
export const changedJson = (documents: readonly unknown[]): fc.Arbitrary<unknown> =>
  fc.tuple(fc.constantFrom(...documents), fc.array(fieldChange, { maxLength: 3 })).map(([document, changes]) => {
    const root: Loose = { document: structuredClone(document) };
    for (const change of changes) if (Object.keys(root).length > 0) apply(root, change);
    return root.document;
  });

type ByteChange = Readonly<{ kind: 'flip' | 'cut' | 'double' | 'end' | 'insert'; at: number; length: number; bytes: Uint8Array }>;
const byteChange: fc.Arbitrary<ByteChange> = fc.record({
  kind: fc.constantFrom('flip', 'flip', 'cut', 'double', 'end', 'insert'),
  at: fc.nat({ max: 2 ** 24 }),
  length: fc.nat({ max: 40 }),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 4 }),
});

function withByteChange(bytes: Buffer, { kind, at, length, bytes: fresh }: ByteChange): Buffer {
  const start = bytes.length === 0 ? 0 : at % bytes.length;
  const [before, part, after] = [bytes.subarray(0, start), bytes.subarray(start, start + length), bytes.subarray(start + length)];
  if (kind === 'cut') return Buffer.concat([before, after]);
  if (kind === 'double') return Buffer.concat([before, part, part, after]);
  if (kind === 'end') return before;
  if (kind === 'insert') return Buffer.concat([before, fresh, part, after]);
  const copy = Buffer.from(bytes);
  if (copy.length > 0) copy[start] = (copy[start] as number) ^ (1 << (length % 8));
  return copy;
}

/** One of these, with `min` to `max` changes of its bytes. */
export const changedBytes = (documents: readonly Uint8Array[], min = 0, max = 3): fc.Arbitrary<Buffer> =>
  fc
    .tuple(fc.constantFrom(...documents), fc.array(byteChange, { minLength: min, maxLength: max }))
    .map(([document, changes]) => changes.reduce(withByteChange, Buffer.from(document)));

/** The bytes of a JSON document of one of these: changed in its fields, now and then in its bytes too. */
export const changedJsonBytes = (documents: readonly unknown[]): fc.Arbitrary<Buffer> =>
  fc
    .tuple(changedJson(documents), fc.option(fc.array(byteChange, { maxLength: 2 }), { freq: 4, nil: [] }), fc.boolean())
    .map(([document, changes, pretty]) => {
      const text = JSON.stringify(document, null, pretty ? 2 : 0) ?? '';
      return changes.reduce(withByteChange, Buffer.from(text));
    });

type TextChange = Readonly<{ kind: 'insert' | 'replace' | 'cut' | 'copy'; at: number; length: number; word: string }>;

/** A text of one of these with words of its language put in, ranges taken out or copied elsewhere. */
export function changedText(documents: readonly string[], words: readonly string[], max = 4): fc.Arbitrary<string> {
  const change: fc.Arbitrary<TextChange> = fc.record({
    kind: fc.constantFrom('insert', 'replace', 'cut', 'copy'),
    at: fc.nat({ max: 100_000 }),
    length: fc.nat({ max: 20 }),
    word: fc.oneof({ arbitrary: fc.constantFrom(...words), weight: 4 }, { arbitrary: fc.string({ maxLength: 5 }), weight: 1 }),
  });
  return fc
    .tuple(fc.constantFrom(...documents), fc.array(change, { maxLength: max }))
    .map(([document, changes]) => changes.reduce(withTextChange, document));
}

function withTextChange(text: string, { kind, at, length, word }: TextChange): string {
  const start = at % (text.length + 1);
  const part = text.slice(start, start + length);
  if (kind === 'insert') return text.slice(0, start) + word + text.slice(start);
  if (kind === 'replace') return text.slice(0, start) + word + text.slice(start + length);
  if (kind === 'cut') return text.slice(0, start) + text.slice(start + length);
  const elsewhere = (at * 31) % (text.length + 1);
  return text.slice(0, elsewhere) + part + text.slice(elsewhere);
}
