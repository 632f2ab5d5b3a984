import { aliasFault } from '../core/alias.ts';
import { BundleError } from '../core/errors.ts';
import { shown } from '../core/json.ts';
import type { Alias } from './manifest.ts';

export const formatAlias = (alias: Alias): string => `${alias.repository}:${alias.tag}`;

/** `argoproj/argocd:v3.2.0`: a repository and a tag without a host. @throws BundleError E_MANIFEST */
export function parseAlias(text: string): Alias {
  const fault = aliasFault(text);
  if (fault !== undefined) throw new BundleError('E_MANIFEST', `alias ${shown(text)} ${fault}`);
  const colon = text.lastIndexOf(':');
  return { repository: text.slice(0, colon), tag: text.slice(colon + 1) };
}
