import type { RequestKind } from './exchange.ts';

export type Route =
  | Readonly<{ kind: 'ping' | 'catalog' | 'token' | 'other' }>
  | Readonly<{ kind: 'manifest' | 'referrers'; repository: string; reference: string }>
  | Readonly<{ kind: 'blob'; repository: string; reference: string }>
  | Readonly<{ kind: 'tags'; repository: string }>
  | Readonly<{ kind: 'upload'; repository: string; session: string | undefined }>;

const FORMS: readonly (readonly [RegExp, (repository: string, rest: string) => Route])[] = [
  [/^\/v2\/(.+)\/blobs\/uploads\/?([^/]*)$/, (repository, rest) => ({ kind: 'upload', repository, session: rest || undefined })],
  [/^\/v2\/(.+)\/blobs\/([^/]+)$/, (repository, reference) => ({ kind: 'blob', repository, reference })],
  [/^\/v2\/(.+)\/manifests\/([^/]+)$/, (repository, reference) => ({ kind: 'manifest', repository, reference })],
  [/^\/v2\/(.+)\/referrers\/([^/]+)$/, (repository, reference) => ({ kind: 'referrers', repository, reference })],
  [/^\/v2\/(.+)\/tags\/list()$/, (repository) => ({ kind: 'tags', repository })],
];

/** @param path decoded, without the query */
export function routeOf(path: string): Route {
  if (path === '/v2/' || path === '/v2') return { kind: 'ping' };
  if (path === '/v2/_catalog') return { kind: 'catalog' };
  if (path === '/token' || path === '/token/') return { kind: 'token' };
  for (const [form, make] of FORMS) {
    const match = form.exec(path);
    if (match !== null) return make(match[1] as string, match[2] as string);
  }
  return { kind: 'other' };
}

export const kindOf = (path: string): RequestKind => routeOf(path).kind;
