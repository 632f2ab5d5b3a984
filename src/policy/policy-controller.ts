import { BundleError } from '../core/errors.ts';
import { POLICY_NAME, type PolicyFiles, type PolicyRequest, placeOf, requireKeys, requireTargets } from './policy-request.ts';
import { block, toYaml } from './yaml-documents.ts';

const COMMENT = [
  'Sigstore policy-controller. Pods in namespaces with the label below run only images that are signed by our key.',
  '',
  'In an air gap: start the webhook with --disable-tuf=true (chart: webhook.extraArgs), or it does not come up.',
  'No ctlog stands in an authority: with one, a log entry is demanded. No signatureFormat: with "bundle", keys are refused.',
  'Images that match no policy are refused as long as no-match-policy in the ConfigMap config-policy-controller is deny, its default.',
  "It asks the registry that the pod's image names, and knows nothing of k3s' registries.yaml (containerd's mirrors): pods must name",
  'our registry. A name of an origin is checked at that origin, and refused where it can not be reached.',
];

/**
 * A ClusterImagePolicy; keys are authorities, of which one is enough.
 * @throws BundleError E_USAGE without key or target, or for an address that its patterns can't say
 */
export function policyControllerPolicy(request: PolicyRequest): PolicyFiles {
  requireKeys(request, 'policy-controller');
  requireTargets(request, 'policy-controller');
  // go-containerregistry calls Docker Hub by this name.
  const names = [...request.targets.map(placeOf), ...request.origins.map((o) => (o === 'docker.io' ? 'index.docker.io' : o))];
  const odd = names.find((name) => !/^[a-zA-Z0-9_:/.-]+$/.test(name));
  if (odd !== undefined) {
    throw new BundleError('E_USAGE', `policy policy-controller: its patterns can't say ${odd}`, {
      hint: 'give the registry a DNS name',
    });
  }
  const namespaces = request.namespaces.length === 0 ? ['<namespace>'] : request.namespaces;
  const opting = namespaces.map((name) => `  kubectl label namespace ${name} policy.sigstore.dev/include=true`);
  const value = {
    apiVersion: 'policy.sigstore.dev/v1beta1',
    kind: 'ClusterImagePolicy',
    metadata: { name: POLICY_NAME },
    spec: {
      mode: 'enforce',
      images: names.map((name) => ({ glob: `${name}/**` })),
      authorities: request.keys.map((key) => ({
        name: `key-${key.keyid.slice(0, 16)}`,
        key: { hashAlgorithm: 'sha256', data: block(key.pem) },
      })),
    },
  };
  return [{ name: 'policy-controller.yaml', text: toYaml([{ comment: [...COMMENT, ...opting], value }]) }];
}
