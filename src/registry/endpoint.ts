import { BundleError } from '../core/errors.ts';
import { isRepository, parseOrigin } from '../core/reference.ts';

/** Where the API of a registry is and what stands before every repository there (a proxy registry's project, a target's path). */
export type Endpoint = Readonly<{
  /** For people: `docker.io`, `node-1:5000`. */
  origin: string;
  /** Whose credentials go there: the origin's, or those of the mirror that stands for it. */
  login: string;
  /** `https://registry-1.docker.io` */
  base: URL;
  /** '' or `hub/`: part of the repository name, so token scopes carry it. */
  prefix: string;
}>;

export type EndpointRules = Readonly<{
  /** Hosts (`node-1:5000`) that speak plain HTTP, said so by the user. */
  plainHttp?: readonly string[];
  /** `docker.io` → `https://mirror.corp/v2/hub` */
  sourceMirrors?: Readonly<Record<string, string>>;
}>;

const DOCKER_HUB = 'registry-1.docker.io';

/** @throws BundleError E_USAGE when a source mirror is no URL */
export function endpointOf(origin: string, rules: EndpointRules): Endpoint {
  const mirror = rules.sourceMirrors?.[origin];
  if (mirror !== undefined) {
    const parsed = parseMirrorUrl(mirror);
    const { host } = parsed.base;
    return { origin, login: host === DOCKER_HUB ? 'docker.io' : host, ...parsed };
  }
  const host = origin === 'docker.io' ? DOCKER_HUB : origin;
  const scheme = rules.plainHttp?.includes(origin) ? 'http' : 'https';
  return { origin, login: origin, base: new URL(`${scheme}://${host}`), prefix: '' };
}

function parseMirrorUrl(text: string): { base: URL; prefix: string } {
  let url: URL;
  try {
    url = new URL(text);
  } catch (error) {
    throw new BundleError('E_USAGE', `--source-mirror: ${JSON.stringify(text)} is not a URL such as https://mirror.corp/v2/hub`, {
      cause: error,
    });
  }
  const path = url.pathname.replace(/^\/(v2(\/|$))?/, '').replace(/\/+$/, '');
  if (
    (url.protocol !== 'https:' && url.protocol !== 'http:') ||
    url.username !== '' ||
    url.search !== '' ||
    (path !== '' && !isRepository(path))
  ) {
    throw new BundleError(
      'E_USAGE',
      `--source-mirror: ${url.protocol}//${url.host}${url.pathname} must be http(s)://host[:port][/v2/path] without credentials or query`,
    );
  }
  return { base: new URL(url.origin), prefix: path === '' ? '' : `${path}/` };
}

/** `docker.io=https://mirror.corp/v2/hub`, repeated. @throws BundleError E_USAGE */
export function parseSourceMirrors(values: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    values.map((value) => {
      const at = value.indexOf('=');
      if (at < 1)
        throw new BundleError(
          'E_USAGE',
          `--source-mirror ${JSON.stringify(value)}: write ORIGIN=URL, such as docker.io=https://mirror.corp/v2/hub`,
        );
      const url = value.slice(at + 1);
      parseMirrorUrl(url);
      return [parseOrigin(value.slice(0, at)), url];
    }),
  );
}

export const apiUrl = (endpoint: Endpoint, repository: string, rest: string): URL =>
  new URL(`/v2/${endpoint.prefix}${repository}/${rest}`, endpoint.base);
