import { originPath } from '../core/reference.ts';
import {
  POLICY_NAME,
  type PolicyFiles,
  type PolicyRequest,
  type PolicyTarget,
  placeOf,
  requireKeys,
  requireTargets,
} from './policy-request.ts';
import { block, toYaml } from './yaml-documents.ts';

const LISTS = ['containers', 'initContainers', 'ephemeralContainers'] as const;

const COMMENT = [
  'Kyverno 1.13 to 1.19 (which warns that ClusterPolicy will go one day). Pods run only images that are named at our registry and signed by our key.',
  '',
  "In an air gap: ignoreTlog and ignoreSCT must both be there, or Kyverno asks Sigstore's servers first.",
  "Kyverno asks the registry that the pod's image names, and knows nothing of k3s' registries.yaml (containerd's mirrors).",
  'It must reach our registry from its own pods: a CA of your own goes into its chart as global.caCertificates.data.',
  "Kyverno's default resourceFilters leave kube-system and kyverno alone, which k3s' own images need.",
  'autogen-controllers is none, so that Deployments stay as they are in git; their pods are what is checked.',
];
const WITH_ORIGINS = [
  "Names of origins are rewritten to our registry's in pods, because that is where Kyverno finds the signatures.",
];
const WITHOUT_ORIGINS = [
  'Pods that name an origin (docker.io/…) are refused. With --origin or --bundle they are rewritten instead.',
];

/**
 * A ClusterPolicy with legacy cosign signatures, which every version of Kyverno reads.
 * @throws BundleError E_USAGE without key or target
 */
export function kyvernoPolicy(request: PolicyRequest): PolicyFiles {
  requireKeys(request, 'kyverno');
  requireTargets(request, 'kyverno');
  const [first] = request.targets as readonly [PolicyTarget, ...PolicyTarget[]];
  const names = request.targets.map((target) => `${placeOf(target)}/*`);
  const resources = { kinds: ['Pod'], ...(request.namespaces.length === 0 ? {} : { namespaces: [...request.namespaces] }) };
  const match = { any: [{ resources }] };
  const value = {
    apiVersion: 'kyverno.io/v1',
    kind: 'ClusterPolicy',
    metadata: { name: POLICY_NAME, annotations: { 'pod-policies.kyverno.io/autogen-controllers': 'none' } },
    spec: {
      background: false,
      webhookConfiguration: { failurePolicy: 'Fail', timeoutSeconds: 30 },
      rules: [
        ...request.origins.map((origin) => renameRule(origin, first, match)),
        nameRule(names, match),
        { name: 'signed', match, verifyImages: [signedImages(request, names)] },
      ],
    },
  };
  return [
    {
      name: 'kyverno.yaml',
      text: toYaml([{ comment: [...COMMENT, ...(request.origins.length > 0 ? WITH_ORIGINS : WITHOUT_ORIGINS)], value }]),
    },
  ];
}

const signedImages = (request: PolicyRequest, names: readonly string[]) => ({
  imageReferences: names,
  failureAction: 'Enforce',
  required: true,
  mutateDigest: true,
  verifyDigest: true,
  ...(request.targets.some((target) => target.plain) ? { imageRegistryCredentials: { allowInsecureRegistry: true } } : {}),
  attestors: [
    {
      count: 1,
      entries: request.keys.map((key) => ({
        keys: { publicKeys: block(key.pem), rekor: { ignoreTlog: true }, ctlog: { ignoreSCT: true } },
      })),
    },
  ],
});

/** verifyImages looks only at images whose names match: everything else is refused here. */
const nameRule = (names: readonly string[], match: unknown) => ({
  name: 'named-at-our-registry',
  match,
  validate: {
    failureAction: 'Enforce',
    message: `Images are run only from ${names.join(', ')}`,
    foreach: [
      { list: `request.object.spec.[${LISTS.join(', ')}][]`, deny: notNamed('{{ element.image }}', names) },
      // Image volumes, Kubernetes 1.31.
      { list: 'request.object.spec.volumes[?image.reference].image', deny: notNamed('{{ element.reference }}', names) },
    ],
  },
});

const notNamed = (key: string, names: readonly string[]) => ({
  conditions: { all: [{ key, operator: 'AnyNotIn', value: names }] },
});

/** In brackets and without backslashes, which JMESPath would want doubled. */
const literal = (text: string): string => text.replace(/[.[\]]/g, (c) => `[${c}]`);

function renameRule(origin: string, target: PolicyTarget, match: unknown) {
  const place = `${placeOf(target)}/${originPath(origin)}/`;
  const [pattern, renamed] = origin === 'docker.io' ? dockerHub(place) : ofOrigin(origin, place);
  return {
    name: `rename-${originPath(origin).replace(/[^a-z0-9]+/g, '-')}`,
    match,
    mutate: {
      foreach: LISTS.map((list) => ({
        list: `request.object.spec.${list}[]`,
        preconditions: { all: [{ key: `{{ regex_match('${pattern}', element.image) }}`, operator: 'Equals', value: true }] },
        patchStrategicMerge: { spec: { [list]: [{ name: '{{ element.name }}', image: `{{ ${renamed} }}` }] } },
      })),
    },
  };
}

const ofOrigin = (origin: string, place: string): [string, string] => [
  `^${literal(origin)}/`,
  `regex_replace_all_literal('^${literal(origin)}/', element.image, '${place}')`,
];

/** `redis`, `library/redis`, `docker.io/redis` and `index.docker.io/library/redis` are one image. */
function dockerHub(place: string): [string, string] {
  const host = '^(index[.])?docker[.]io/';
  const bare = `regex_replace_all_literal('${host}', element.image, '')`;
  const full = `regex_replace_all('^([^/]+)$', ${bare}, 'library/$1')`;
  return [`${host}|^[^/]+$|^[^/.:]+/`, `regex_replace_all_literal('^', ${full}, '${place}')`];
}
