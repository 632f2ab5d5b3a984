import { parseReference, targetRepository } from '../core/reference.ts';

export type Place = Readonly<{ repository: string; tag: string | undefined }>;

/** Where a reference and its aliases live below a target (design.md section 6): its own place first. */
export function placesOf(ref: string, aliases: readonly string[]): Place[] {
  const parsed = parseReference(ref);
  const others = aliases.map((alias) => {
    const at = alias.lastIndexOf(':');
    return { repository: alias.slice(0, at), tag: alias.slice(at + 1) };
  });
  return [{ repository: targetRepository(parsed), tag: parsed.tag }, ...others];
}
