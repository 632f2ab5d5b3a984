import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { desiredMirrors, type MirrorWishes } from '../../../src/k3s/desired-mirrors.ts';
import { mergeRegistries } from '../../../src/k3s/merge.ts';
import { type Registries, sameRegistries } from '../../../src/k3s/registries.ts';
import { parseRegistriesYaml } from '../../../src/k3s/registries-yaml.ts';
import { type Written, writtenSchema } from '../../../src/k3s/written.ts';
import { throwsWith } from '../../support/assert-code.ts';

const FILE = '/etc/rancher/k3s/registries.yaml';

const want = (origins: string[], more: Partial<MirrorWishes> = {}): Registries =>
  desiredMirrors({ origins, endpoints: ['https://node-1:5000'], directNames: false, ...more });

/** A node: the file and the state, as load would keep them. */
function createNode(existing?: string) {
  let text = existing;
  let state: Record<string, Written> = {};
  return {
    get text() {
      return text;
    },
    get state() {
      return state;
    },
    forget: () => {
      state = {};
    },
    write: (next: string) => {
      text = next;
    },
    load(bundle: string, desired: Registries, force = false) {
      const result = mergeRegistries({ existing: text, file: FILE, bundle, written: state, desired, force });
      if (result.changed) text = result.text;
      // Through JSON, as in the state file.
      state = { ...state, [bundle]: writtenSchema.parse(JSON.parse(JSON.stringify(result.written))) };
      return result;
    },
    get registries() {
      return parseRegistriesYaml(text ?? '', FILE).registries;
    },
  };
}

const names = (registries: Registries): string[] => [...registries.mirrors.keys()].sort();

const FOREIGN = `# kept by the site team
mirrors:
  # the lab's Harbor
  harbor.lab:   # inline
    endpoint: [ 'https://harbor.lab:8443' ]   # odd spacing stays


  "*":
    endpoint:
      - "https://cache.lab"   # last
    # after it
configs:
  harbor.lab:
    auth: {username: robot, password: '0123: #x'}
# the end
`;

test("others' entries, comments and spacing stay as they are; ours are added at the end of each section", () => {
  const node = createNode(FOREIGN);
  node.load('lumen', want(['docker.io'], { tls: { caFile: '/ca.crt' } }));
  assert.equal(
    node.text,
    FOREIGN.replace(
      '    # after it\n',
      '  docker.io:\n    endpoint:\n      - "https://node-1:5000/v2/docker.io"\n    # after it\n',
    ).replace('# the end\n', '  "node-1:5000":\n    tls:\n      ca_file: "/ca.crt"\n# the end\n'),
  );
});

test('the second run changes nothing, byte for byte', () => {
  const node = createNode(FOREIGN);
  const desired = want(['docker.io', 'quay.io'], { nodeAuth: { username: 'n', password: 'p' } });
  assert.equal(node.load('lumen', desired).changed, true);
  const { text, state } = node;
  const again = node.load('lumen', desired);
  assert.equal(again.changed, false);
  assert.equal(again.text, text);
  assert.deepEqual(again.changes, []);
  assert.deepEqual(node.state, state);
});

test('nothing to write and no file: still no file', () => {
  const node = createNode();
  assert.equal(node.load('lumen', { mirrors: new Map(), configs: new Map() }).changed, false);
  assert.equal(node.text, undefined);
});

test('an origin that the bundle no longer has is taken out, comments beside it stay', () => {
  const node = createNode('mirrors:\n  # first\n  a.lab: {endpoint: ["https://a"]}\n');
  node.load('lumen', want(['docker.io', 'quay.io']));
  node.write((node.text ?? '').replace('  docker.io:\n', '  # about the hub\n  docker.io:  # inside\n'));
  node.load('lumen', want(['quay.io']));
  assert.deepEqual(names(node.registries), ['a.lab', 'quay.io']);
  assert.match(node.text ?? '', /# first\n.*# about the hub\n {2}# inside\n/s);
});

test('an origin that somebody changed since is left to them', () => {
  const node = createNode();
  node.load('lumen', want(['docker.io']));
  node.write((node.text ?? '').replace('node-1:5000/v2', 'other:5000/v2'));
  node.load('lumen', want([]));
  assert.deepEqual(node.registries.mirrors.get('docker.io')?.endpoint, ['https://other:5000/v2/docker.io']);
});

test("two bundles do not drop each other's origins, in any order", () => {
  const node = createNode();
  node.load('a', want(['docker.io', 'quay.io']));
  node.load('b', want(['docker.io', 'ghcr.io']));
  assert.deepEqual(names(node.registries), ['docker.io', 'ghcr.io', 'quay.io']);
  node.load('a', want(['quay.io']));
  assert.deepEqual(names(node.registries), ['docker.io', 'ghcr.io', 'quay.io'], 'b still needs docker.io');
  node.load('b', want(['ghcr.io']));
  assert.deepEqual(names(node.registries), ['ghcr.io', 'quay.io'], 'nobody needs docker.io now');
  node.load('a', want([]));
  node.load('b', want([]));
  assert.deepEqual(names(node.registries), []);
});

test('the endpoint of a bundle moves: what we wrote is replaced', () => {
  const node = createNode(FOREIGN);
  node.load('lumen', want(['docker.io'], { endpoints: ['http://node-1:5000'] }));
  const { changed, changes } = node.load('lumen', want(['docker.io']));
  assert.equal(changed, true);
  assert.deepEqual(changes, ['mirrors.docker.io']);
  assert.deepEqual(node.registries.mirrors.get('docker.io')?.endpoint, ['https://node-1:5000/v2/docker.io']);
});

test('an entry of somebody else with another value is a conflict with place and difference; nothing changes', () => {
  const node = createNode('mirrors:\n  docker.io:\n    endpoint: ["https://hub.lab"]\n');
  const before = node.text;
  const error = throwsWith(() => node.load('lumen', want(['docker.io'])), 'E_MIRRORS_CONFLICT');
  assert.equal(
    error.message,
    `${FILE}:2:3: mirrors.docker.io was written by somebody else and differs from what this bundle needs\n` +
      '  - {endpoint: ["https://hub.lab"]}\n  + {endpoint: ["https://node-1:5000/v2/docker.io"]}',
  );
  assert.match(error.hint ?? '', /--force/);
  assert.equal(node.text, before);
});

test('all conflicts are told at once', () => {
  const node = createNode('mirrors:\n  docker.io: {endpoint: [https://x]}\n  quay.io: {endpoint: [https://x]}\n');
  const error = throwsWith(() => node.load('lumen', want(['docker.io', 'quay.io'])), 'E_MIRRORS_CONFLICT');
  assert.deepEqual(error.detail.conflicts, ['mirrors.docker.io', 'mirrors.quay.io']);
});

test('force takes ours and owns it from then on', () => {
  const node = createNode(
    'mirrors:\n  docker.io:\n    endpoint: ["https://hub.lab"]  # theirs\n  x.lab: {endpoint: [https://x]}\n',
  );
  node.load('lumen', want(['docker.io']), true);
  assert.equal(
    node.text,
    'mirrors:\n  # theirs\n  docker.io:\n    endpoint:\n      - "https://node-1:5000/v2/docker.io"\n  x.lab: {endpoint: [https://x]}\n',
  );
  node.load('lumen', want([]));
  assert.deepEqual(names(node.registries), ['x.lab']);
});

test('a conflict between two bundles names the other one', () => {
  const node = createNode();
  node.load('a', want(['docker.io']));
  const other = want(['docker.io'], { endpoints: ['https://node-2:5000'] });
  throwsWith(() => node.load('b', other), 'E_MIRRORS_CONFLICT', /written by bundle "a"/);
});

test('an equal entry that was there before us stays when the bundle lets go of it', () => {
  const node = createNode('mirrors:\n  docker.io: {endpoint: ["https://node-1:5000/v2/docker.io"]}\n');
  assert.equal(node.load('lumen', want(['docker.io'])).changed, false);
  assert.deepEqual(node.state.lumen, { mirrors: {}, configs: {} });
  assert.equal(node.load('lumen', want([])).changed, false);
});

test('an entry of ours that somebody took out comes back, since the bundle needs it', () => {
  const node = createNode();
  node.load('lumen', want(['docker.io']));
  node.write('mirrors:\n');
  node.load('lumen', want(['docker.io']));
  assert.deepEqual(names(node.registries), ['docker.io']);
});

test('a lost state loses nothing in the file: equal entries are taken as they are', () => {
  const node = createNode(FOREIGN);
  node.load('lumen', want(['docker.io']));
  node.forget();
  assert.equal(node.load('lumen', want(['docker.io'])).changed, false);
});

test('a mirror without endpoints, as the embedded registry wants it, takes ours without a conflict', () => {
  const node = createNode('mirrors:\n  docker.io:\n  quay.io:\n');
  node.load('lumen', want(['docker.io']));
  assert.equal(node.text, 'mirrors:\n  docker.io:\n    endpoint:\n      - "https://node-1:5000/v2/docker.io"\n  quay.io:\n');
});

test('a login that somebody put beside our tls stays, and ours goes without it', () => {
  const node = createNode();
  const desired = want(['docker.io'], { tls: { caFile: '/ca.crt' } });
  node.load('lumen', desired);
  node.write(`${node.text}    auth:\n      username: theirs\n      password: secret\n`);
  assert.equal(node.load('lumen', desired).changed, false);
  node.load('lumen', want(['docker.io'], { tls: { caFile: '/new.crt' } }));
  assert.deepEqual(node.registries.configs.get('node-1:5000'), {
    auth: { username: 'theirs', password: 'secret' },
    tls: { ca_file: '/new.crt' },
  });
  node.load('lumen', want([], { endpoints: ['http://node-1:5000'] }));
  assert.deepEqual(node.registries.configs.get('node-1:5000'), { auth: { username: 'theirs', password: 'secret' } });
});

test('neither the state nor a conflict message holds a password', () => {
  const node = createNode('configs:\n  "node-1:5000":\n    auth: {username: u, password: their-secret}\n');
  const desired = want(['docker.io'], { nodeAuth: { username: 'n', password: 'our-secret' } });
  const error = throwsWith(() => node.load('lumen', desired), 'E_MIRRORS_CONFLICT', /configs\.node-1:5000\.auth/);
  assert.doesNotMatch(`${error.message}${error.hint}${JSON.stringify(error.detail)}`, /secret/);
  node.load('lumen', desired, true);
  assert.match(node.text ?? '', /our-secret/);
  assert.doesNotMatch(JSON.stringify(node.state), /secret/);
});

test('a changed password is seen through its hash and replaced', () => {
  const node = createNode();
  node.load('lumen', want(['docker.io'], { nodeAuth: { username: 'n', password: 'one' } }));
  assert.equal(node.load('lumen', want(['docker.io'], { nodeAuth: { username: 'n', password: 'two' } })).changed, true);
  assert.equal(node.registries.configs.get('node-1:5000')?.auth?.password, 'two');
});

for (const password of [
  'a: b',
  '# x',
  'line\nbreak',
  `"double" 'single'`,
  'yes',
  '0123',
  '~',
  'null',
  '1e3',
  '{a}',
  '[b]',
  '&a',
  '*a',
  '!t',
  '- x',
  '? y',
  '%z',
  '@',
  '`',
  ' lead',
  'trail ',
  'tab\there',
  '\\n',
  'ünïcödé 🔑',
  '',
  '${HOME}',
  '<<',
  '=',
  '2001-01-01',
  '12:30:45',
  'a'.repeat(3000),
]) {
  test(`the password ${JSON.stringify(password.slice(0, 20))} is read back as it was`, () => {
    const node = createNode(FOREIGN);
    node.load('lumen', want(['docker.io'], { nodeAuth: { username: 'node', password } }));
    assert.equal(node.registries.configs.get('node-1:5000')?.auth?.password, password);
    assert.equal(node.registries.configs.get('harbor.lab')?.auth?.password, '0123: #x');
  });
}

const LAYOUTS: readonly (readonly [name: string, text: string])[] = [
  ['an empty file', ''],
  ['comments only', '# nothing yet\n'],
  ['a comment without a line end', '# nothing yet'],
  ['a document marker', '---\n# x\nmirrors:\n  a.lab:\n    endpoint: [https://a] # c\n'],
  ['empty sections', 'mirrors: # none yet\nconfigs:\n'],
  ['null sections', 'mirrors: ~ # c\nconfigs: null\n'],
  ['flow sections', '# c\nmirrors: {a.lab: {endpoint: ["https://a"]}} # d\n'],
  ['empty flow sections', 'mirrors: {}\nconfigs: {} # c\n'],
  ['a flow file', '{mirrors: {a.lab: {endpoint: ["https://a"]}}}\n'],
  ['an empty flow file', '{}\n'],
  ['a flow section over several lines', 'mirrors: {\n  a.lab: { # c\n    endpoint: ["https://a"]}\n}\n'],
  ['Windows line ends', '# c\r\nmirrors:\r\n  a.lab:\r\n    endpoint:\r\n      - https://a\r\n'],
  ['no line end at the end', 'mirrors:\n  a.lab:\n    endpoint:\n      - https://a # c'],
  ['deep indentation', 'mirrors:\n      a.lab:\n            endpoint:\n            - https://a\n# c\n'],
  ['configs first', 'configs:\n  a.lab: {tls: {ca_file: /a}}\n# c\nmirrors:\n  a.lab: {endpoint: [https://a]}\n'],
  ['a deprecated section at the end', 'mirrors:\n  a.lab: {endpoint: [https://a]}\nauths:\n  a.lab: {username: x} # c\n'],
  ['a block scalar at the end', 'configs:\n  a.lab:\n    auth:\n      password: |\n        se # cret\n      username: x\n'],
  ['quoted keys', `"mirrors":\n  'a.lab':\n    "endpoint": ['https://a#b']\n`],
  ['a document end', 'mirrors:\n  a.lab: {endpoint: [https://a]}\n...\n'],
  ['a byte order mark', '\ufeffmirrors:\n  a.lab: {endpoint: [https://a]}\n'],
];

for (const [name, text] of LAYOUTS) {
  test(`${name}: ours go in, theirs and their comments stay, and taking ours out again leaves theirs`, () => {
    const theirs = parseRegistriesYaml(text, FILE).registries;
    const node = createNode(text);
    const desired = want(['docker.io', 'quay.io'], { tls: { caFile: '/ca' } });
    node.load('lumen', desired);
    const now = node.registries;
    for (const section of ['mirrors', 'configs'] as const) {
      for (const [key, value] of [...theirs[section], ...desired[section]]) assert.deepEqual(now[section].get(key), value);
      assert.equal(now[section].size, theirs[section].size + desired[section].size);
    }
    for (const [comment] of text.matchAll(/# (?:[cdx]|nothing yet|none yet)\b/g))
      assert.ok(node.text?.includes(comment), comment);
    assert.equal(node.load('lumen', desired).changed, false);
    node.load('lumen', want([], { endpoints: ['http://gone'] }));
    assert.ok(sameRegistries(node.registries, theirs));
  });
}

test('an entry replaced within a flow section leaves its comments and its neighbours', () => {
  const node = createNode(
    'mirrors: {\n  # one\n  docker.io: {endpoint: [ # two\n    "https://hub.lab"]}, # three\n  a.lab: {}}\n',
  );
  node.load('lumen', want(['docker.io']), true);
  for (const comment of ['# one', '# two', '# three']) assert.ok(node.text?.includes(comment), `${comment} in ${node.text}`);
  assert.deepEqual(names(node.registries), ['a.lab', 'docker.io']);
});

const name = fc.stringMatching(/^[a-z][a-z0-9]{0,5}\.(?:lab|io)$/);
const foreignFile = fc
  .uniqueArray(fc.record({ name, note: fc.stringMatching(/^[a-z ]{0,8}$/), style: fc.nat(2) }), {
    selector: (e) => e.name,
    maxLength: 5,
  })
  .map((entries) => {
    const lines = entries.map(({ name, note, style }, i) => {
      const url = `https://foreign-${i}.example`;
      return [
        `  # above ${i} ${note}\n  ${name}:\n    endpoint: ["${url}"] # beside ${i}\n`,
        `  ${name}:   # beside ${i}\n    endpoint:\n    - ${url}\n    # below ${i}\n\n`,
        `  '${name}': {endpoint: [ "${url}" ]}   # beside ${i}\n`,
      ][style] as string;
    });
    return { keys: entries.map((e) => e.name), text: `# top\n${lines.length > 0 ? 'mirrors:\n' : ''}${lines.join('')}` };
  });
const origins = fc.uniqueArray(
  fc.constantFrom('docker.io', 'quay.io', 'ghcr.io', 'registry.k8s.io', 'host:5000', '[fd00::1]:443'),
);

test('property: any sequence of loads keeps every foreign line, and each is idempotent', () => {
  const step = fc.record({ bundle: fc.constantFrom('a', 'b', 'c'), origins });
  fc.assert(
    fc.property(foreignFile, fc.array(step, { minLength: 1, maxLength: 6 }), ({ keys, text }, steps) => {
      const node = createNode(text);
      const needed = new Map<string, readonly string[]>();
      for (const { bundle, origins } of steps) {
        const desired = want(origins.filter((origin) => !keys.includes(origin)));
        needed.set(bundle, [...desired.mirrors.keys()]);
        node.load(bundle, desired);
        const once = node.text;
        assert.equal(node.load(bundle, desired).changed, false);
        assert.equal(node.text, once);
        assert.deepEqual(names(node.registries), [...new Set([...keys, ...[...needed.values()].flat()])].sort());
        const left = (node.text ?? '').split('\n');
        for (const line of text.split('\n')) assert.ok(left.includes(line), `lost: ${line}`);
      }
    }),
    { numRuns: 150 },
  );
});

for (const text of ['# head\n...\n', '---\n# head\n~\n...\n', '# head\nnull # tail\n'])
  test(`comments of a file without content outlive it: ${JSON.stringify(text)}`, () => {
    const node = createNode(text);
    node.load('a', want(['docker.io']));
    assert.match(node.text ?? '', /# head/);
    if (text.includes('# tail')) assert.match(node.text ?? '', /# tail/);
    assert.equal(node.load('a', want(['docker.io'])).changed, false);
  });

test('bundles named like members of every object are just names', () => {
  const node = createNode();
  for (const bundle of ['constructor', 'tostring', '__proto__']) node.load(bundle, want(['docker.io']));
  assert.deepEqual(names(node.registries), ['docker.io']);
});
