/** A registries.yaml that k3s would take silently wrong, or die of, is refused with its place before anything is written. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isBundleError } from '../../src/core/errors.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { desiredMirrors } from '../../src/k3s/desired-mirrors.ts';
import { renderHostsToml } from '../../src/k3s/hosts-toml.ts';
import { lintRegistries } from '../../src/k3s/lint.ts';
import { mergeRegistries } from '../../src/k3s/merge.ts';
import { parseRegistriesYaml } from '../../src/k3s/registries-yaml.ts';
import { throwsWith } from '../support/assert-code.ts';
import { YAML_WORDS } from '../support/yaml-words.ts';

const parse = (text: string) => parseRegistriesYaml(text, 'registries.yaml');

const REFUSED: readonly (readonly [name: string, text: string, message: RegExp])[] = [
  [
    'config: for configs: (k3s#1802)',
    'mirrors:\nconfig:\n  h: {}\n',
    /^registries\.yaml:2:1: unknown key "config".*did you mean "configs"/,
  ],
  ['mirror: for mirrors:', 'mirror: {}\n', /did you mean "mirrors"/],
  [
    'endpoints: for endpoint:',
    'mirrors:\n  docker.io:\n    endpoints: [a]\n',
    /^registries\.yaml:3:5: .*did you mean "endpoint"/,
  ],
  [
    "auth.token, which k3s's own page shows",
    'configs:\n  h:\n    auth:\n      token: x\n',
    /:4:7: .*did you mean "identity_token"/,
  ],
  ['skip_verify for insecure_skip_verify', 'configs: {h: {tls: {skip_verify: true}}}', /did you mean "insecure_skip_verify"/],
  ['ca for ca_file', 'configs: {h: {tls: {ca: /a}}}', /did you mean "ca_file"/],
  ['rewrites for rewrite', 'mirrors: {h: {rewrites: {a: b}}}', /did you mean "rewrite"/],
  ["tls beside mirrors' endpoint", 'mirrors: {h: {tls: {}}}', /unknown key "tls"/],
  ['an unknown key far from all', 'zzzzzz: 1', /known are mirrors, configs, auths/],
  ['cert_file without key_file', 'configs:\n  h:\n    tls:\n      cert_file: /c\n', /cert_file without key_file/],
  ['key_file without cert_file', 'configs:\n  h:\n    tls:\n      key_file: /c\n', /key_file without cert_file/],
  [
    'a duplicate mirror, of which k3s takes the last',
    'mirrors:\n  docker.io: {}\n  quay.io: {}\n  "docker.io": {}\n',
    /^registries\.yaml:4:3: .*twice/,
  ],
  ['a duplicate section', 'mirrors: {}\nmirrors: {}\n', /:2:1: .*twice/],
  ['a duplicate field', 'configs: {h: {auth: {password: a, password: b}}}', /"password" occurs twice/],
  ['an anchor', 'mirrors:\n  a: &x {endpoint: [b]}\n', /:2:\d+: .*an anchor/],
  ['an anchor on a null', 'mirrors:\n  a: &x\n', /anchor/],
  ['an alias', 'mirrors:\n  a: {endpoint: &x [b]}\n  c: {endpoint: *x}\n', /an alias/],
  ['an alias as key', 'mirrors:\n  &x a: {}\n  *x : {}\n', /anchor|alias/],
  ['a merge key', 'mirrors:\n  a: {}\n  <<: {}\n', /merge key/],
  ['a tag', 'mirrors:\n  a: {endpoint: [!!binary aGk=]}\n', /a tag/],
  ['two documents, of which k3s reads one', 'mirrors: {}\n---\nmirrors: {}\n', /multiple documents/i],
  ["YAML 1.2 declared, which k3s's reader refuses", '%YAML 1.2\n---\nmirrors: {}\n', /%YAML 1\.2/],
  ['an endpoint that is not a list', 'mirrors:\n  a:\n    endpoint: https://b\n', /:3:15: .*not a list/],
  ['an empty endpoint', 'mirrors: {a: {endpoint: [""]}}', /empty entry/],
  ['a null endpoint', 'mirrors:\n  a:\n    endpoint:\n      -\n', /empty entry/],
  ['an endpoint that is a mapping (url without quotes and a space)', 'mirrors: {a: {endpoint: [{https: //b}]}}', /not a string/],
  ['mirrors as a list', 'mirrors:\n  - docker.io\n', /mirrors is not a mapping/],
  ['text at the top', 'hello', /not a mapping/],
  ['a list at the top', '- a', /not a mapping/],
  ['a mapping as key', 'mirrors:\n  ? {a: b}\n  : {}\n', /not a string/],
  ['an unquoted *', 'mirrors:\n  *: {endpoint: [a]}\n', /:2:\d+: /],
  [
    'insecure_skip_verify in quotes, of which k3s dies',
    'configs: {h: {tls: {insecure_skip_verify: "true"}}}',
    /neither true nor false/,
  ],
  ['insecure_skip_verify: 1', 'configs: {h: {tls: {insecure_skip_verify: 1}}}', /neither true nor false/],
  ["a name that breaks out of containerd's config.toml", 'configs: {"a\\"].x": {auth: {username: u}}}', /not a registry name/],
  ['a name with a line break', 'mirrors: {"a\\nb": {}}', /not a registry name/],
  ['an empty name', 'mirrors: {"": {}}', /not a registry name/],
  ['half a surrogate pair', 'configs: {h: {auth: {password: "\\ud800"}}}', /surrogate/],
  ['a tab as indentation', 'mirrors:\n\tdocker.io: {}\n', /registries\.yaml:2:/],
  ['an unclosed bracket', 'mirrors: {a: {endpoint: [b}', /registries\.yaml:1:/],
  ["an escape that k3s's reader does not know", 'mirrors: {a: {endpoint: ["https:\\/\\/b"]}}', /escape/],
  ['a null as name, which k3s reads as ""', 'mirrors:\n  null: {endpoint: [b]}\n', /not a string/],
  ['an empty name without quotes', 'mirrors:\n  : {endpoint: [b]}\n', /not a string/],
  ['a line separator, which is a line break to k3s', 'mirrors:\n  a: {endpoint: ["b\u2028c"]}\n', /:2:20: the character U\+2028/],
  ['a control character', 'mirrors: {a: {endpoint: ["b\u0007"]}}', /U\+0007/],
  ['a line end of old Macs', 'mirrors:\r  a: {}\r', /U\+000D/],
  ['wrong auths', 'auths: {h: {passwort: x}}', /did you mean "password"/],
];

for (const [name, text, message] of REFUSED) {
  test(`refused with its place: ${name}`, () => {
    const error = throwsWith(() => parse(text), 'E_MIRRORS', message);
    assert.match(error.message, /^registries\.yaml:\d+:\d+: /);
    assert.match(error.hint ?? '', /nothing was written/);
  });
}

test('all faults are told at once, and no more than ten of them', () => {
  const error = throwsWith(() => parse(`mirrors:\n${'  a: {x: 1}\n'.repeat(30)}`), 'E_MIRRORS');
  assert.equal(error.message.split('\n').length, 11);
});

test('no message about a bad file shows a password', () => {
  const error = throwsWith(
    () => parse('configs: {h: {auth: {password: hunter2, pasword: hunter2, username: {hunter2: x}}}}'),
    'E_MIRRORS',
  );
  assert.doesNotMatch(error.message.replace('unknown', ''), /: hunter2|hunter2[^"]*$/);
});

const BOMBS: readonly (readonly [name: string, text: string])[] = [
  [
    'aliases that double ten times',
    `a0: &a0 [x]\n${Array.from({ length: 10 }, (_, i) => `a${i + 1}: &a${i + 1} [*a${i}, *a${i}]\n`).join('')}`,
  ],
  ['a hundred thousand brackets', '['.repeat(100_000)],
  ['a hundred thousand braces', '{'.repeat(100_000)],
  ['a hundred thousand dashes', '- '.repeat(100_000)],
  ['a hundred thousand question marks', '? '.repeat(100_000)],
  ['twenty thousand keys in keys on one line', `{"a":${'a: '.repeat(20_000)}`],
  ['more bytes than the limit', `# ${'x'.repeat(LIMITS.registriesYamlBytes)}`],
];

test('no message about a bad file steers a terminal', () => {
  // The YAML parser quotes what it does not understand as it stands.
  const error = throwsWith(
    () => parse('configs:\n  a:\n    tls:\n      key_file: |-\rmirrors:\u001b[31m\n'),
    'E_MIRRORS',
    /\\u\{d\}/,
  );
  assert.doesNotMatch(error.message, /[\r\u001b]/);
});

for (const [name, text] of BOMBS) {
  test(`refused without harm: ${name}`, () => {
    const start = performance.now();
    throwsWith(() => parse(text), 'E_MIRRORS');
    assert.ok(performance.now() - start < 5000);
  });
}

test('thirty thousand mirrors are read in time that grows with their number', () => {
  const text = `mirrors:\n${Array.from({ length: 30_000 }, (_, i) => `  a${i}.lab:\n`).join('')}`;
  const start = performance.now();
  assert.equal(parse(text).registries.mirrors.size, 30_000);
  assert.ok(performance.now() - start < 10_000);
});

test('names that every object has are only names', () => {
  const { registries } = parse(
    'mirrors: {__proto__: {endpoint: ["https://x"]}, constructor: {}}\nconfigs: {toString: {tls: {ca_file: /a}}}\n',
  );
  assert.deepEqual([...registries.mirrors.keys()], ['__proto__', 'constructor']);
  assert.equal(({} as Record<string, unknown>).endpoint, undefined);
  assert.ok(renderHostsToml(registries).has('__proto__'));
});

test("scalars have the types that k3s's YAML 1.1 reader gives them", () => {
  const { registries } = parse('configs: {h: {auth: {username: 0123, password: yes, auth: ~}, tls: {insecure_skip_verify: On}}}');
  assert.deepEqual(registries.configs.get('h'), {
    auth: { username: '0123', password: 'yes' },
    tls: { insecure_skip_verify: true },
  });
});

test('what k3s takes is taken: empty, comments, nulls, deprecated auths', () => {
  for (const text of [
    '',
    '# x\n',
    'mirrors:\nconfigs: null\n',
    'auths: {h: {username: u}}\n',
    '---\nmirrors: {}\n',
    '%YAML 1.1\n---\nmirrors: {}\n',
  ])
    parse(text);
});

const desired = desiredMirrors({
  origins: ['docker.io'],
  endpoints: ['https://node-1:5000'],
  directNames: true,
  nodeAuth: { username: 'n', password: 'p' },
});

test('property: whatever the bytes, either E_MIRRORS or a result that reads back and holds all of theirs and ours', () => {
  const text = fc.oneof(
    fc.array(fc.constantFrom(...YAML_WORDS), { maxLength: 30 }).map((parts) => parts.join('')),
    fc.string(),
  );
  fc.assert(
    fc.property(text, (existing) => {
      try {
        const theirs = parse(existing).registries;
        lintRegistries(theirs);
        renderHostsToml(theirs);
        const { text } = mergeRegistries({ existing, file: 'registries.yaml', bundle: 'b', written: {}, desired, force: true });
        const now = parse(text).registries;
        for (const [name, value] of theirs.mirrors)
          if (!desired.mirrors.has(name)) assert.deepEqual(now.mirrors.get(name), value);
        for (const [name, value] of desired.mirrors) assert.deepEqual(now.mirrors.get(name), value);
      } catch (error) {
        if (!isBundleError(error) || error.code !== 'E_MIRRORS') throw error;
      }
    }),
    { numRuns: 2000 },
  );
});
