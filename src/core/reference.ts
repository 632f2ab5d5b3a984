import { type Digest, isDigest } from './digest.ts';
import { BundleError } from './errors.ts';
import { shown } from './json.ts';
import { LIMITS } from './limits.ts';

/**
 * A fully written image reference. `origin` is the registry as written by users (`docker.io`, never `index.docker.io`), with its port.
 * Grammar: distribution/reference, https://github.com/distribution/reference/blob/main/reference.go
 */
export type Reference = Readonly<{ origin: string; repository: string; tag?: string; digest?: Digest }>;

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const REPOSITORY = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const DOMAIN_LABEL = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const DOMAIN = new RegExp(`^(?:${DOMAIN_LABEL}(?:\\.${DOMAIN_LABEL})*|\\[(?:[a-fA-F0-9:]+)\\])(?::[0-9]{1,5})?$`);

const bad = (text: string, why: string, hint?: string): BundleError =>
  new BundleError('E_REFERENCE', `reference ${JSON.stringify(text.slice(0, 200))}: ${why}`, { hint });

export const isRepository = (value: string): boolean => value.length <= LIMITS.repositoryChars && REPOSITORY.test(value);
export const isTag = (value: string): boolean => TAG.test(value);

/** True when the first path part names a registry rather than a Docker Hub user: it has a dot, a port, or is localhost. */
const isHost = (part: string): boolean => /[.:[]/.test(part) || part.toLowerCase() === 'localhost';

/**
 * A host that is dialled under another name than it is written has two names at the target: `0x7f.1` and `127.1` are 127.0.0.1 to every URL
 * parser, `[0:0::1]` is `[::1]`, and port 05000 is 5000.
 */
function plainOrigin(lower: string): string | undefined {
  const [, host, port] = /^(\[.*\]|[^:]*)(?::([0-9]+))?$/.exec(lower) as unknown as [string, string, string?];
  if (!URL.canParse(`http://${host}`)) return undefined;
  const name = new URL(`http://${host}`).hostname;
  return port === undefined ? name : `${name}:${Number(port)}`;
}

/** Lower case, and Docker Hub by its one name. @throws BundleError E_REFERENCE */
export function parseOrigin(text: string): string {
  // Tested before it is lower case: U+212A (Kelvin sign) becomes an ASCII "k" there.
  if (!DOMAIN.test(text)) throw bad(text, `${shown(text)} is not a registry host[:port]`);
  const lower = text.toLowerCase();
  const port = /:([0-9]+)$/.exec(lower)?.[1];
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65_535)) throw bad(text, `port ${port} is out of range`);
  const plain = plainOrigin(lower);
  if (plain === undefined) throw bad(text, `${JSON.stringify(lower)} is not an address that can be dialled`);
  if (plain !== lower)
    throw bad(text, `the host ${JSON.stringify(lower)} is another spelling of ${plain}`, `write it as ${plain}`);
  return lower === 'index.docker.io' || lower === 'registry-1.docker.io' ? 'docker.io' : lower;
}

/**
 * Parses what users write: `redis`, `redis:7`, `ghcr.io/a/b:v1@sha256:…`, `[fd00::1]:5000/x`. No tag and no digest means `latest`, as everywhere.
 * @throws BundleError E_REFERENCE
 */
export function parseReference(text: string): Reference {
  if (text.length === 0) throw bad(text, 'is empty');
  if (text.length > LIMITS.referenceChars) throw bad(text, `is longer than ${LIMITS.referenceChars} characters`);
  // distribution/reference ParseNormalizedNamed: Docker takes such a name for the ID of a local image.
  if (/^[0-9a-f]{64}$/.test(text)) throw bad(text, 'is an image ID, not the name of an image at a registry');
  if (/^[a-z]+:\/\//i.test(text)) throw bad(text, 'has a scheme', `write it without "${text.split('://')[0]}://"`);
  const [withoutDigest, digestText, ...more] = text.split('@') as [string, string?, ...string[]];
  if (more.length > 0) throw bad(text, 'has more than one "@"');
  if (digestText !== undefined && !isDigest(digestText)) throw bad(text, `${shown(digestText)} is not a sha256 or sha512 digest`);
  const slash = withoutDigest.indexOf('/');
  const first = slash === -1 ? '' : withoutDigest.slice(0, slash);
  const hasHost = slash !== -1 && isHost(first);
  const origin = hasHost ? parseOrigin(first) : 'docker.io';
  const path = hasHost ? withoutDigest.slice(slash + 1) : withoutDigest;
  const colon = path.lastIndexOf(':');
  const name = colon === -1 ? path : path.slice(0, colon);
  const tag = colon === -1 ? undefined : path.slice(colon + 1);
  if (tag !== undefined && !isTag(tag)) throw bad(text, `${JSON.stringify(tag)} is not a tag`);
  const repository = origin === 'docker.io' && !name.includes('/') && name !== '' ? `library/${name}` : name;
  if (!REPOSITORY.test(repository)) {
    const upper = repository !== repository.toLowerCase() ? 'repository names are lower case' : undefined;
    throw bad(text, `${JSON.stringify(name)} is not a repository name`, upper);
  }
  if (origin.length + 1 + repository.length > LIMITS.repositoryChars)
    throw bad(text, `its name is longer than ${LIMITS.repositoryChars} characters`);
  const effectiveTag = tag ?? (digestText === undefined ? 'latest' : undefined);
  return {
    origin,
    repository,
    ...(effectiveTag === undefined ? {} : { tag: effectiveTag }),
    ...(digestText === undefined ? {} : { digest: digestText as Digest }),
  };
}

/** The full form: `docker.io/library/redis:7`, with tag and digest where it has both. `parseReference` of it gives the same reference. */
export function formatReference(ref: Reference): string {
  return `${ref.origin}/${ref.repository}${ref.tag === undefined ? '' : `:${ref.tag}`}${ref.digest === undefined ? '' : `@${ref.digest}`}`;
}

/**
 * The origin as a path component at the target (design.md section 6): ':' can't stand in a repository, IPv6 brackets neither.
 * `host:5000` → `host_5000`; `[fd00::1]:5000` → `fd00--1_5000` (the "::" stays visible, or `[fd00:1::]` would be the same path).
 */
export function originPath(origin: string): string {
  const v6 = /^\[([0-9a-f:]+)\](?::(\d+))?$/.exec(origin);
  if (v6 === null) return origin.replace(':', '_');
  const host = (v6[1] as string).replace(/^::/, '0::').replace(/::$/, '::0').replaceAll(':', '-');
  return v6[2] === undefined ? host : `${host}_${v6[2]}`;
}

/** `<origin>/<repository>` below the target. @throws BundleError E_REFERENCE when the prefix makes it too long */
export function targetRepository(ref: Pick<Reference, 'origin' | 'repository'>): string {
  const name = `${originPath(ref.origin)}/${ref.repository}`;
  if (!isRepository(name))
    throw bad(name, `the name at the target is not a repository name of at most ${LIMITS.repositoryChars} characters`);
  return name;
}

/** True when a text is the full form of a reference: what {@link formatReference} writes, and nothing else. */
export function isFullReference(text: string): boolean {
  try {
    return formatReference(parseReference(text)) === text;
  } catch {
    return false;
  }
}
