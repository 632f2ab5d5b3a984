import assert from 'node:assert/strict';
import { test } from 'node:test';
import { desiredMirrors, type MirrorWishes } from '../../../src/k3s/desired-mirrors.ts';
import { lintRegistries } from '../../../src/k3s/lint.ts';
import { mergeRegistries } from '../../../src/k3s/merge.ts';
import { throwsWith } from '../../support/assert-code.ts';

const wishes = (more: Partial<MirrorWishes> = {}): MirrorWishes => ({
  origins: ['quay.io', 'docker.io', 'docker.io'],
  endpoints: ['https://node-1:5000'],
  directNames: true,
  ...more,
});

const fileOf = (more: Partial<MirrorWishes> = {}): string =>
  mergeRegistries({ existing: undefined, file: 'r', bundle: 'lumen', written: {}, desired: desiredMirrors(wishes(more)) }).text;

test('one entry per origin and one for the name of the endpoint; the file is this, byte for byte', () => {
  assert.equal(
    fileOf({ tls: { caFile: '/etc/bundle/ca.crt' } }),
    `# Read by k3s when it starts. "bundle" changes the entries that it wrote and leaves all others alone.
mirrors:
  docker.io:
    endpoint:
      - "https://node-1:5000/v2/docker.io"
  "node-1:5000":
    endpoint:
      - "https://node-1:5000"
  quay.io:
    endpoint:
      - "https://node-1:5000/v2/quay.io"
configs:
  "node-1:5000":
    tls:
      ca_file: "/etc/bundle/ca.crt"
`,
  );
});

test('several endpoints are tried in the order given, each with an entry of its own', () => {
  const { mirrors, configs } = desiredMirrors(
    wishes({ endpoints: ['https://node-1:5000', 'https://192.168.2.2:5000'], nodeAuth: { username: 'n', password: 'p' } }),
  );
  assert.deepEqual(mirrors.get('docker.io')?.endpoint, [
    'https://node-1:5000/v2/docker.io',
    'https://192.168.2.2:5000/v2/docker.io',
  ]);
  assert.deepEqual(mirrors.get('192.168.2.2:5000')?.endpoint, ['https://192.168.2.2:5000']);
  assert.deepEqual([...configs.keys()], ['node-1:5000', '192.168.2.2:5000']);
});

test('tls never goes with an http endpoint, where containerd would try https first', () => {
  const { configs } = desiredMirrors(
    wishes({ endpoints: ['http://node-1:5000', 'https://node-2:5000'], tls: { insecureSkipVerify: true } }),
  );
  assert.equal(configs.has('node-1:5000'), false);
  assert.deepEqual(configs.get('node-2:5000'), { tls: { insecure_skip_verify: true } });
});

test('a login for nodes goes under the host of the endpoint, never under the mirrored registry', () => {
  const { configs } = desiredMirrors(wishes({ nodeAuth: { username: 'node', password: 'pull' } }));
  assert.deepEqual([...configs], [['node-1:5000', { auth: { username: 'node', password: 'pull' } }]]);
});

test('an endpoint without a port has its configs entry without one too', () => {
  const { configs, mirrors } = desiredMirrors(wishes({ endpoints: ['https://registry.corp'], tls: { caFile: '/ca' } }));
  assert.deepEqual([...configs.keys()], ['registry.corp']);
  assert.deepEqual(mirrors.get('registry.corp')?.endpoint, ['https://registry.corp']);
});

test('where the target is an origin of the bundle too, its mirrored images come first and direct names still work', () => {
  const { mirrors } = desiredMirrors(wishes({ origins: ['node-1:5000'] }));
  assert.deepEqual(mirrors.get('node-1:5000')?.endpoint, ['https://node-1:5000/v2/node-1_5000', 'https://node-1:5000']);
});

test('without directNames there is no entry for the endpoint itself', () => {
  assert.deepEqual([...desiredMirrors(wishes({ directNames: false })).mirrors.keys()], ['docker.io', 'quay.io']);
});

test('no rewrite is ever written', () => assert.doesNotMatch(fileOf(), /rewrite/));

test('what we write has nothing that our own lint would warn of', () => {
  for (const endpoints of [
    ['https://node-1:5000', 'http://192.168.2.2:5000'],
    ['https://[fd00::1]:5000'],
    ['https://harbor.corp/v2/airgap'],
  ]) {
    const tls = { caFile: '/ca', insecureSkipVerify: true };
    const desired = desiredMirrors(wishes({ endpoints, tls, nodeAuth: { username: 'n', password: 'p' } }));
    assert.deepEqual(lintRegistries(desired), []);
  }
});

for (const origin of ['docker.io"', 'a b', 'a\nb', '__proto__', 'a/b', '*', '', 'https://docker.io']) {
  test(`the hostile origin ${JSON.stringify(origin)} is refused`, () => {
    throwsWith(() => desiredMirrors(wishes({ origins: [origin] })), 'E_REFERENCE');
  });
}

const REFUSED: readonly (readonly [name: string, more: Partial<MirrorWishes>, why: RegExp])[] = [
  ['no endpoint at all', { endpoints: [] }, /no endpoint/],
  ['a certificate without its key', { tls: { certFile: '/c' } }, /both/],
  ['a key without its certificate', { tls: { keyFile: '/k' } }, /both/],
  ['a relative CA path, which containerd would look for in certs.d', { tls: { caFile: 'ca.crt' } }, /absolute/],
  ['a CA path with a line break', { tls: { caFile: '/a\nb' } }, /line break/],
  ['a user name with a colon', { nodeAuth: { username: 'a:b', password: 'p' } }, /":"/],
  ['a NUL in the password', { nodeAuth: { username: 'a', password: 'x\u0000y' } }, /control character/],
  ['a line separator in the password', { nodeAuth: { username: 'a', password: 'x\u2028y' } }, /control character/],
  ['half a surrogate pair in the password', { nodeAuth: { username: 'a', password: 'x\ud800' } }, /control character/],
];

for (const [name, more, why] of REFUSED) {
  test(`${name} is refused, and the password is not in the message`, () => {
    const error = throwsWith(() => desiredMirrors(wishes(more)), 'E_USAGE', why);
    assert.doesNotMatch(error.message, /x.?y/s);
  });
}
