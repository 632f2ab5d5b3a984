/** The policy for Gatekeeper, before its own `gator`. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gatekeeperPolicy } from '../../src/policy/gatekeeper.ts';
import { normalizeRequest, type PolicyRequest } from '../../src/policy/policy-request.ts';
import { run } from '../support/real/programs.ts';
import { createSuiteScope } from '../support/real/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { isInstalled, tool } from '../support/tools.ts';

const LUMEN = { host: '192.168.2.2:5000', prefix: '', plain: true };
const REQUEST: PolicyRequest = { keys: [], targets: [LUMEN], origins: [], aliases: [], namespaces: ['lumen', 'default'] };
const suite = createSuiteScope();
let directory = '';
before(async () => {
  directory = await tempDir(suite, 'bundle-admission-');
});
after(() => suite.end());

type Pod = Readonly<{ name: string; namespace?: string; spec: object }>;
const running = (image: string): object => ({ containers: [{ name: 'a', image }] });

/** JSON is YAML: a list for `-f`. */
async function pods(list: readonly Pod[]): Promise<string> {
  const items = list.map(({ name, namespace = 'lumen', spec }) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec,
  }));
  const file = join(directory, 'pods.yaml');
  await writeFile(file, items.map((item) => JSON.stringify(item)).join('\n---\n'));
  return file;
}

/** It compiles for seven minutes, so that CI does without. */
const skip = isInstalled('gator') ? false : 'bring it with scripts/interop/install.sh gator';

describe('policy gatekeeper, before gator', { skip }, () => {
  /** Names of the pods that are refused. */
  async function refused(list: readonly Pod[], change: Partial<PolicyRequest> = {}): Promise<string[]> {
    const policy = join(directory, 'gatekeeper.yaml');
    const [file] = gatekeeperPolicy(normalizeRequest({ ...REQUEST, ...change }));
    await writeFile(policy, file?.text ?? '');
    const { code, stdout, stderr } = await run(tool('gator'), ['test', '-f', policy, '-f', await pods(list), '-o', 'json'], {
      env: { HOME: directory },
    });
    const violations = stdout.length === 0 ? null : JSON.parse(stdout.toString());
    assert.equal(code, violations === null ? 0 : 1, stderr);
    return [
      ...new Set<string>(
        (violations ?? []).map((v: { violatingObject: { metadata: { name: string } } }) => v.violatingObject.metadata.name),
      ),
    ].sort();
  }

  it('lets pods of our registry run and refuses every name that only looks like it', async () => {
    const bad = {
      'longer-port': '192.168.2.2:50001/app:1',
      'longer-host': '192.168.2.2:5000.evil.example/app:1',
      'other-port': '192.168.2.2:5001/app:1',
      path: 'evil.example/192.168.2.2:5000/app:1',
      hub: 'redis:7',
      'hub-user': 'team/app',
      'hub-full': 'docker.io/library/redis:7',
      'host-alone': '192.168.2.2:5000',
      localhost: 'localhost/app:1',
    };
    const list = [
      { name: 'good', spec: running('192.168.2.2:5000/team/app:1') },
      { name: 'good-digest', spec: running(`192.168.2.2:5000/app@sha256:${'a'.repeat(64)}`) },
      ...Object.entries(bad).map(([name, image]) => ({ name, spec: running(image) })),
    ];
    assert.deepEqual(await refused(list), Object.keys(bad).sort());
  });

  it('looks at init and ephemeral containers and at image volumes', async () => {
    const good = running('192.168.2.2:5000/app:1');
    const other = [{ name: 'b', image: 'quay.io/other:1' }];
    const list = [
      { name: 'init', spec: { ...good, initContainers: other } },
      { name: 'ephemeral', spec: { ...good, ephemeralContainers: other } },
      { name: 'volume', spec: { ...good, volumes: [{ name: 'v', image: { reference: 'quay.io/other:1' } }] } },
      {
        name: 'volumes',
        spec: {
          ...good,
          volumes: [
            { name: 'v', emptyDir: {} },
            { name: 'w', image: { reference: '192.168.2.2:5000/data:1' } },
          ],
        },
      },
    ];
    assert.deepEqual(await refused(list), ['ephemeral', 'init', 'volume']);
  });

  it('is for the namespaces that are named, or for all but the system', async () => {
    const list = ['lumen', 'default', 'other', 'kube-system'].map((namespace) => ({
      name: namespace,
      namespace,
      spec: running('quay.io/a:1'),
    }));
    assert.deepEqual(await refused(list), ['default', 'lumen']);
    assert.deepEqual(await refused(list, { namespaces: [] }), ['default', 'lumen', 'other']);
  });

  it('lets the names of origins pass where they are asked for, Docker Hub by all its names', async () => {
    const images = [
      'redis:7',
      'team/app',
      'docker.io/library/redis:7',
      'quay.io/a/b:1',
      'quay.io.evil.example/a',
      'ghcr.io/a/b:1',
    ];
    const list = images.map((image, i) => ({ name: `pod-${i}`, spec: running(image) }));
    assert.deepEqual(await refused(list, { origins: ['docker.io', 'quay.io'] }), ['pod-4', 'pod-5']);
  });
});
