/** Reads a 64-bit little-endian ELF file as its dynamic loader does: program headers and the dynamic section, no sections. */

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const SEGMENT_SIZE = 56;
const ENTRY_SIZE = 16;

/** Tags of the dynamic section (System V gABI, chapter 5; GNU's version extensions). */
export const TAG = {
  null: 0,
  needed: 1,
  stringTable: 5,
  symbolTable: 6,
  rela: 7,
  relaSize: 8,
  stringSize: 10,
  soname: 14,
  rpath: 15,
  jumpRelaSize: 2,
  jumpRela: 23,
  runPath: 29,
  versionNeeds: 0x6ffffffe,
  versionNeedCount: 0x6fffffff,
} as const;

export type Segment = Readonly<{ type: number; offset: number; address: number; fileSize: number }>;
export type Entry = Readonly<{ tag: number; value: number; at: number }>;
export type Elf = Readonly<{
  bytes: Buffer;
  segments: readonly Segment[];
  /** Entries of the dynamic section up to and with the first null; `at` is the file offset of each. */
  entries: readonly Entry[];
  /** How many entries there is room for. */
  capacity: number;
}>;

const big = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at));

function readSegments(bytes: Buffer): Segment[] {
  const start = big(bytes, 32);
  const count = bytes.readUInt16LE(56);
  return Array.from({ length: count }, (_, index) => {
    const at = start + index * SEGMENT_SIZE;
    return {
      type: bytes.readUInt32LE(at),
      offset: big(bytes, at + 8),
      address: big(bytes, at + 16),
      fileSize: big(bytes, at + 32),
    };
  });
}

/** Parses the headers. Throws on anything but a dynamic 64-bit little-endian ELF file. */
export function readElf(bytes: Buffer): Elf {
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1)
    throw new Error('not a 64-bit little-endian ELF file');
  const segments = readSegments(bytes);
  const dynamic = segments.find((each) => each.type === PT_DYNAMIC);
  if (!dynamic) throw new Error('a static ELF file: nothing is loaded with it');
  const capacity = dynamic.fileSize / ENTRY_SIZE;
  const entries: Entry[] = [];
  for (let index = 0; index < capacity; index++) {
    const at = dynamic.offset + index * ENTRY_SIZE;
    entries.push({ tag: big(bytes, at), value: big(bytes, at + 8), at });
    if (entries.at(-1)?.tag === TAG.null) break;
  }
  return { bytes, segments, entries, capacity };
}

/** The value of the first entry with `tag`. Throws when there is none. */
export function firstValue(elf: Elf, tag: number): number {
  const entry = elf.entries.find((each) => each.tag === tag);
  if (!entry) throw new Error(`the dynamic section has no entry with tag ${tag}`);
  return entry.value;
}

/** The file offset of a virtual address. Throws when no loaded part of the file holds it. */
export function offsetOf(elf: Elf, address: number): number {
  const holder = elf.segments.find(
    (each) => each.type === PT_LOAD && address >= each.address && address < each.address + each.fileSize,
  );
  if (!holder) throw new Error(`address 0x${address.toString(16)} is in no loaded segment`);
  return address - holder.address + holder.offset;
}

/** Where the last byte that is loaded into memory ends in the file: behind it are symbols for debuggers and section headers. */
export const endOfLoaded = (elf: Elf): number =>
  Math.max(...elf.segments.filter((each) => each.type === PT_LOAD).map((each) => each.offset + each.fileSize));

/** The NUL-ended text at `index` of the dynamic string table. */
export function textAt(elf: Elf, index: number): string {
  const start = offsetOf(elf, firstValue(elf, TAG.stringTable)) + index;
  return elf.bytes.toString('latin1', start, elf.bytes.indexOf(0, start));
}

/** Names of the libraries that the file needs. */
export const neededBy = (elf: Elf): string[] =>
  elf.entries.filter((each) => each.tag === TAG.needed).map((each) => textAt(elf, each.value));

/** Symbol versions that the file wants of each library, as `GLIBC_2.28`. */
export function versionsNeededBy(elf: Elf): { library: string; version: string }[] {
  const found: { library: string; version: string }[] = [];
  if (!elf.entries.some((each) => each.tag === TAG.versionNeeds)) return found;
  let at = offsetOf(elf, firstValue(elf, TAG.versionNeeds));
  for (let left = firstValue(elf, TAG.versionNeedCount); left > 0; left--) {
    // Elfxx_Verneed: version, count, file, aux, next. Elfxx_Vernaux: hash, flags, other, name, next.
    const library = textAt(elf, elf.bytes.readUInt32LE(at + 4));
    let aux = at + elf.bytes.readUInt32LE(at + 8);
    for (let versions = elf.bytes.readUInt16LE(at + 2); versions > 0; versions--) {
      found.push({ library, version: textAt(elf, elf.bytes.readUInt32LE(aux + 8)) });
      aux += elf.bytes.readUInt32LE(aux + 12);
    }
    at += elf.bytes.readUInt32LE(at + 12);
  }
  return found;
}
