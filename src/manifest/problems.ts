import { BundleError, type ErrorCode } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';

/** One thing that is wrong with a file of the user's. */
export type Problem = Readonly<{
  /** `file:line:column`, both from 1 */
  where: string;
  /** `images[2].aliases[0]`, or '' for the file as a whole */
  path: string;
  message: string;
  /** default E_MANIFEST */
  code?: ErrorCode;
}>;

/** All problems in one error, so that a user mends them in one go. Its code is that of the problems when they agree, else E_MANIFEST. */
export function problemsError(problems: readonly Problem[]): BundleError {
  const codes = new Set(problems.map((problem) => problem.code ?? 'E_MANIFEST'));
  const [only] = codes.size === 1 ? codes : [];
  const lines = problems
    .slice(0, LIMITS.manifestProblems)
    .map((p) => `${p.where}: ${p.path === '' ? '' : `${p.path}: `}${p.message}`);
  const rest = problems.length - lines.length;
  if (rest > 0) lines.push(`… and ${rest} more`);
  return new BundleError(only ?? 'E_MANIFEST', lines.join('\n'), { origin: 'host', detail: { problems: problems.length } });
}

const BARE_KEY = /^[A-Za-z0-9_-]{1,64}$/;

/** `['images', 2, 'ref']` → `images[2].ref` */
export function formatPath(path: readonly PropertyKey[]): string {
  const parts = path.map((part) => {
    if (typeof part === 'number') return `[${part}]`;
    const key = String(part);
    return BARE_KEY.test(key) ? `.${key}` : `.${JSON.stringify(key.slice(0, 64))}`;
  });
  return parts.join('').replace(/^\./, '');
}
