/** The pitfalls of field notes k3s.md, sections 1.2 to 1.5 and its addendum, that a file can show. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lintRegistries } from '../../../src/k3s/lint.ts';
import { parseRegistriesYaml } from '../../../src/k3s/registries-yaml.ts';

const lint = (text: string): string[] =>
  lintRegistries(parseRegistriesYaml(text, 'r').registries).map(({ entry, message }) => `${entry}: ${message}`);

const mirror = (name: string, ...endpoints: string[]): string =>
  `mirrors: {${JSON.stringify(name)}: {endpoint: [${endpoints.map((e) => JSON.stringify(e)).join(', ')}]}}\n`;
const GOOD = mirror('docker.io', 'https://node-1:5000/v2/docker.io');

const PITFALLS: readonly (readonly [name: string, text: string, warning: RegExp])[] = [
  [
    'a configs entry for the mirrored name re-opens the default endpoint (1.4)',
    `${GOOD}configs: {docker.io: {auth: {username: u}}}`,
    /^configs\.docker\.io: .*disable-default-registry-endpoint/,
  ],
  [
    'tls keyed by the mirrored registry does not reach the mirror (k3s#13215)',
    `${GOOD}configs: {docker.io: {tls: {ca_file: /a}}}`,
    /belong under the mirror's host and port/,
  ],
  [
    'insecure_skip_verify does not mean plain HTTP (k3s#13379)',
    `${mirror('docker.io', 'http://node-1:5000/v2/docker.io')}configs: {"node-1:5000": {tls: {insecure_skip_verify: true}}}`,
    /^configs\.node-1:5000: .*does not mean plain HTTP/,
  ],
  [
    'a CA for an http endpoint makes containerd try https first',
    `${mirror('docker.io', 'http://node-1:5000/v2/docker.io')}configs: {"node-1:5000": {tls: {ca_file: /a}}}`,
    /tries https first/,
  ],
  [
    'configs without the port of the endpoint (addendum)',
    `${GOOD}configs: {node-1: {tls: {ca_file: /a}}}`,
    /no endpoint has this host and port; did you mean node-1:5000\?/,
  ],
  [
    'configs keyed by a URL (addendum)',
    `${GOOD}configs: {"https://node-1:5000": {tls: {ca_file: /a}}}`,
    /has a scheme.*write node-1:5000/,
  ],
  ['configs for a host of no endpoint', `${GOOD}configs: {other.lab: {tls: {ca_file: /a}}}`, /^configs\.other\.lab: no endpoint/],
  ['configs "*" is no fallback in k3s', `${GOOD}configs: {"*": {tls: {ca_file: /a}}}`, /^configs\.\*: .*does not fall back/],
  [
    'a mirrors name with a scheme',
    mirror('https://docker.io', 'https://a'),
    /^mirrors\.https:\/\/docker\.io: .*write docker\.io/,
  ],
  ['a mirrors name with a path', mirror('docker.io/library', 'https://a'), /has a path/],
  ['a mirrors name with upper-case letters', mirror('Docker.io', 'https://a'), /upper-case/],
  ['index.docker.io is never asked for', mirror('index.docker.io', 'https://a'), /never used/],
  ['an IPv6 name without a port is mangled', mirror('[fd00::1]', 'https://a'), /mangles/],
  ['an IPv6 name without brackets', mirror('fd00::1', 'https://a'), /brackets/],
  ['"*" (k3s#9728, #11857)', mirror('*', 'https://a'), /^mirrors\.\*: .*broke it twice/],
  ['"*" with a path can not know the origin', mirror('*', 'https://a/v2/docker.io'), /share one path/],
  [
    'a bare host name as endpoint (k3s#9322)',
    mirror('docker.io', 'node-1:5000/v2/docker.io'),
    /has no scheme: write https:\/\/node-1:5000\/v2\/docker\.io/,
  ],
  ['an endpoint that k3s skips', mirror('docker.io', 'https://a b'), /is not a URL/],
  ['an endpoint with another scheme', mirror('docker.io', 'oci://a/v2'), /scheme oci/],
  ['a login in an endpoint', mirror('docker.io', 'https://u:p@a/v2/docker.io'), /login in its URL/],
  ['a path without /v2 (addendum)', mirror('docker.io', 'https://node-1:5000/docker.io'), /takes the place of \/v2/],
  ['/v2 behind the origin (addendum)', mirror('docker.io', 'https://node-1:5000/docker.io/v2'), /takes the place of \/v2/],
  ['duplicate endpoints', mirror('docker.io', 'https://a', 'https://a/v2'), /listed twice/],
  ['no endpoint at all', 'mirrors: {docker.io: {}}', /no effect unless the embedded registry/],
  [
    'two registries on one endpoint without a path: the wrong image without an error (E1)',
    'mirrors: {docker.io: {endpoint: ["https://m"]}, ghcr.io: {endpoint: ["https://m/"]}}',
    /docker\.io, ghcr\.io share https:\/\/m\/v2/,
  ],
  [
    'rewrite is not in stock containerd (E3)',
    'mirrors: {docker.io: {endpoint: ["https://m"], rewrite: {"^(.*)$": "docker.io/${1}"}}}',
    /k3s's own containerd only/,
  ],
  [
    'several rewrites have no order (rke2#3227)',
    'mirrors: {docker.io: {endpoint: ["https://m"], rewrite: {a: b, c: d}}}',
    /order is not kept/,
  ],
  [
    '$1 without a group (k3s#11191)',
    'mirrors: {docker.io: {endpoint: ["https://m"], rewrite: {"^.*$": "x/$1"}}}',
    /does not have/,
  ],
  [
    '$1x is a group named 1x (k3s#11191)',
    'mirrors: {docker.io: {endpoint: ["https://m"], rewrite: {"^(.*)$": "x/$1x"}}}',
    /write \$\{1\}/,
  ],
];

for (const [name, text, warning] of PITFALLS) {
  test(`warns: ${name}`, () =>
    assert.ok(
      lint(text).some((line) => warning.test(line)),
      `no ${warning} in:\n${lint(text).join('\n')}`,
    ));
}

const FINE: readonly (readonly [name: string, text: string])[] = [
  ['a path per origin', GOOD],
  ['tls under the host and port of the endpoint', `${GOOD}configs: {"node-1:5000": {tls: {ca_file: /a}}}`],
  [
    'the direct name beside it',
    `mirrors: {docker.io: {endpoint: ["https://node-1:5000/v2/docker.io"]}, "node-1:5000": {endpoint: ["https://node-1:5000"]}}\nconfigs: {"node-1:5000": {tls: {ca_file: /a}}}`,
  ],
  ['a login for a registry without a mirror, in a file without mirrors', 'configs: {ghcr.io: {auth: {username: u}}}'],
  ['an empty file', ''],
];

for (const [name, text] of FINE) test(`has nothing to say about ${name}`, () => assert.deepEqual(lint(text), []));
