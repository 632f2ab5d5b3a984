import { shown } from './json.ts';
import { isRepository, isTag } from './reference.ts';

/**
 * What is wrong with an extra name at the target, `argoproj/argocd:v3.2.0`, if anything. `<target>/<origin>/…` is how every bundle names its content, this
 * one's and those of others at the same target: an alias may not look like that, or it would pass for what another origin's policy was asked about.
 */
export function aliasFault(text: string): string | undefined {
  if (text.includes('@')) return 'has a digest: an alias is a repository and a tag';
  const first = text.split('/')[0] as string;
  if (text.includes('/') && (/[.:[]/.test(first) || first === 'localhost'))
    return `begins with the host ${shown(first)}: aliases are paths at the target, and paths that begin with a host belong to origins`;
  if (first === 'charts' && text.includes('/')) return 'begins with "charts/", which is where Helm charts go at the target';
  const colon = text.lastIndexOf(':');
  if (colon <= text.lastIndexOf('/')) return 'has no tag: write repository:tag';
  const [repository, tag] = [text.slice(0, colon), text.slice(colon + 1)];
  if (!isRepository(repository)) return `: ${shown(repository)} is not a repository name`;
  return isTag(tag) ? undefined : `: ${shown(tag)} is not a tag`;
}
