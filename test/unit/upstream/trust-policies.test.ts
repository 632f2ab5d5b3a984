import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { parseReference } from '../../../src/core/reference.ts';
import { nodeFileSystem } from '../../../src/files/node-file-system.ts';
import { loadTrustPolicies, policyFor, type TrustPolicies } from '../../../src/upstream/trust-policies.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { pemOf } from './evidence.ts';
import { createFakeSigstore, ecPair } from './fake-sigstore.ts';

const key = ecPair();
const KEYLESS = '{keyless: {issuer: "https://token.example.test", identity: dev@example.test}}';

async function trustDirectory(t: TestContext, yaml: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'bundle-trust-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  await writeFile(`${directory}/trust.yaml`, yaml);
  await writeFile(`${directory}/up.pub`, pemOf(key.publicKey));
  await writeFile(`${directory}/root.json`, createFakeSigstore().root());
  return directory;
}

const load = async (t: TestContext, yaml: string): Promise<TrustPolicies> => {
  const policies = await loadTrustPolicies(nodeFileSystem, await trustDirectory(t, yaml));
  assert.ok(policies);
  return policies;
};
const refuses = async (t: TestContext, yaml: string, message: RegExp): Promise<void> =>
  void (await rejectsWith(loadTrustPolicies(nodeFileSystem, await trustDirectory(t, yaml)), 'E_TRUST_FILE', message));

describe('trust.yaml', () => {
  test('without one nothing is demanded', async (t) => {
    const directory = await trustDirectory(t, '');
    await rm(`${directory}/trust.yaml`);
    assert.equal(await loadTrustPolicies(nodeFileSystem, directory), undefined);
  });

  test('the longest scope that a reference is in counts, at path boundaries, and "*" for the rest', async (t) => {
    const trust = await load(
      t,
      `policies:
  docker.io: {unsigned: allowed}
  quay.io/argoproj: {key: up.pub}
  quay.io/argoproj/argocd: ${KEYLESS}
  "registry.example.test:5000": {key: [up.pub]}
  "*": {key: up.pub, until: 2027-01-01, attestation: "https://slsa.dev/provenance/v1"}
`,
    );
    const kindOf = (ref: string): string | undefined => {
      const policy = policyFor(trust, parseReference(ref));
      return policy?.kind === 'key' ? `key ${policy.attestation ?? ''}` : policy?.kind;
    };
    for (const [ref, kind] of [
      ['redis:7', 'unsigned'],
      ['docker.io/bitnami/redis:7', 'unsigned'],
      ['index.docker.io/bitnami/redis:7', 'unsigned'],
      ['quay.io/argoproj/argocd:v3', 'keyless'],
      ['quay.io/argoproj/argocd/more:v3', 'keyless'],
      ['quay.io/argoproj/argocd-image:v3', 'key '],
      ['quay.io/argoproj/rollouts@sha256:'.concat('a'.repeat(64)), 'key '],
      ['quay.io/argoproj-labs/x:1', 'key https://slsa.dev/provenance/v1'],
      ['quay.io/other:1', 'key https://slsa.dev/provenance/v1'],
      ['registry.example.test:5000/x:1', 'key '],
      ['registry.example.test/x:1', 'key https://slsa.dev/provenance/v1'],
      ['evil-docker.io/x:1', 'key https://slsa.dev/provenance/v1'],
    ] as const)
      assert.equal(kindOf(ref), kind, ref);
  });

  test('without "*" nothing is demanded of the rest', async (t) => {
    const trust = await load(t, 'policies: {quay.io/argoproj: {key: up.pub}}');
    assert.equal(policyFor(trust, parseReference('redis:7')), undefined);
    assert.equal(trust.root, undefined);
  });

  test('the root is a file beside it, or, said in so many words, that of the bundle', async (t) => {
    const own = await load(t, `policies: {"*": ${KEYLESS}}\ntrustedRoot: root.json`);
    assert.ok(typeof own.root === 'object' && own.root.material.tlogs.length === 2);
    assert.equal((await load(t, `policies: {"*": ${KEYLESS}}\ntrustedRoot: fromBundle`)).root, 'fromBundle');
    await refuses(t, `policies: {"*": ${KEYLESS}}\ntrustedRoot: frombundle`, /frombundle: can't be read/);
    await refuses(t, `policies: {"*": ${KEYLESS}}\ntrustedRoot: up.pub`, /not JSON/);
  });

  test('whatever is wrong with it is a fault of trust, with its place', async (t) => {
    await refuses(t, '', /trust\.yaml:1:1: is empty/);
    await refuses(t, 'policies: [', /trust\.yaml:/);
    await refuses(t, 'policie: {}', /trust\.yaml:1:1: policie: unknown key; did you mean "policies"\?/);
    await refuses(t, 'policies: {docker.io: {kee: up.pub}}', /docker\.io"?\.kee: unknown key; did you mean "key"\?/);
    await refuses(t, 'policies: {docker.io: {}}', /want key, keyless or unsigned/);
    await refuses(t, 'policies: {"https://docker.io": {unsigned: allowed}}', /neither a registry/);
    await refuses(t, 'policies: {"docker.io/": {unsigned: allowed}}', /neither a registry/);
    await refuses(t, 'policies: {"quay.io/Argo": {unsigned: allowed}}', /neither a registry/);
    await refuses(t, 'policies: {"quay.io/*": {unsigned: allowed}}', /neither a registry/);
    await refuses(
      t,
      'policies: {docker.io: {unsigned: allowed}, index.docker.io: {key: up.pub}}',
      /means the same as "docker\.io"/,
    );
    await refuses(t, 'policies: {docker.io: {unsigned: allowed}, docker.io: {key: up.pub}}', /twice/);
    await refuses(t, 'policies: {docker.io: {key: gone.pub}}', /gone\.pub: can't be read/);
    await refuses(t, 'a: &a 1', /trust\.yaml/);
  });

  test('a file that means to be one and has another name is refused, also beside a good one', async (t) => {
    for (const name of ['trust.yml', 'Trust.yaml', 'TRUST.YML']) {
      const directory = await trustDirectory(t, 'policies: {}');
      await writeFile(`${directory}/${name}`, '');
      const error = await rejectsWith(loadTrustPolicies(nodeFileSystem, directory), 'E_TRUST_FILE');
      assert.ok(error.message.includes(`${directory}/${name}`), error.message);
      assert.match(error.hint ?? '', /call it trust\.yaml/);
      await rm(`${directory}/trust.yaml`, { force: true });
      await writeFile(`${directory}/${name}`, '');
      await rejectsWith(loadTrustPolicies(nodeFileSystem, directory), 'E_TRUST_FILE');
    }
    const directory = await trustDirectory(t, 'policies: {}');
    for (const name of ['._trust.yaml', 'trust.yaml.old', 'trust.json', 'my-trust.yml'])
      await writeFile(`${directory}/${name}`, '');
    assert.equal((await loadTrustPolicies(nodeFileSystem, directory))?.policies.size, 0);
  });

  test('a trust.yaml that is there and can not be read is not passed over', async (t) => {
    const directory = await trustDirectory(t, '');
    await rm(`${directory}/trust.yaml`);
    await mkdir(`${directory}/trust.yaml`);
    await rejectsWith(loadTrustPolicies(nodeFileSystem, directory), 'E_TRUST_FILE', /trust\.yaml/);
  });
});
