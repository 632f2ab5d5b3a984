import { POLICY_NAME, type PolicyFiles, type PolicyRequest, placeOf, requireTargets } from './policy-request.ts';
import { block, toYaml } from './yaml-documents.ts';

const KIND = 'BundleAllowedRegistries';

const COMMENT = [
  'Gatekeeper 3.11 and newer. Pods run only images that are named at our registry.',
  '',
  'Names alone: Gatekeeper checks no signature by itself. What is in our registry came through "bundle load", as long as only it may push.',
  'Every prefix ends in "/": without it node-1:5000 would let node-1:50001 and 192.168.2.2:5000.evil.example pass. One without is ignored.',
  'Containers, initContainers, ephemeralContainers and image volumes are checked. Apply the template first, and the constraint when it is ready.',
];
const EVERYWHERE = ["kube-system is left out: k3s' own images do not come from our registry."];

const REGO = `package bundleallowedregistries

violation[{"msg": msg}] {
  image := images[_]
  not allowed(image)
  msg := sprintf("image %v is not from %v", [image, concat(", ", input.parameters.prefixes)])
}

images[image] {
  kinds := {"containers", "initContainers", "ephemeralContainers"}
  image := input.review.object.spec[kinds[_]][_].image
}

images[image] {
  image := input.review.object.spec.volumes[_].image.reference
}

allowed(image) {
  prefix := input.parameters.prefixes[_]
  endswith(prefix, "/")
  startswith(full(image), prefix)
}

# What names no registry is Docker Hub's.
full(image) = image {
  names_registry(image)
}

full(image) = name {
  not names_registry(image)
  name := concat("/", ["docker.io", image])
}

names_registry(image) {
  regex.match("^([^/]*[.:][^/]*|localhost)/", image)
}
`;

/**
 * A ConstraintTemplate and its Constraint.
 * @throws BundleError E_USAGE without a target
 */
export function gatekeeperPolicy(request: PolicyRequest): PolicyFiles {
  requireTargets(request, 'gatekeeper');
  const prefixes = [...request.targets.map(placeOf), ...request.origins].map((name) => `${name}/`);
  const template = {
    apiVersion: 'templates.gatekeeper.sh/v1',
    kind: 'ConstraintTemplate',
    metadata: { name: KIND.toLowerCase() },
    spec: {
      crd: {
        spec: {
          names: { kind: KIND },
          validation: {
            openAPIV3Schema: {
              type: 'object',
              required: ['prefixes'],
              properties: { prefixes: { type: 'array', items: { type: 'string', pattern: '/$' } } },
            },
          },
        },
      },
      targets: [{ target: 'admission.k8s.gatekeeper.sh', rego: block(REGO) }],
    },
  };
  const constraint = {
    apiVersion: 'constraints.gatekeeper.sh/v1beta1',
    kind: KIND,
    metadata: { name: POLICY_NAME },
    spec: {
      enforcementAction: 'deny',
      match: { kinds: [{ apiGroups: [''], kinds: ['Pod'] }], ...where(request.namespaces) },
      parameters: { prefixes },
    },
  };
  const comment = request.namespaces.length === 0 ? EVERYWHERE : [];
  return [
    {
      name: 'gatekeeper.yaml',
      text: toYaml([
        { comment: COMMENT, value: template },
        { comment, value: constraint },
      ]),
    },
  ];
}

const where = (namespaces: readonly string[]) =>
  namespaces.length === 0 ? { excludedNamespaces: ['gatekeeper-system', 'kube-system'] } : { namespaces: [...namespaces] };
