/** Cross-repository mounts, and the ways in which registries don't do them. */

import { type Exchange, send, sendError } from './exchange.ts';
import { authorizedFor } from './need.ts';
import { openSession } from './uploads.ts';

function holderOf(x: Exchange, from: string | null, digest: string): string | undefined {
  const { storage } = x.world;
  if (from !== null) return storage.blob(from, digest) ? from : undefined;
  return [...storage.repositories.keys()].find((name) => storage.blob(name, digest) !== undefined);
}

/** ECR mounts only what a manifest over there names. */
const isReferenced = (x: Exchange, repository: string, digest: string): boolean =>
  [...(x.world.storage.find(repository)?.manifests.values() ?? [])].some((manifest) => manifest.bytes.includes(digest));

export function mount(x: Exchange, repository: string, digest: string): undefined {
  const { switches, storage } = x.world;
  const from = x.query.get('from');
  if (switches.mount === '401') return sendError(x, 401, 'UNAUTHORIZED', 'authentication required');
  if (switches.mount === '404') return sendError(x, 404, 'NAME_UNKNOWN');
  if (switches.mount === '202') return openSession(x, repository);
  if (switches.mount === 'from-required' && from === null) return sendError(x, 400, 'UNSUPPORTED', 'from is required');
  const holder = holderOf(x, from, digest);
  const blob = holder === undefined ? undefined : storage.blob(holder, digest);
  if (holder === undefined || blob === undefined || !authorizedFor(x, holder, 'pull')) return openSession(x, repository);
  if (switches.mount === 'only-referenced' && !isReferenced(x, holder, digest)) return openSession(x, repository);
  storage.repository(repository).blobs.set(digest, blob);
  send(x, 201, { location: `/v2/${repository}/blobs/${digest}`, 'docker-content-digest': digest });
}
