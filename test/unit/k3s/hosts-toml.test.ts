/** The table of k3s's own test of this mapping (pkg/agent/containerd/config_test.go), without its cases for the embedded registry. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostDirectory, planHosts } from '../../../src/k3s/hosts.ts';
import { renderHostsToml } from '../../../src/k3s/hosts-toml.ts';
import { parseRegistriesYaml } from '../../../src/k3s/registries-yaml.ts';

const read = (text: string) => parseRegistriesYaml(text, 'registries.yaml').registries;

/** `registry: fallback <- endpoints`, `!` for override_path, `+` for a configuration that reached it. */
function shape(text: string, disableDefaultEndpoint = false): string[] {
  return [...planHosts(read(text), { disableDefaultEndpoint })].map(([name, { fallback, endpoints }]) => {
    const mark = (url: string, over: boolean, config: object): string =>
      `${url}${over ? '!' : ''}${Object.keys(config).length > 0 ? '+' : ''}`;
    const last = fallback === undefined ? 'none' : mark(fallback.url ?? 'unset', fallback.overridePath, fallback.config);
    return `${name}: ${last} <- ${endpoints.map((e) => mark(e.url, e.overridePath, e.config)).join(' ')}`.trim();
  });
}

const HUB = 'https://registry-1.docker.io/v2';
const EXAMPLE = 'https://registry.example.com/v2';
const creds = (host: string): string => `configs: {"${host}": {auth: {username: user, password: pass}}}\n`;
const mirror = (name: string, ...endpoints: string[]): string =>
  `mirrors: {"${name}": {endpoint: [${endpoints.map((e) => JSON.stringify(e)).join(', ')}]}}\n`;

const CASES: readonly (readonly [name: string, yaml: string, want: readonly string[], disable?: boolean])[] = [
  ['no registries', '', []],
  ['a registry without endpoints', 'mirrors:\n  docker.io:\n', []],
  ['the default endpoint listed', mirror('docker.io', 'docker.io'), []],
  ['a registry without endpoints and with a login', `mirrors:\n  docker.io:\n${creds('docker.io')}`, [`docker.io: ${HUB}+ <-`]],
  ['the default endpoint listed and a login', mirror('docker.io', 'docker.io') + creds('docker.io'), [`docker.io: ${HUB}+ <-`]],
  ['a login only', creds('docker.io'), [`docker.io: ${HUB}+ <-`]],
  ['a private registry without endpoints', 'mirrors:\n  registry.example.com:\n', []],
  ['a private registry with a login only', creds('registry.example.com'), [`registry.example.com: ${EXAMPLE}+ <-`]],
  [
    'a URL with another path',
    mirror('docker.io', 'https://registry.example.com/prefix/v2'),
    [`docker.io: ${HUB} <- https://registry.example.com/prefix/v2!`],
  ],
  [
    'a bare host with another path',
    mirror('docker.io', 'registry.example.com/prefix/v2'),
    [`docker.io: ${HUB} <- https://registry.example.com/prefix/v2!`],
  ],
  ['a bare host with the default path', mirror('docker.io', 'registry.example.com/v2'), [`docker.io: ${HUB} <- ${EXAMPLE}`]],
  ['a URL without path', mirror('docker.io', 'https://registry.example.com'), [`docker.io: ${HUB} <- ${EXAMPLE}`]],
  ['a bare host', mirror('docker.io', 'registry.example.com'), [`docker.io: ${HUB} <- ${EXAMPLE}`]],
  [
    'a host with port 443',
    mirror('docker.io', 'registry.example.com:443'),
    [`docker.io: ${HUB} <- https://registry.example.com:443/v2`],
  ],
  ['an address', mirror('docker.io', '1.2.3.4'), [`docker.io: ${HUB} <- https://1.2.3.4/v2`]],
  [
    'duplicate endpoints',
    mirror('docker.io', 'registry.example.com', 'registry.example.com'),
    [`docker.io: ${HUB} <- ${EXAMPLE}`],
  ],
  [
    'duplicate endpoints in three forms',
    mirror('docker.io', 'registry.example.com', 'https://registry.example.com', EXAMPLE),
    [`docker.io: ${HUB} <- ${EXAMPLE}`],
  ],
  [
    'duplicate endpoints apart',
    mirror('docker.io', 'https://registry.example.com', 'https://registry.example.org', 'https://registry.example.com'),
    [`docker.io: ${HUB} <- ${EXAMPLE} https://registry.example.org/v2`],
  ],
  ['localhost with a port', mirror('docker.io', 'localhost:5000'), [`docker.io: ${HUB} <- http://localhost:5000/v2`]],
  ['https localhost', mirror('docker.io', 'https://localhost:5000'), [`docker.io: ${HUB} <- https://localhost:5000/v2`]],
  ['loopback with a port', mirror('docker.io', '127.0.0.1:5000'), [`docker.io: ${HUB} <- http://127.0.0.1:5000/v2`]],
  [
    'a login for the mirror',
    mirror('docker.io', EXAMPLE) + creds('registry.example.com'),
    [`registry.example.com: ${EXAMPLE}+ <-`, `docker.io: ${HUB} <- ${EXAMPLE}+`],
  ],
  [
    'a login for the mirror, no default endpoint',
    mirror('docker.io', EXAMPLE) + creds('registry.example.com'),
    [`registry.example.com: ${EXAMPLE}+ <-`, `docker.io: none <- ${EXAMPLE}+`],
    true,
  ],
  [
    'a login for the mirrored registry keeps its default endpoint open although it is disabled',
    mirror('docker.io', EXAMPLE) + creds('docker.io'),
    [`docker.io: ${HUB}+ <- ${EXAMPLE}`],
    true,
  ],
  [
    'a login for the mirrored registry does not reach the mirror (k3s#13215)',
    mirror('docker.io', 'https://node-1:5000') + creds('docker.io'),
    [`docker.io: ${HUB}+ <- https://node-1:5000/v2`],
  ],
  [
    'a login for the host without its port does not reach the mirror',
    mirror('docker.io', 'https://node-1:5000') + creds('node-1'),
    ['node-1: https://node-1/v2+ <-', `docker.io: ${HUB} <- https://node-1:5000/v2`],
  ],
  [
    'a path of its own for the registry itself',
    mirror('registry.example.com', 'https://registry.example.com/prefix/v2') + creds('registry.example.com'),
    [`registry.example.com: ${EXAMPLE}+ <- https://registry.example.com/prefix/v2!+`],
  ],
  [
    'the default endpoint last, disabled: then it is one like the others',
    mirror('docker.io', 'registry.example.com', 'docker.io'),
    [`docker.io: none <- ${EXAMPLE} ${HUB}`],
    true,
  ],
  ['the default endpoint last', mirror('docker.io', 'registry.example.com', 'docker.io'), [`docker.io: ${HUB} <- ${EXAMPLE}`]],
  ['a wildcard without endpoints', 'mirrors:\n  "*":\n', []],
  ['a wildcard', mirror('*', EXAMPLE), [`_default:  <- ${EXAMPLE}`]],
  ['a wildcard, no default endpoint', mirror('*', EXAMPLE), [`_default: none <- ${EXAMPLE}`], true],
  ['a wildcard under configs', creds('*'), ['_default: unset+ <-']],
  [
    'localhost registries without endpoints',
    'mirrors:\n  localhost:\n  "localhost:443":\n  "localhost:5000":\n  "localhost:80":\n',
    [],
  ],
  [
    'https on a local port, unverified',
    `${mirror('localhost:5000', 'https://localhost:5000')}configs: {"localhost:5000": {tls: {insecure_skip_verify: true}}}\n`,
    ['localhost:5000: http://localhost:5000/v2+ <- https://localhost:5000/v2+'],
  ],
  [
    'an endpoint that is no URL is skipped',
    mirror('docker.io', 'https://a b', 'https://ok'),
    [`docker.io: ${HUB} <- https://ok/v2`],
  ],
];

for (const [name, yaml, want, disable] of CASES) {
  test(`as k3s derives hosts.toml: ${name}`, () => assert.deepEqual(shape(yaml, disable), want));
}

test('directories are named as containerd looks for them', () => {
  assert.equal(hostDirectory('docker.io'), 'docker.io');
  assert.equal(hostDirectory('node-1:5000'), 'node-1_5000_');
  assert.equal(hostDirectory('[fd00::1]:5000'), '[fd00::1]_5000_');
});

test('the rendered files are these, byte for byte', () => {
  const files = renderHostsToml(
    read(`mirrors:
  "*": {endpoint: ["https://all:1"]}
  docker.io: {endpoint: ["https://node-1:5000/v2/docker.io", "http://[fd00::2]:5000/v2/docker.io"], rewrite: {"^b": "x/b", "^a": "x/a"}}
  "node-1:5000": {endpoint: ["https://node-1:5000"]}
configs:
  "node-1:5000":
    auth: {username: u, password: never-shown}
    tls: {ca_file: "/etc/a \\"b\\".crt", cert_file: /c, key_file: /k, insecure_skip_verify: yes}
`),
  );
  const tls = (indent: string): string =>
    ['ca = ["/etc/a \\"b\\".crt"]', 'client = [["/c", "/k"]]', 'skip_verify = true'].map((line) => `${indent}${line}\n`).join('');
  assert.deepEqual(
    [...files],
    [
      [
        '_default',
        '# File generated by k3s. DO NOT EDIT.\n\nserver = ""\ncapabilities = ["pull", "resolve", "push"]\n\n[host]\n' +
          '[host."https://all:1/v2"]\n  capabilities = ["pull", "resolve"]\n',
      ],
      [
        'docker.io',
        '# File generated by k3s. DO NOT EDIT.\n\nserver = "https://registry-1.docker.io/v2"\ncapabilities = ["pull", "resolve", "push"]\n\n[host]\n' +
          '[host."https://node-1:5000/v2/docker.io"]\n  capabilities = ["pull", "resolve"]\n  override_path = true\n' +
          tls('  ') +
          '  [host."https://node-1:5000/v2/docker.io".rewrite]\n    "^a" = "x/a"\n    "^b" = "x/b"\n' +
          '[host."http://[fd00::2]:5000/v2/docker.io"]\n  capabilities = ["pull", "resolve"]\n  override_path = true\n' +
          '  [host."http://[fd00::2]:5000/v2/docker.io".rewrite]\n    "^a" = "x/a"\n    "^b" = "x/b"\n',
      ],
      [
        'node-1_5000_',
        '# File generated by k3s. DO NOT EDIT.\n\nserver = "https://node-1:5000/v2"\ncapabilities = ["pull", "resolve", "push"]\n' +
          `${tls('')}\n[host]\n`,
      ],
    ],
  );
});

test('every file has the [host] table, without which containerd drops it all (k3s#9983)', () => {
  for (const text of renderHostsToml(read(creds('a.b') + mirror('c.d', 'https://e.f'))).values())
    assert.match(text, /^\[host\]$/m);
});

test('no login is ever in hosts.toml', () => {
  const files = renderHostsToml(read(mirror('docker.io', EXAMPLE) + creds('registry.example.com')));
  assert.doesNotMatch([...files.values()].join(), /user|pass/);
});
