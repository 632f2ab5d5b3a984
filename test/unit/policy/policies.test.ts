import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { fluxPolicy, fluxSource } from '../../../src/policy/flux.ts';
import { gatekeeperPolicy } from '../../../src/policy/gatekeeper.ts';
import { kyvernoPolicy } from '../../../src/policy/kyverno.ts';
import { podmanPolicy } from '../../../src/policy/podman.ts';
import { policyControllerPolicy } from '../../../src/policy/policy-controller.ts';
import { normalizeRequest, type PolicyFiles, type PolicyRequest } from '../../../src/policy/policy-request.ts';
import { throwsWith } from '../../support/assert-code.ts';
import { freshKey } from '../sign/test-keys.ts';
import { schemaOf, shapeFaults } from './shape.ts';

const [one, two] = [freshKey().publicKey, freshKey().publicKey];
const node = { host: 'node-1:5000', prefix: '', plain: false };
const harbor = { host: 'harbor.corp', prefix: 'airgap/', plain: false };
const FULL: PolicyRequest = {
  keys: [one, two],
  targets: [node, harbor],
  origins: ['quay.io', 'docker.io'],
  aliases: [{ name: 'argoproj/argocd:v3.2.0', ref: 'quay.io/argoproj/argocd:v3.2.0' }],
  namespaces: ['lumen', 'default'],
};
const ALL = { kyvernoPolicy, policyControllerPolicy, gatekeeperPolicy, fluxPolicy, podmanPolicy };

// biome-ignore lint/suspicious/noExplicitAny: what the YAML holds is what these tests are about
type Any = any;

/** The documents of the one YAML file, as a reader of YAML 1.1 (kubectl, Go) takes them. */
function documents(make: (request: PolicyRequest) => PolicyFiles, request: PolicyRequest = FULL): Any[] {
  const [file] = make(normalizeRequest(request));
  return parseAllDocuments(file?.text ?? '', { version: '1.1' }).map((document) => {
    assert.deepEqual(document.errors, []);
    return document.toJS();
  });
}

const podman = (request: PolicyRequest = FULL): { policy: Any; registries: Any } => {
  const files = Object.fromEntries(podmanPolicy(normalizeRequest(request)).map(({ name, text }) => [name, text]));
  return { policy: JSON.parse(files['policy.json'] ?? ''), registries: parse(files['registries.d/only-from-bundle.yaml'] ?? '') };
};

describe('a policy', () => {
  it('depends on what is asked for, not on its order or on what is said twice', () => {
    const turned = {
      ...FULL,
      keys: [two, one, two],
      targets: [harbor, node],
      origins: ['docker.io', 'quay.io', 'docker.io'],
      namespaces: ['default', 'lumen'],
    };
    for (const make of Object.values(ALL)) assert.deepEqual(make(normalizeRequest(turned)), make(normalizeRequest(FULL)));
  });

  it('without keys would accept everything or nothing, and without a registry name nothing: both are usage errors', () => {
    for (const [name, make] of Object.entries(ALL)) {
      throwsWith(() => make({ ...FULL, targets: [] }), 'E_USAGE', /registry/);
      if (name !== 'gatekeeperPolicy') throwsWith(() => make({ ...FULL, keys: [] }), 'E_USAGE', /public key/);
    }
  });

  it('for podman without an origin or an extra name would refuse every image, and is a usage error', () => {
    throwsWith(() => podmanPolicy({ ...FULL, origins: [], aliases: [] }), 'E_USAGE', /every image would be refused/);
    assert.equal(podmanPolicy({ ...FULL, origins: [] }).length, 2);
  });

  it('for a registry that no image can name is a usage error: harbor/x would be of Docker Hub', () => {
    for (const make of Object.values(ALL)) {
      throwsWith(() => make({ ...FULL, targets: [{ ...node, host: 'harbor' }] }), 'E_USAGE', /no dot and no port/);
    }
  });

  it('says what it needs in an air gap where people read it', () => {
    const text = (make: (request: PolicyRequest) => PolicyFiles) =>
      make(FULL)
        .map((file) => file.text)
        .join('');
    assert.match(text(kyvernoPolicy), /# .*knows nothing of k3s' registries\.yaml/);
    assert.match(text(policyControllerPolicy), /# .*--disable-tuf=true/);
    assert.match(text(policyControllerPolicy), /# .*kubectl label namespace lumen policy\.sigstore\.dev\/include=true/);
    assert.match(text(gatekeeperPolicy), /# .*checks no signature/);
    assert.match(text(fluxPolicy), /# +provider: cosign/);
    assert.match(text(podmanPolicy), /# .*registries\.d/);
  });

  it('keeps names that other readers of YAML take for something else', () => {
    const odd = ['on', 'no', 'null', '1e3', '0x1f', '12', '1-2', 'y'];
    const [, constraint] = documents(gatekeeperPolicy, { ...FULL, namespaces: odd, origins: ['1:20', '0.1'] });
    assert.deepEqual(new Set(constraint.spec.match.namespaces), new Set(odd));
    assert.ok(constraint.spec.parameters.prefixes.every((prefix: unknown) => typeof prefix === 'string'));
    const secrets = documents(fluxPolicy, { ...FULL, namespaces: odd });
    assert.deepEqual(new Set(secrets.map((secret) => secret.metadata.namespace)), new Set(odd));
  });

  it('holds a hostile name as a name, wherever it stands', () => {
    const hostile = 'x"\n---\nkind: Secret\n# {{ a }} \u0085\u2028';
    for (const make of [kyvernoPolicy, gatekeeperPolicy, fluxPolicy]) {
      const request = { ...FULL, namespaces: [hostile] };
      const plain = documents(make, { ...FULL, namespaces: ['plain'] });
      const found = documents(make, request);
      assert.equal(found.length, plain.length);
      assert.ok(JSON.stringify(found).includes(JSON.stringify(hostile)));
    }
    const { policy } = podman({ ...FULL, aliases: [{ name: hostile, ref: 'quay.io/a/b:1' }] });
    assert.ok(`node-1:5000/${hostile}` in policy.transports.docker);
  });
});

describe('policy kyverno', () => {
  it('is a ClusterPolicy by its published schema', () => {
    const schema = schemaOf('kyverno-clusterpolicy');
    for (const request of [FULL, { ...FULL, origins: [], namespaces: [], targets: [{ ...node, plain: true }] }])
      for (const policy of documents(kyvernoPolicy, request)) assert.deepEqual(shapeFaults(schema, policy), []);
    const [policy] = documents(kyvernoPolicy);
    policy.spec.rules[3].verifyImages[0].attestors[0].entries[0].keys.rekor.ignoreTLog = true;
    assert.equal(shapeFaults(schema, policy).length, 1, 'the check itself knows a misspelt field');
  });

  it('demands one of our keys for every image at our registry, asking neither log nor SCT', () => {
    const [{ spec }] = documents(kyvernoPolicy);
    const [verify] = spec.rules.find((rule: Any) => rule.name === 'signed').verifyImages;
    assert.deepEqual(verify.imageReferences, ['harbor.corp/airgap/*', 'node-1:5000/*']);
    assert.equal(verify.failureAction, 'Enforce');
    assert.equal(verify.required, true);
    const [{ count, entries }] = verify.attestors;
    assert.equal(count, 1);
    assert.deepEqual(new Set(entries.map((entry: Any) => entry.keys.publicKeys)), new Set([one.pem, two.pem]));
    for (const { keys } of entries) assert.deepEqual([keys.rekor, keys.ctlog], [{ ignoreTlog: true }, { ignoreSCT: true }]);
    assert.equal(spec.webhookConfiguration.failurePolicy, 'Fail');
  });

  it('refuses every other name, since images that match no pattern are not verified', () => {
    const [{ spec }] = documents(kyvernoPolicy);
    const { validate, match } = spec.rules.find((rule: Any) => rule.name === 'named-at-our-registry');
    assert.equal(validate.failureAction, 'Enforce');
    for (const each of validate.foreach) {
      assert.deepEqual(each.deny.conditions.all[0].value, ['harbor.corp/airgap/*', 'node-1:5000/*']);
      assert.equal(each.deny.conditions.all[0].operator, 'AnyNotIn');
    }
    assert.deepEqual(match.any[0].resources, { kinds: ['Pod'], namespaces: ['default', 'lumen'] });
  });

  it('rewrites names of origins to the one place where their signatures are, and nothing without origins', () => {
    const names = (request: PolicyRequest) => documents(kyvernoPolicy, request)[0].spec.rules.map((rule: Any) => rule.name);
    assert.deepEqual(names(FULL), ['rename-docker-io', 'rename-quay-io', 'named-at-our-registry', 'signed']);
    assert.deepEqual(names({ ...FULL, origins: [] }), ['named-at-our-registry', 'signed']);
  });

  it('speaks plain HTTP only where the registry does', () => {
    const credentials = (plain: boolean) =>
      documents(kyvernoPolicy, { ...FULL, targets: [{ ...node, plain }] })[0].spec.rules.at(-1).verifyImages[0]
        .imageRegistryCredentials;
    assert.deepEqual(credentials(true), { allowInsecureRegistry: true });
    assert.equal(credentials(false), undefined);
  });
});

describe('policy policy-controller', () => {
  it('is a ClusterImagePolicy by its published schema, with keys and neither log nor bundle format', () => {
    const [policy] = documents(policyControllerPolicy);
    assert.deepEqual(shapeFaults(schemaOf('clusterimagepolicy'), policy), []);
    assert.deepEqual(
      policy.spec.authorities.map((authority: Any) => Object.keys(authority).sort()),
      [
        ['key', 'name'],
        ['key', 'name'],
      ],
    );
    assert.deepEqual(new Set(policy.spec.authorities.map((authority: Any) => authority.key.data)), new Set([one.pem, two.pem]));
  });

  it('names Docker Hub as go-containerregistry does, and whole paths below it and our registry', () => {
    const globs = documents(policyControllerPolicy)[0].spec.images.map((image: Any) => image.glob);
    assert.deepEqual(globs, ['harbor.corp/airgap/**', 'node-1:5000/**', 'index.docker.io/**', 'quay.io/**']);
  });

  it('refuses an address that its patterns can not say, instead of matching nothing', () => {
    throwsWith(() => policyControllerPolicy({ ...FULL, targets: [{ ...node, host: '[fd00::1]:5000' }] }), 'E_USAGE', /fd00/);
  });
});

describe('policy gatekeeper', () => {
  it('is a ConstraintTemplate by its published schema, and a Constraint by its own', () => {
    const [template, constraint] = documents(gatekeeperPolicy);
    assert.deepEqual(shapeFaults(schemaOf('constrainttemplate'), template), []);
    assert.equal(template.metadata.name, template.spec.crd.spec.names.kind.toLowerCase(), 'Gatekeeper demands it');
    assert.equal(constraint.kind, template.spec.crd.spec.names.kind);
    assert.deepEqual(shapeFaults(template.spec.crd.spec.validation.openAPIV3Schema, constraint.spec.parameters), []);
  });

  it('allows the lumen platform its one registry, in its two namespaces, with a slash at the end of the prefix', () => {
    const lumen = { host: '192.168.2.2:5000', prefix: '', plain: true };
    const [, { spec }] = documents(gatekeeperPolicy, { ...FULL, keys: [], origins: [], targets: [lumen] });
    assert.deepEqual(spec.parameters, { prefixes: ['192.168.2.2:5000/'] });
    assert.deepEqual(spec.match, { kinds: [{ apiGroups: [''], kinds: ['Pod'] }], namespaces: ['default', 'lumen'] });
    assert.equal(spec.enforcementAction, 'deny');
  });

  it('for all namespaces leaves out those without which no node comes up', () => {
    const [, { spec }] = documents(gatekeeperPolicy, { ...FULL, namespaces: [] });
    assert.deepEqual(spec.match.excludedNamespaces, ['gatekeeper-system', 'kube-system']);
  });
});

describe('policy flux', () => {
  it('is one Secret per namespace, whose keys end in .pub as Flux wants them', () => {
    const secrets = documents(fluxPolicy);
    assert.deepEqual(
      secrets.map((secret) => [secret.kind, secret.metadata.namespace]),
      [
        ['Secret', 'default'],
        ['Secret', 'lumen'],
      ],
    );
    for (const { stringData } of secrets) {
      assert.ok(Object.keys(stringData).every((name) => /^[0-9a-f]{16}\.pub$/.test(name)));
      assert.deepEqual(new Set(Object.values(stringData)), new Set([one.pem, two.pem]));
    }
    assert.equal(documents(fluxPolicy, { ...FULL, namespaces: [] })[0].metadata.namespace, 'flux-system');
  });

  it('says what an OCIRepository needs, by its published schema', () => {
    for (const plain of [true, false]) {
      const spec = { interval: '1h', ...fluxSource({ ...harbor, plain }) };
      const source = { apiVersion: 'source.toolkit.fluxcd.io/v1', kind: 'OCIRepository', metadata: {}, spec };
      assert.deepEqual(shapeFaults(schemaOf('ocirepository'), source), []);
      assert.equal(spec.insecure, plain ? true : undefined);
    }
    assert.equal(fluxSource(harbor).verify.secretRef.name, documents(fluxPolicy)[0].metadata.name);
  });
});

describe('policy podman', () => {
  it('rejects everything but the places of the origins and the extra names', () => {
    const { policy, registries } = podman();
    assert.deepEqual(policy.default, [{ type: 'reject' }]);
    assert.deepEqual(Object.keys(policy.transports), ['docker']);
    assert.deepEqual(Object.keys(policy.transports.docker).sort(), [
      'docker.io',
      'harbor.corp/airgap/argoproj/argocd:v3.2.0',
      'harbor.corp/airgap/docker.io',
      'harbor.corp/airgap/quay.io',
      'node-1:5000/argoproj/argocd:v3.2.0',
      'node-1:5000/docker.io',
      'node-1:5000/quay.io',
      'quay.io',
    ]);
    const on = { 'use-sigstore-attachments': true };
    assert.deepEqual(registries, { docker: { 'harbor.corp/airgap': on, 'node-1:5000': on } });
  });

  it('maps each place to the name that is signed, the port of an origin included', () => {
    const { policy } = podman({ ...FULL, origins: ['registry.corp:5000'], aliases: [] });
    assert.deepEqual(policy.transports.docker['node-1:5000/registry.corp_5000'][0].signedIdentity, {
      type: 'remapIdentity',
      prefix: 'node-1:5000/registry.corp_5000',
      signedPrefix: 'registry.corp:5000',
    });
  });

  it('never demands the keys together: one entry, with one key or with several of which any counts', () => {
    const entries = (keys: PolicyRequest['keys']) => Object.values<Any>(podman({ ...FULL, keys }).policy.transports.docker);
    for (const entry of [...entries([one]), ...entries([one, two])]) assert.equal(entry.length, 1);
    assert.equal(Buffer.from(entries([one])[0][0].keyData, 'base64').toString(), one.pem);
    assert.equal(entries([one, two])[0][0].keyDatas.length, 2);
  });
});
