import { BundleError } from '../core/errors.ts';
import { isRepository } from '../core/reference.ts';
import type { Action } from './access.ts';

/** One `--push`: who may write below which path. `user` `*` is every known user, `prefix` '' every repository. */
export type PushRight = Readonly<{ user: string; prefix: string }>;

/**
 * `ann=docker.io/library`, `*=team`, `release=*`.
 * @throws BundleError E_USAGE
 */
export function parsePushRight(text: string): PushRight {
  const at = text.lastIndexOf('=');
  const [user, path] = [text.slice(0, at), text.slice(at + 1).replace(/\/$/, '')];
  if (at < 1 || !(path === '*' || isRepository(path)))
    throw new BundleError('E_USAGE', `--push ${JSON.stringify(text.slice(0, 300))} is not USER=PREFIX`, {
      hint: 'for example --push release=docker.io, --push ann=charts, or --push release=* for everywhere; the user * is everybody known',
    });
  return { user, prefix: path === '*' ? '' : path };
}

/**
 * What a known user may do: read everything, and write (push, delete) where a right names a path at or above the repository, component by
 * component, so that `team` says nothing of `team-b`. Without any right everybody known may write everywhere.
 */
export function rightsOf(rights: readonly PushRight[]): (user: string, repository: string, action: Action) => boolean {
  const covers = (prefix: string, repository: string): boolean =>
    prefix === '' || repository === prefix || repository.startsWith(`${prefix}/`);
  return (user, repository, action) =>
    action === 'pull' ||
    rights.length === 0 ||
    rights.some((right) => (right.user === '*' || right.user === user) && covers(right.prefix, repository));
}
