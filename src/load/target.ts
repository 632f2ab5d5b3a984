import { type Place, placesOf } from '../bundle/places.ts';
import { digestOf, hexOf } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { isRepository, parseOrigin } from '../core/reference.ts';

/** A registry to push to: `127.0.0.1:5000`, or with a path below which everything goes: `harbor.corp/airgap`. */
export type Target = Readonly<{
  host: string;
  /** '' or `airgap/` */
  prefix: string;
  /** As the user wrote it, normalised: for messages and state. */
  name: string;
}>;

/** @throws BundleError E_USAGE */
export function parseTarget(text: string): Target {
  if (/^[a-z]+:\/\//i.test(text))
    throw new BundleError(
      'E_USAGE',
      `--registry ${text}: write host[:port][/path] without a scheme; for plain HTTP add --plain-http HOST`,
    );
  const [hostText, ...path] = text.replace(/\/+$/, '').split('/') as [string, ...string[]];
  const prefix = path.join('/');
  if (prefix !== '' && !isRepository(prefix))
    throw new BundleError('E_USAGE', `--registry ${text}: ${JSON.stringify(prefix)} is not a repository path`);
  let host: string;
  try {
    host = parseOrigin(hostText);
  } catch (error) {
    throw new BundleError('E_USAGE', `--registry ${text}: ${JSON.stringify(hostText)} is not a host[:port]`, { cause: error });
  }
  return { host, prefix: prefix === '' ? '' : `${prefix}/`, name: prefix === '' ? host : `${host}/${prefix}` };
}

/** A name for files: readable, unique, and only of [a-z0-9._-]. */
export const targetKey = (target: Pick<Target, 'name'>): string =>
  `${target.name.replace(/[^a-z0-9.-]+/g, '_').slice(0, 60)}-${hexOf(digestOf(Buffer.from(target.name))).slice(0, 8)}`;

/** The places of a reference at this target, the target's own path included. */
export const placesAt = (target: Target, ref: string, aliases: readonly string[]): Place[] =>
  placesOf(ref, aliases).map((place) => ({ ...place, repository: `${target.prefix}${place.repository}` }));
