import { shown } from '../core/json.ts';
import { formatReference, originPath } from '../core/reference.ts';
import { formatAlias } from './alias.ts';
import type { ImageEntry } from './manifest.ts';
import type { Problem } from './problems.ts';

/** Everything but the place and the spelling: entries that agree in it are one. */
const settingsOf = (entry: ImageEntry): string =>
  JSON.stringify([
    entry.platforms === 'all' ? 'all' : [...entry.platforms].sort(),
    entry.index ?? '',
    entry.verify ?? '',
    entry.evidence ?? '',
    entry.aliases.map(formatAlias).sort(),
  ]);

/** One entry per reference: equal ones collapse, those that disagree are problems that name both places. */
export function collapseEntries(entries: readonly ImageEntry[]): { entries: ImageEntry[]; problems: Problem[] } {
  const kept = new Map<string, ImageEntry>();
  const problems: Problem[] = [];
  for (const entry of entries) {
    const key = formatReference(entry.ref);
    const first = kept.get(key);
    if (first === undefined) kept.set(key, entry);
    else if (settingsOf(first) !== settingsOf(entry))
      problems.push(problem(entry, `${key} is listed twice with different settings (first at ${first.where})`));
  }
  return { entries: [...kept.values()], problems };
}

/** What only shows when all entries are seen together: names at the target that would be two things. */
export function nameConflicts(entries: readonly ImageEntry[]): Problem[] {
  return [...digestConflicts(entries), ...originConflicts(entries), ...aliasConflicts(entries)];
}

const problem = (entry: ImageEntry, message: string, code?: 'E_ALIAS_CONFLICT'): Problem => ({
  where: entry.where,
  path: shown(entry.text),
  message,
  ...(code === undefined ? {} : { code }),
});

function digestConflicts(entries: readonly ImageEntry[]): Problem[] {
  const pinned = new Map<string, ImageEntry>();
  return entries.flatMap((entry) => {
    const { origin, repository, tag, digest } = entry.ref;
    if (tag === undefined || digest === undefined) return [];
    const name = `${origin}/${repository}:${tag}`;
    const first = pinned.get(name);
    if (first === undefined) pinned.set(name, entry);
    if (first === undefined || first.ref.digest === digest) return [];
    return [problem(entry, `${name} is pinned to another digest at ${first.where}: a tag can mean one of them`)];
  });
}

function originConflicts(entries: readonly ImageEntry[]): Problem[] {
  const originOf = new Map<string, ImageEntry>();
  return entries.flatMap((entry) => {
    const path = originPath(entry.ref.origin);
    const first = originOf.get(path);
    if (first === undefined) originOf.set(path, entry);
    if (first === undefined || first.ref.origin === entry.ref.origin) return [];
    return [
      problem(entry, `the origins ${entry.ref.origin} and ${first.ref.origin} (${first.where}) are both ${path}/ at the target`),
    ];
  });
}

function aliasConflicts(entries: readonly ImageEntry[]): Problem[] {
  const origins = new Set(entries.map((entry) => originPath(entry.ref.origin)));
  const owners = new Map<string, ImageEntry>();
  return entries.flatMap((entry) =>
    entry.aliases.flatMap((alias) => {
      const name = formatAlias(alias);
      const head = alias.repository.split('/')[0] as string;
      if (alias.repository.includes('/') && origins.has(head))
        return [
          problem(
            entry,
            `the alias ${name} begins with ${head}/, which is the path of an origin at the target`,
            'E_ALIAS_CONFLICT',
          ),
        ];
      const owner = owners.get(name);
      owners.set(name, owner ?? entry);
      if (owner === undefined || owner === entry) return [];
      return [problem(entry, `the alias ${name} already belongs to ${shown(owner.text)} (${owner.where})`, 'E_ALIAS_CONFLICT')];
    }),
  );
}
