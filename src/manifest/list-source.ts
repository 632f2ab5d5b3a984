import { dirname, isAbsolute, join } from 'node:path';
import { shown } from '../core/json.ts';

const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;

export const isListUrl = (source: string): boolean => /^https?:\/\//i.test(source);

/** What is wrong with an entry of `imageLists`, if anything. */
export function listSourceFault(source: string): string | undefined {
  if (source === '') return 'is empty: want a path or an http(s) URL';
  if (source.length > 2048 || /[\u0000-\u001f\u007f]/.test(source)) return `${shown(source)} is not a path`;
  if (!SCHEME.test(source)) return undefined;
  if (!isListUrl(source))
    return `${shown(source.split('://')[0])} is not a scheme that lists are fetched by: want http(s) or a path`;
  if (!URL.canParse(source)) return `${shown(source)} is not a URL`;
  const url = new URL(source);
  // Said without the URL: it would print the password.
  if (url.username !== '' || url.password !== '')
    return 'a URL with a user name or password in it; credentials do not belong into a manifest';
  return undefined;
}

/** The name of a list in messages: a query may hold a signature, so it is left out. */
export function listName(source: string): string {
  if (!isListUrl(source)) return source;
  const url = new URL(source);
  return `${url.origin}${url.pathname}`;
}

/** Where a list is: a URL as written; a path is meant from the folder of the manifest, and comes back from where the manifest's own path starts. */
export function locateList(manifestFile: string, source: string): string {
  return isListUrl(source) || isAbsolute(source) ? source : join(dirname(manifestFile), source);
}
