import { BundleError, isBundleError } from '../core/errors.ts';
import type { Evidence } from '../core/evidence.ts';
import type { Reference } from '../core/reference.ts';
import type { RegistryClient } from '../registry/client.ts';
import type { FetchedManifest } from '../registry/manifests.ts';
import type { ManifestReader } from './resolve.ts';

/**
 * Reads the manifest of a piece of evidence: by digest, and where that is not found by its tag, which must mean that digest still. registry.k8s.io sends
 * cosign's tags to one place and digests to the nearest, which may not have them (kubernetes/registry.k8s.io#324).
 * @throws BundleError E_NOT_FOUND, E_OCI_MANIFEST, E_NETWORK, …
 */
export async function readEvidence(
  client: RegistryClient,
  read: ManifestReader,
  { origin, repository }: Pick<Reference, 'origin' | 'repository'>,
  evidence: Pick<Evidence, 'tag' | 'digest' | 'mediaType'>,
  signal?: AbortSignal,
): Promise<FetchedManifest> {
  try {
    return await read(origin, repository, evidence);
  } catch (error) {
    if (!isBundleError(error) || error.code !== 'E_NOT_FOUND' || evidence.tag === undefined) throw error;
    const tagged = await client.getManifest(origin, repository, evidence.tag, signal);
    if (tagged.digest === evidence.digest && tagged.mediaType === evidence.mediaType) return tagged;
    throw new BundleError(
      'E_NOT_FOUND',
      `${origin}/${repository}@${evidence.digest}: not found, and the tag ${evidence.tag} now means ${tagged.digest}`,
      { hint: 'run the same command again', cause: error },
    );
  }
}
