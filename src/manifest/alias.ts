import { BundleError } from '../core/errors.ts';
import { shown } from '../core/json.ts';
import { isRepository, isTag } from '../core/reference.ts';
import type { Alias } from './manifest.ts';

export const formatAlias = (alias: Alias): string => `${alias.repository}:${alias.tag}`;

/** `argoproj/argocd:v3.2.0`: a repository and a tag without a host. @throws BundleError E_MANIFEST */
export function parseAlias(text: string): Alias {
  const bad = (why: string): BundleError => new BundleError('E_MANIFEST', `alias ${shown(text)} ${why}`);
  if (text.includes('@')) throw bad('has a digest: an alias is a repository and a tag');
  const first = text.split('/')[0] as string;
  // `<target>/<origin>/…` is how every bundle names its content, this one's and those of others at the same target.
  if (text.includes('/') && (/[.:[]/.test(first) || first === 'localhost'))
    throw bad(
      `begins with the host ${shown(first)}: aliases are paths at the target, and paths that begin with a host belong to origins`,
    );
  if (first === 'charts' && text.includes('/')) throw bad('begins with "charts/", which is where Helm charts go at the target');
  const colon = text.lastIndexOf(':');
  if (colon <= text.lastIndexOf('/')) throw bad('has no tag: write repository:tag');
  const alias = { repository: text.slice(0, colon), tag: text.slice(colon + 1) };
  if (!isRepository(alias.repository)) throw bad(`: ${shown(alias.repository)} is not a repository name`);
  if (!isTag(alias.tag)) throw bad(`: ${shown(alias.tag)} is not a tag`);
  return alias;
}
