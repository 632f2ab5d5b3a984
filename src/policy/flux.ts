import { stringify } from 'yaml';
import {
  type PolicyFiles,
  type PolicyRequest,
  type PolicyTarget,
  placeOf,
  requireKeys,
  requireTargets,
} from './policy-request.ts';
import { block, toYaml } from './yaml-documents.ts';

const SECRET = 'bundle-cosign-pub';

const COMMENT = [
  'Flux verifies each source that says so: this Secret (its keys must end in .pub; one of them is enough), and this in every OCIRepository;',
  'the same verify in every HelmChart (in a HelmRelease: spec.chart.spec) of an OCI HelmRepository:',
];
const BELOW = [
  'In an air gap: nothing to switch off, a key needs no log. source-controller 1.8 and newer reads both kinds of signatures, older ones .sig.',
  "It does not know k3s' registries.yaml: sources name our registry. A CA of your own: certSecretRef with ca.crt.",
];

/** What an OCIRepository needs beside its name. */
export const fluxSource = (target: PolicyTarget) => ({
  url: `oci://${placeOf(target)}/charts/NAME`,
  ...(target.plain ? { insecure: true } : {}),
  verify: { provider: 'cosign', secretRef: { name: SECRET } },
});

/**
 * The Secret with our keys, one for each namespace with sources (flux-system), and what sources must say.
 * @throws BundleError E_USAGE without key or target
 */
export function fluxPolicy(request: PolicyRequest): PolicyFiles {
  requireKeys(request, 'flux');
  requireTargets(request, 'flux');
  const stanzas = request.targets.flatMap((target) =>
    stringify({ spec: fluxSource(target) }, { schema: 'yaml-1.1' })
      .trimEnd()
      .split('\n'),
  );
  const comment = [...COMMENT, ...stanzas.map((line) => `  ${line}`), ...BELOW];
  const namespaces = request.namespaces.length === 0 ? ['flux-system'] : request.namespaces;
  const documents = namespaces.map((namespace, index) => ({
    comment: index === 0 ? comment : [],
    value: {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: SECRET, namespace },
      type: 'Opaque',
      stringData: Object.fromEntries(request.keys.map((key) => [`${key.keyid.slice(0, 16)}.pub`, block(key.pem)])),
    },
  }));
  return [{ name: 'flux.yaml', text: toYaml(documents) }];
}
