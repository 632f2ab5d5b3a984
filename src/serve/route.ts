import { type Digest, isDigest } from '../core/digest.ts';
import { isRepository, isTag } from '../core/reference.ts';
import { Refusal } from './refusal.ts';

export type Route =
  | Readonly<{ kind: 'ping' }>
  | Readonly<{ kind: 'token' }>
  | Readonly<{ kind: 'catalog' }>
  | Readonly<{ kind: 'blob'; repository: string; digest: string }>
  | Readonly<{ kind: 'uploads'; repository: string }>
  | Readonly<{ kind: 'upload'; repository: string; id: string }>
  | Readonly<{ kind: 'manifest'; repository: string; reference: string }>
  | Readonly<{ kind: 'tags'; repository: string }>
  | Readonly<{ kind: 'referrers'; repository: string; digest: string }>
  | Readonly<{ kind: 'none' }>;

export type Target = Readonly<{ route: Route; query: URLSearchParams }>;

function decode(path: string): string[] {
  try {
    return path.split('/').map(decodeURIComponent);
  } catch (error) {
    throw new Refusal(400, 'NAME_INVALID', 'the path is not percent-encoded UTF-8', { cause: error });
  }
}

/**
 * What a request is about. Read from the end of the path, because `blobs`, `manifests` and `tags` are good repository names too.
 * @param target the request target as received: a path, with or without a query; or, for a proxy, an absolute URL (RFC 9112 section 3.2.2)
 * @throws Refusal 400 NAME_INVALID
 */
export function parseTarget(target: string): Target {
  const url = target.replace(/^https?:\/\/[^/?]*/i, '');
  const mark = url.indexOf('?');
  const query = new URLSearchParams(mark === -1 ? '' : url.slice(mark + 1));
  return { query, route: parseRoute(decode(mark === -1 ? url : url.slice(0, mark))) };
}

function parseRoute(parts: readonly string[]): Route {
  if (parts[0] !== '' || parts.length < 2) return { kind: 'none' };
  if (parts.length === 2 && parts[1] === 'token') return { kind: 'token' };
  if (parts[1] !== 'v2') return { kind: 'none' };
  const path = parts.slice(2);
  const route = routeBelow(path);
  if (route.kind !== 'none' || (path.length > 0 && path.at(-1) !== '')) return route;
  // containerd pings `<endpoint>/`, and our endpoints end in the origin: /v2/docker.io/ is as good as /v2/.
  const endpoint = path.slice(0, -1);
  const pinged = endpoint.length === 0 || (isRepository(endpoint.join('/')) && routeBelow(endpoint).kind === 'none');
  return { kind: pinged ? 'ping' : 'none' };
}

/** @param path what follows `/v2/` */
function routeBelow(path: readonly string[]): Route {
  if (path.length === 1 && path[0] === '_catalog') return { kind: 'catalog' };
  if (path.length < 3) return { kind: 'none' };
  const [before, last] = path.slice(-2) as [string, string];
  const name = (drop: number): string => repositoryName(path.slice(0, -drop));
  if (path.at(-3) === 'blobs' && before === 'uploads' && path.length > 3)
    return last === '' ? { kind: 'uploads', repository: name(3) } : { kind: 'upload', repository: name(3), id: last };
  if (last === '') return { kind: 'none' };
  if (before === 'blobs' && last === 'uploads') return { kind: 'uploads', repository: name(2) };
  if (before === 'blobs') return { kind: 'blob', repository: name(2), digest: last };
  if (before === 'manifests') return { kind: 'manifest', repository: name(2), reference: last };
  if (before === 'referrers') return { kind: 'referrers', repository: name(2), digest: last };
  if (before === 'tags' && last === 'list') return { kind: 'tags', repository: name(2) };
  return { kind: 'none' };
}

function repositoryName(parts: readonly string[]): string {
  const name = parts.join('/');
  if (isRepository(name)) return name;
  throw new Refusal(400, 'NAME_INVALID', `${JSON.stringify(name.slice(0, 300))} is not a repository name`);
}

/** @throws Refusal 400 DIGEST_INVALID, unsupported algorithms included */
export function digestIn(text: string): Digest {
  if (isDigest(text)) return text;
  throw new Refusal(400, 'DIGEST_INVALID', `${JSON.stringify(text.slice(0, 200))} is not a sha256 or sha512 digest`);
}

/**
 * The digest of a query parameter; undefined without it. Two different ones in one request are two readings of one request.
 * @throws Refusal 400 DIGEST_INVALID
 */
export function digestParameter(query: URLSearchParams, name: string): Digest | undefined {
  const [first, ...others] = new Set(query.getAll(name));
  if (others.length > 0) throw new Refusal(400, 'DIGEST_INVALID', `${name} is given more than once`);
  return first === undefined ? undefined : digestIn(first);
}

/** A tag or a digest. @throws Refusal 400 DIGEST_INVALID, MANIFEST_INVALID */
export function referenceIn(text: string): string {
  return text.includes(':') ? digestIn(text) : tagIn(text);
}

/** @throws Refusal 400 MANIFEST_INVALID */
export function tagIn(text: string): string {
  if (isTag(text)) return text;
  throw new Refusal(400, 'MANIFEST_INVALID', `${JSON.stringify(text.slice(0, 200))} is not a tag`);
}
