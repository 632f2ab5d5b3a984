/**
 * Makes an ELF program look for libraries in a folder beside itself, by an edit in place: no byte of it moves.
 *
 * The path needs a place in the string table, which is full. It gets the place of the name of one exported function that only native
 * add-ons would look up (`napi_…`); a single executable loads none. One unused entry of the dynamic section becomes the RUNPATH.
 */

import { type Elf, firstValue, offsetOf, readElf, TAG, textAt } from './elf.ts';

const SYMBOL_SIZE = 24;
const RELA_SIZE = 24;
const DONOR = /^napi_/;

type Symbol = Readonly<{ index: number; name: number; defined: boolean }>;

function readSymbols(elf: Elf): Symbol[] {
  const start = offsetOf(elf, firstValue(elf, TAG.symbolTable));
  // Linkers put the string table right behind the symbols: that is where these end.
  const end = offsetOf(elf, firstValue(elf, TAG.stringTable));
  const count = Math.floor((end - start) / SYMBOL_SIZE);
  return Array.from({ length: count }, (_, index) => {
    const at = start + index * SYMBOL_SIZE;
    return { index, name: elf.bytes.readUInt32LE(at), defined: elf.bytes.readUInt16LE(at + 6) !== 0 };
  });
}

/** Indexes of the symbols that the loader itself looks up. */
function relocatedSymbols(elf: Elf): Set<number> {
  const found = new Set<number>();
  for (const [table, size] of [
    [TAG.rela, TAG.relaSize],
    [TAG.jumpRela, TAG.jumpRelaSize],
  ] as const) {
    const start = offsetOf(elf, firstValue(elf, table));
    for (let at = start; at < start + firstValue(elf, size); at += RELA_SIZE) found.add(elf.bytes.readUInt32LE(at + 12));
  }
  return found;
}

/** A name that can go: defined here, never relocated, long enough, and no other name is a tail of it in the table. */
function findDonor(elf: Elf, length: number): number {
  const symbols = readSymbols(elf);
  const relocated = relocatedSymbols(elf);
  const uses = new Map<number, number>();
  for (const { name } of symbols) uses.set(name, (uses.get(name) ?? 0) + 1);
  const shared = (start: number, end: number): boolean => {
    if (uses.get(start) !== 1) return true;
    for (let at = start + 1; at <= end; at++) if (uses.has(at)) return true;
    return false;
  };
  for (const { index, name, defined } of symbols) {
    if (!defined || relocated.has(index)) continue;
    const text = textAt(elf, name);
    if (text.length >= length && DONOR.test(text) && !shared(name, name + text.length)) return name;
  }
  throw new Error('no exported napi_ name can give its place to the RUNPATH');
}

/** Sets the RUNPATH in the bytes of a Node binary. Throws when it has one already or there is no room. */
export function setRunPath(bytes: Buffer, path: string): void {
  const elf = readElf(bytes);
  if (elf.entries.some((each) => each.tag === TAG.runPath || each.tag === TAG.rpath))
    throw new Error('the program has a RUNPATH already');
  const last = elf.entries.at(-1);
  if (last?.tag !== TAG.null || elf.entries.length >= elf.capacity) throw new Error('the dynamic section has no unused entry');
  const name = findDonor(elf, path.length);
  const at = offsetOf(elf, firstValue(elf, TAG.stringTable)) + name;
  bytes.fill(0, at, at + textAt(elf, name).length);
  bytes.write(path, at, 'latin1');
  bytes.writeBigUInt64LE(BigInt(TAG.runPath), last.at);
  bytes.writeBigUInt64LE(BigInt(name), last.at + 8);
}

/** The RUNPATH of a program, or nothing. */
export function runPathOf(elf: Elf): string | undefined {
  const entry = elf.entries.find((each) => each.tag === TAG.runPath);
  return entry && textAt(elf, entry.value);
}

/** The bytes without what is never loaded (symbols for debuggers, section headers): a fifth less to carry. */
export function withoutDebugSymbols(bytes: Buffer, loadedEnd: number): Buffer {
  const kept = Buffer.from(bytes.subarray(0, loadedEnd));
  kept.writeBigUInt64LE(0n, 40); // e_shoff
  kept.writeUInt16LE(0, 60); // e_shnum
  kept.writeUInt16LE(0, 62); // e_shstrndx
  return kept;
}
