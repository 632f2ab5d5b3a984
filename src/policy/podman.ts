import { BundleError } from '../core/errors.ts';
import { prettyJson } from '../core/json.ts';
import {
  POLICY_NAME,
  type PolicyFiles,
  type PolicyRequest,
  placeOf,
  placeOfOrigin,
  requireKeys,
  requireTargets,
  signedReference,
} from './policy-request.ts';
import { toYaml } from './yaml-documents.ts';

const COMMENT = [
  'podman, skopeo, buildah, CRI-O and bootc: goes to /etc/containers/registries.d/, beside it policy.json to /etc/containers/.',
  '',
  'Without this file the signatures, which are tags in the same repository (sha256-….sig), are not looked for, and everything is refused.',
  'Images are accepted under their names at our registry, and under their own names (docker.io/…) where registries.conf has it as a mirror.',
  'In an air gap: nothing to switch off, no log is asked for. Several keys need containers/image 5.32.2 or newer (August 2024).',
  'Debian 12 has sigstore disabled in its podman 4.3 and skopeo 1.9: under such a policy they refuse everything.',
  'Plain HTTP, mirrors and a CA of your own are set elsewhere: registries.conf and /etc/containers/certs.d.',
];

/**
 * policy.json, which accepts what we signed and nothing else from any transport, and the registries.d file that lets signatures be found.
 * @throws BundleError E_USAGE without key, target, or both origin and alias
 */
export function podmanPolicy(request: PolicyRequest): PolicyFiles {
  requireKeys(request, 'podman');
  requireTargets(request, 'podman');
  // Without a name that upstream signed, the policy would be the default alone, which refuses every image.
  if (request.origins.length === 0 && request.aliases.length === 0)
    throw new BundleError('E_USAGE', 'policy podman: nothing says which names upstream has: every image would be refused', {
      hint: 'add --bundle DIR, which knows all names of a bundle, or --origin docker.io for each registry',
    });
  const data = request.keys.map((key) => Buffer.from(key.pem).toString('base64'));
  // Two entries of one list must both hold; of several keys in one entry, any.
  const keys = data.length === 1 ? { keyData: data[0] } : { keyDatas: data };
  const signed = (signedIdentity: Readonly<Record<string, string>>) => [{ type: 'sigstoreSigned', ...keys, signedIdentity }];
  const scopes: [string, unknown][] = [];
  for (const origin of request.origins) {
    scopes.push([origin, signed({ type: 'matchRepoDigestOrExact' })]);
    for (const target of request.targets) {
      const prefix = placeOfOrigin(target, origin);
      // Signatures name upstream's reference, as the signer does not know what the registry inside is called.
      scopes.push([prefix, signed({ type: 'remapIdentity', prefix, signedPrefix: origin })]);
    }
  }
  for (const alias of request.aliases) {
    const identity = { type: 'exactReference', dockerReference: signedReference(alias.ref) };
    for (const target of request.targets) scopes.push([`${placeOf(target)}/${alias.name}`, signed(identity)]);
  }
  const policy = { default: [{ type: 'reject' }], transports: { docker: Object.fromEntries(scopes) } };
  const registries = {
    docker: Object.fromEntries(request.targets.map((t) => [placeOf(t), { 'use-sigstore-attachments': true }])),
  };
  return [
    { name: 'policy.json', text: prettyJson(policy) },
    { name: `registries.d/${POLICY_NAME}.yaml`, text: toYaml([{ comment: COMMENT, value: registries }]) },
  ];
}
