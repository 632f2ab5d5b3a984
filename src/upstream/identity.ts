/**
 * Whether the whole of `identity` is what `pattern` says: `*` stands for any run of characters without `/`, `**` for any run, and everything
 * else for itself. One pass over the identity, without a regular expression: nothing in a pattern could loosen it, and no identity that somebody
 * chooses takes long.
 */
export function matchesIdentity(pattern: string, identity: string): boolean {
  const parts = pattern.match(/\*\*|./gsu) ?? [];
  // The places in the pattern at which one can be after what was read so far.
  let places = closed(parts, new Set([0]));
  for (const character of identity) {
    const next = new Set<number>();
    for (const place of places) {
      const part = parts[place];
      if (part === '**' || (part === '*' && character !== '/')) next.add(place);
      else if (part === character) next.add(place + 1);
    }
    places = closed(parts, next);
    if (places.size === 0) return false;
  }
  return places.has(parts.length);
}

/** A run may be empty. */
function closed(parts: readonly string[], places: Set<number>): Set<number> {
  for (const place of places) if (parts[place] === '*' || parts[place] === '**') places.add(place + 1);
  return places;
}
