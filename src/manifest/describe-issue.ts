import type * as z from 'zod';
import { shown } from '../core/json.ts';
import { didYouMean } from './did-you-mean.ts';
import { keysAt } from './schema.ts';

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];
/** The keys that are known at a path. */
type KnownKeys = (path: Path) => readonly string[];

/** One finding of zod in our words. `of` says which of the two is to blame at `path`. */
export type Finding = Readonly<{ path: Path; of: 'key' | 'value'; message: string }>;

const KIND: Readonly<Record<string, string>> = {
  string: 'text',
  array: 'a list',
  object: 'a map',
  record: 'a map',
  null: 'nothing',
};

function kindOf(value: unknown): string {
  if (value === undefined || value === '') return 'nothing';
  if (typeof value === 'string') return `the text ${shown(value)}`;
  return Array.isArray(value) ? 'a list' : 'a map';
}

function valueAt(root: unknown, path: Path): unknown {
  return path.reduce<unknown>((value, part) => (value as Record<PropertyKey, unknown> | undefined)?.[part], root);
}

const wants = (issue: Issue): string => {
  if (issue.code === 'invalid_value') return issue.values.map(shown).join(' or ');
  return issue.code === 'invalid_type' ? (KIND[issue.expected] ?? issue.expected) : 'something else';
};

const isWrongKind = (issue: Issue): boolean => issue.path.length === 0 && /^invalid_(type|value)$/.test(issue.code);

/** Follows the branch of a union that the value is of the right kind for; else says all that would do. */
function unionFindings(issue: z.core.$ZodIssueInvalidUnion, path: Path, root: unknown, known: KnownKeys): Finding[] {
  const meant = issue.errors.find((branch) => !branch.some(isWrongKind));
  if (meant !== undefined) return meant.flatMap((inner) => findings({ ...inner, path: [...path, ...inner.path] }, root, known));
  const value = valueAt(root, path);
  const heads = issue.errors.flatMap((branch) => branch.filter(isWrongKind));
  const words = heads.flatMap((head) => (head.code === 'invalid_value' ? head.values.map(String) : []));
  const near = typeof value === 'string' ? didYouMean(value, words) : '';
  const list = heads.some((head) => head.code === 'invalid_type' && head.expected === 'array');
  const asList =
    near === '' && list && typeof value === 'string' && value !== '' ? `; a list of one is written [${value.slice(0, 60)}]` : '';
  return [{ path, of: 'value', message: `want ${heads.map(wants).join(' or ')}, got ${kindOf(value)}${near}${asList}` }];
}

/** Zod's issue as findings with paths from the root of `root`. @param known of the file that `root` is out of, by default a manifest */
export function findings(issue: Issue, root: unknown, known: KnownKeys = keysAt): Finding[] {
  const path: Path = issue.path;
  const value = valueAt(root, path);
  const of = 'value' as const;
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => ({
        path: [...path, key],
        of: 'key' as const,
        message: `unknown key${didYouMean(key, known(path))}`,
      }));
    case 'invalid_union':
      return unionFindings(issue, path, root, known);
    case 'invalid_type':
    case 'invalid_value': {
      const near = issue.code === 'invalid_value' && typeof value === 'string' ? didYouMean(value, issue.values.map(String)) : '';
      if (value === undefined) return [{ path, of, message: `is missing: want ${wants(issue)}` }];
      return [{ path, of, message: `want ${wants(issue)}, got ${kindOf(value)}${near}` }];
    }
    case 'too_big':
      return [{ path, of, message: `has more than ${issue.maximum} entries` }];
    case 'too_small':
      return [{ path, of, message: 'is an empty list: leave the key out instead' }];
    case 'invalid_format':
      return [{ path, of, message: `${shown(value)} ${issue.message}` }];
    default:
      return [{ path, of, message: issue.message }];
  }
}
