/** YAML that people write: registries.yaml of a node, which we edit, and the manifest of a bundle, which we read. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Parser } from 'yaml';
import { formatReference } from '../../src/core/reference.ts';
import { desiredMirrors } from '../../src/k3s/desired-mirrors.ts';
import { renderHostsToml } from '../../src/k3s/hosts-toml.ts';
import { lintRegistries } from '../../src/k3s/lint.ts';
import { mergeRegistries } from '../../src/k3s/merge.ts';
import { NO_REGISTRIES, type Registries, sameValue } from '../../src/k3s/registries.ts';
import { parseRegistriesYaml } from '../../src/k3s/registries-yaml.ts';
import type { Written } from '../../src/k3s/written.ts';
import { formatAlias } from '../../src/manifest/alias.ts';
import { parseManifest } from '../../src/manifest/read-manifest.ts';
import { YAML_WORDS } from '../support/yaml-words.ts';
import { attempt, type Fate, fuzz } from './budget.ts';
import { changedText } from './mutate.ts';

const FILE = 'registries.yaml';
const parse = (text: string): Registries => parseRegistriesYaml(text, FILE).registries;

/** How often each comment stands in a text, by the lexer of the library: what stands in quotes is none. */
function commentsIn(text: string): Map<string, number> {
  const found = new Map<string, number>();
  const walk = (token: unknown): void => {
    if (typeof token !== 'object' || token === null) return;
    const { type, source } = token as { type?: string; source?: string };
    if (type === 'comment' && source !== undefined) {
      const comment = source.replace(/^#+/, '').trim();
      found.set(comment, (found.get(comment) ?? 0) + 1);
    } else for (const part of Object.values(token)) walk(part);
  };
  for (const token of new Parser().parse(text)) walk(token);
  return found;
}

function requireComments(before: string, after: string): void {
  const kept = commentsIn(after);
  for (const [comment, times] of commentsIn(before))
    assert.ok((kept.get(comment) ?? 0) >= times, `the comment ${JSON.stringify(comment)} is lost from ${JSON.stringify(before)}`);
}

// --- a file as somebody else may have written it ---

type Style = Readonly<{ shape: number; quote: number; note: number; blank: boolean }>;
const style: fc.Arbitrary<Style> = fc.record({ shape: fc.nat(6), quote: fc.nat(2), note: fc.nat(5), blank: fc.boolean() });
const registry = fc.constantFrom('docker.io', 'quay.io', 'x.lab', 'n:5000', '[fd00::1]:5000', '*', 'on', '123', 'node-1:5000');

function entryOf(
  name: string,
  { shape, quote, note, blank }: Style,
  i: number,
  section: 'mirrors' | 'configs',
  indent: string,
): string {
  const q = (text: string): string =>
    quote === 0 && /^[a-z][\w./:-]*$/.test(text) ? text : quote === 1 ? `'${text}'` : `"${text}"`;
  const url = q(`https://h-${i}.lab/v2`);
  const beside = (n: number): string => (note === n ? `  # beside ${i}` : '');
  const mirror = [
    [
      `${q(name)}:${beside(0)}`,
      `  endpoint:${beside(1)}`,
      `    - ${url}${beside(2)}`,
      ...(note === 3 ? [`    # below ${i}`] : []),
    ],
    [`${q(name)}:`, '  endpoint:', `  - ${url}`, `  - ${q('http://b')}${beside(2)}`],
    [`${q(name)}: {endpoint: [${url}]}${beside(2)}`],
    [`${q(name)}:${beside(0)}`, `  rewrite: {"^a/(.*)": 'b/$1'}`, `  endpoint: [ ${url},`, `    ${q('https://c')} ]${beside(4)}`],
    [`? ${q(name)}${beside(0)}`, `: endpoint: [${url}]`],
    [`${q(name)}:${beside(0)}`],
    [`${q(name)}:`, '  endpoint:', '  - >-', `    https://folded-${i}.lab`, '', `  # last ${i}`],
  ];
  const config = [
    [`${q(name)}:`, `  auth:${beside(0)}`, `    username: ${q(`u${i}`)}`, `    password: "p # no comment \\u00e9"${beside(2)}`],
    [`${q(name)}: {tls: {ca_file: /a, insecure_skip_verify: yes}}${beside(2)}`],
    [
      `${q(name)}:${beside(0)}`,
      '  tls:',
      '    cert_file: /c',
      '    key_file: |-',
      '      /k',
      ...(note === 3 ? [`  # below ${i}`] : []),
    ],
    [`${q(name)}: {}${beside(2)}`],
    [`${q(name)}:`, `  auth: {username: two`, `    words${i}}${beside(4)}`],
    [`${q(name)}:${beside(1)}`],
    [`${q(name)}:`, '  auth:', '    identity_token: "a', `      b${i}"`],
  ];
  const lines = (section === 'mirrors' ? mirror : config)[shape] as string[];
  const above = note === 5 ? [`# above ${i}`] : [];
  return [...above, ...lines, ...(blank ? [''] : [])].map((line) => (line === '' ? '\n' : `${indent}${line}\n`)).join('');
}

const entries = fc.uniqueArray(fc.tuple(registry, style), { selector: ([name]) => name, maxLength: 5 });
const foreignFile = fc
  .record({
    mirrors: fc.option(entries),
    configs: fc.option(entries),
    indent: fc.constantFrom('  ', ' ', '    '),
    swapped: fc.boolean(),
    head: fc.constantFrom('', '# head\n', '---\n', '\n\n# head\n---\n', '\ufeff'),
    tail: fc.constantFrom('', '\n', '# tail\n', '  # deep tail\n', '# tail without a line end', '...\n'),
    cut: fc.boolean(),
    windows: fc.boolean(),
  })
  .map(({ mirrors, configs, indent, swapped, head, tail, cut, windows }) => {
    const section = (name: 'mirrors' | 'configs', list: readonly (readonly [string, Style])[] | null): string =>
      list === null ? '' : `${name}: # of ${name}\n${list.map(([key, how], i) => entryOf(key, how, i, name, indent)).join('')}`;
    const parts = [section('mirrors', mirrors), section('configs', configs)];
    const text = `${head}${(swapped ? parts.reverse() : parts).join('')}${tail}`;
    const ended = cut ? text.replace(/\n$/, '') : text;
    return windows ? ended.replaceAll('\n', '\r\n') : ended;
  });
const file = foreignFile.chain((text) =>
  fc.oneof({ arbitrary: fc.constant(text), weight: 2 }, { arbitrary: changedText([text], YAML_WORDS, 3), weight: 1 }),
);

const step = fc.record({
  bundle: fc.constantFrom('a', 'b'),
  origins: fc.uniqueArray(fc.constantFrom('docker.io', 'quay.io', 'ghcr.io', 'host:5000', '[fd00::1]:443'), { maxLength: 4 }),
  auth: fc.boolean(),
  tls: fc.boolean(),
  force: fc.boolean(),
});
const wanted = ({ origins, auth, tls }: { origins: readonly string[]; auth: boolean; tls: boolean }): Registries =>
  origins.length === 0
    ? NO_REGISTRIES
    : desiredMirrors({
        origins,
        endpoints: ['https://node-1:5000'],
        directNames: true,
        ...(auth ? { nodeAuth: { username: 'n', password: 'p' } } : {}),
        ...(tls ? { tls: { caFile: '/etc/ca.crt' } } : {}),
      });

fuzz(
  "bundles that come and go in a registries.yaml of any style leave all others' entries and comments, and nothing that the strict reader refuses",
  fc.tuple(file, fc.array(step, { minLength: 1, maxLength: 4 })),
  async ([start, steps]) => {
    const first = await attempt(() => parse(start), 'E_MIRRORS');
    if (first === undefined) return 'refused';
    lintRegistries(first[0]);
    renderHostsToml(first[0]);
    let text = start;
    let written: Record<string, Written> = {};
    let fate: Fate = 'refused';
    for (const each of steps) {
      const desired = wanted(each);
      const input = { file: FILE, bundle: each.bundle, desired, force: each.force };
      const got = await attempt(() => mergeRegistries({ ...input, existing: text, written }), 'E_MIRRORS', 'E_MIRRORS_CONFLICT');
      if (got === undefined) continue;
      fate = 'taken';
      const [merged] = got;
      const [before, after] = [parse(text), parse(merged.text)];
      const ours = (section: 'mirrors' | 'configs', name: string): boolean =>
        desired[section].has(name) || Object.hasOwn(written[each.bundle]?.[section] ?? {}, name);
      for (const section of ['mirrors', 'configs'] as const) {
        for (const [name, value] of before[section])
          if (!ours(section, name)) assert.deepEqual(after[section].get(name), value, `${section} ${name}`);
        for (const name of after[section].keys()) assert.ok(before[section].has(name) || desired[section].has(name), name);
      }
      for (const [name, value] of desired.mirrors) assert.ok(sameValue(after.mirrors.get(name), value), name);
      requireComments(text, merged.text);
      assert.equal(merged.changed, merged.text !== text);
      written = { ...written, [each.bundle]: merged.written };
      const again = mergeRegistries({ ...input, existing: merged.text, written });
      assert.ok(!again.changed && again.text === merged.text, 'the second run changes something');
      assert.deepEqual(again.written, merged.written);
      text = merged.text;
    }
    return fate;
  },
);

// --- manifests ---

const manifests = [
  'apiVersion: bundle/v1\nname: lumen\nplatforms: [linux/amd64, linux/arm64]\nimages:\n  - docker.io/library/redis:7 # cache\n  - ref: ghcr.io/a/b:v1\n    platforms: all\n    aliases: ["b:v1", team/b:v1]\n    index: exact\nexpires: 30d\n',
  '# lists\napiVersion: bundle/v1\nname: "x.y"\nimageLists:\n- k3s-images.txt\n- https://a.lab/list\n',
  '{"apiVersion": "bundle/v1", "name": "j", "images": ["redis", {"ref": "busybox:1.10"}]}\n',
];
const manifestWords = [
  ...YAML_WORDS,
  'images:',
  'name:',
  'ref:',
  'redis:7',
  'aliases:',
  'platforms:',
  '1.10',
  '\u202e',
  '\u0000',
  '\ud800',
  'a:1',
];

fuzz(
  'a manifest is refused with a place for each problem, or means what its own writing means',
  changedText(manifests, manifestWords),
  async (text) => {
    const got = await attempt(
      () => {
        try {
          return parseManifest(text, 'm.yaml');
        } catch (error) {
          for (const line of (error as Error).message.split('\n')) assert.match(line, /^(?:m\.yaml:\d+:\d+: |… and \d+ more$)/);
          throw error;
        }
      },
      'E_MANIFEST',
      'E_ALIAS_CONFLICT',
    );
    if (got === undefined) return 'refused';
    const [manifest] = got;
    assert.match(manifest.name, /^[a-z0-9][a-z0-9._-]{0,63}$/);
    assert.ok(!manifest.name.includes('..'));
    assert.ok(manifest.images.length + manifest.imageLists.length > 0);
    const images = manifest.images.map(({ ref, platforms, aliases, index }) => ({
      ref: formatReference(ref),
      platforms,
      aliases: aliases.map(formatAlias),
      ...(index === undefined ? {} : { index }),
    }));
    const again = parseManifest(
      JSON.stringify({
        apiVersion: 'bundle/v1',
        name: manifest.name,
        platforms: manifest.platforms,
        images,
        imageLists: manifest.imageLists,
      }),
      'm.yaml',
    );
    const meaning = ({ images, expiresMs: _, ...rest }: typeof again) => ({
      ...rest,
      images: images.map(({ text: _, where: __, ...image }) => image),
    });
    assert.deepEqual(meaning(again), meaning(manifest));
    return 'taken';
  },
);
