/** RFC 9110 section 11.6.1: a list of challenges, each with a scheme and parameters; commas separate both, quotes protect them. */

export type Challenge = Readonly<{ scheme: 'bearer' | 'basic' | (string & {}); parameters: Readonly<Record<string, string>> }>;

const TOKEN = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;

/** Parses all challenges of all header lines. Never throws: what can't be read is left out, the caller says that nothing usable came. */
export function parseChallenges(lines: readonly string[]): Challenge[] {
  return lines.flatMap((line) => parseLine(line.slice(0, 8192)));
}

function parseLine(line: string): Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  let at = 0;
  const skip = (pattern: RegExp): string => {
    pattern.lastIndex = at;
    const found = pattern.exec(line)?.[0] ?? '';
    at += found.length;
    return found;
  };
  while (at < line.length) {
    skip(/[\s,]*/y);
    const word = skip(TOKEN);
    if (word === '') return challenges;
    const gap = skip(/\s*/y);
    if (line[at] === '=' && challenges.length > 0) {
      at++;
      skip(/\s*/y);
      const parameters = challenges.at(-1)?.parameters as Record<string, string>;
      const name = word.toLowerCase();
      const value = line[at] === '"' ? quoted() : skip(/[^,\s]*/y); // old nvcr.io sends an unquoted scope with ':' in it
      if (value === undefined) return challenges;
      if (!Object.hasOwn(parameters, name)) parameters[name] = value;
    } else if (gap !== '' || at >= line.length || line[at] === ',') {
      challenges.push({ scheme: word.toLowerCase(), parameters: Object.create(null) as Record<string, string> });
    } else {
      return challenges;
    }
  }
  return challenges;

  function quoted(): string | undefined {
    let value = '';
    for (at++; at < line.length; at++) {
      const c = line[at] as string;
      if (c === '"') {
        at++;
        return value;
      }
      if (c === '\\') at++;
      value += line[at] ?? '';
    }
    return undefined; // no closing quote
  }
}
