import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isBundleError } from '../../src/core/errors.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { parseManifest } from '../../src/manifest/read-manifest.ts';
import { throwsWith } from '../support/assert-code.ts';

/** Manifests that are wrong in every way one can think of: E_MANIFEST, a place, a short message, and soon. */
const HEAD = 'apiVersion: bundle/v1\nname: x\n';
const GOOD = `${HEAD}images:\n  - redis:7\n`;
const FOUR_MIB = LIMITS.manifestFileBytes;
const LONGEST_MS = 60_000; // quadratic work takes hours; a busy machine does not

function refused(text: string, message: RegExp): void {
  const before = performance.now();
  const error = throwsWith(() => parseManifest(text, 'm.yaml'), 'E_MANIFEST', message);
  assert.ok(performance.now() - before < LONGEST_MS, `took ${performance.now() - before} ms`);
  for (const line of error.message.split('\n')) assert.match(line, /^(m\.yaml:\d+:\d+: |… and \d+ more$)/);
  assert.ok(error.message.length < 20_000, `a message of ${error.message.length} characters`);
}

const table = (rows: readonly [string, string, RegExp][]) => {
  for (const [name, text, message] of rows) test(name, () => refused(text, message));
};

describe('shape', () => {
  table([
    ['an empty file', '', /^m\.yaml:1:1: is empty/],
    ['only a byte order mark', '\ufeff', /^m\.yaml:1:1: is empty/],
    ['only comments', '# a\n# b\n', /^m\.yaml:1:1: is empty/],
    ['only a document marker', '---\n', /is empty/],
    ['a list at the root', '- redis:7\n', /^m\.yaml:1:1: want a map, got a list/],
    ['text at the root', 'redis:7', /^m\.yaml:1:1: want a map, got the text "redis:7"/],
    ['an empty map', '{}', /apiVersion: is missing[\s\S]*name: is missing/],
    ['a map with an empty key', `${GOOD}: x\n`, /unknown key/],
    ['JSON of another kind', '{"kind":"Pod"}', /kind: unknown key/],
    ['images: ~', `${HEAD}images: ~`, /^m\.yaml:3:9: images: want a list, got the text "~"/],
    ['images: without a value', `${HEAD}images:\n`, /^m\.yaml:3:1: images: want a list, got nothing/],
    ['images: null', `${HEAD}images: null`, /:3:9: images: want a list/],
    ['images as a map', `${HEAD}images: {redis: 7}`, /:3:9: images: want a list, got a map/],
    ['images as text', `${HEAD}images: redis:7`, /:3:9: images: want a list/],
    ['images with an empty item', `${HEAD}images:\n  -\n`, /:\d+:\d+: images\[0\]: reference "": is empty/],
    ['images with a list in it', `${HEAD}images: [[redis]]`, /:3:10: images\[0\]: want text or a map, got a list/],
    ['an image without ref', `${HEAD}images: [{platforms: all}]`, /:3:10: images\[0\]\.ref: is missing/],
    ['an image whose ref is a list', `${HEAD}images: [{ref: [a]}]`, /:3:16: images\[0\]\.ref: want text, got a list/],
    [
      'an image with "redis: 7" for "redis:7"',
      `${HEAD}images:\n  - redis: 7\n`,
      /:4:5: images\[0\]\.ref: is missing[\s\S]*images\[0\]\.redis: unknown key/,
    ],
    ['nothing to carry', HEAD, /^m\.yaml:1:1: names nothing to carry/],
    ['an empty list', `${HEAD}images: []`, /^m\.yaml:3:1: names nothing to carry/],
    ['an empty list of platforms', `${GOOD}platforms: []`, /:5:12: platforms: is an empty list/],
    ['a null platform', `${GOOD}platforms: [~]`, /:5:13: platforms\[0\]: platform "~"/],
    [
      'another version',
      GOOD.replace('v1', 'v2'),
      /^m\.yaml:1:13: apiVersion: want "bundle\/v1", got the text "bundle\/v2"; did you mean "bundle\/v1"\?/,
    ],
    ['no version', GOOD.replace(/^.*\n/, ''), /^m\.yaml:1:1: apiVersion: is missing: want "bundle\/v1"/],
    ['a name that is a list', GOOD.replace('name: x', 'name: [x]'), /^m\.yaml:2:7: name: want text, got a list/],
    ['an alias list that is text', `${HEAD}images: [{ref: a, aliases: "x:1"}]`, /:3:28: images\[0\]\.aliases: want a list/],
    ['too many aliases', `${HEAD}images: [{ref: a, aliases: [${'x:1,'.repeat(65)}]}]`, /aliases: has more than 64 entries/],
    ['too many lists', `${HEAD}imageLists: [${'x,'.repeat(65)}]`, /imageLists: has more than 64 entries/],
    ['too many images', `${HEAD}images: [${'a,'.repeat(LIMITS.imageListLines + 1)}]`, /images: has more than 20000 entries/],
  ]);
});

describe('keys', () => {
  table([
    ['a duplicate key', `${GOOD}name: y\n`, /^m\.yaml:5:1: the key "name" is there twice \(first at m\.yaml:2:1\)/],
    ['a duplicate key in quotes', `${GOOD}"name": y\n`, /^m\.yaml:5:1: the key "name" is there twice/],
    ['a duplicate key by escape', `${GOOD}"n\\x61me": y\n`, /^m\.yaml:5:1: the key "name" is there twice/],
    [
      'a duplicate key in a flow map',
      `${HEAD}images: [{ref: a, ref: b}]`,
      /^m\.yaml:3:19: images\[0\]: the key "ref" is there twice/,
    ],
    ['__proto__', `${GOOD}__proto__: {platforms: all}\n`, /^m\.yaml:5:1: __proto__: unknown key/],
    [
      '__proto__ on an image',
      `${HEAD}images: [{__proto__: {ref: a}}]`,
      /images\[0\]\.ref: is missing[\s\S]*images\[0\]\.__proto__: unknown key/,
    ],
    ['two __proto__', `${GOOD}__proto__: a\n__proto__: b\n`, /the key "__proto__" is there twice/],
    ['constructor', `${GOOD}constructor: {prototype: {}}\n`, /^m\.yaml:5:1: constructor: unknown key/],
    ['toString', `${GOOD}toString: x\n`, /^m\.yaml:5:1: toString: unknown key/],
    ['a list as key', `${GOOD}? [a, b]\n: c\n`, /^m\.yaml:5:3: a key must be text/],
    ['a map as key', `${GOOD}? {a: b}\n: c\n`, /^m\.yaml:5:3: a key must be text/],
    ['a merge key with a map', `${GOOD}<<: {platforms: all}\n`, /^m\.yaml:5:1: "<<": unknown key/],
    ['a key of a megabyte', `${GOOD}? ${'k'.repeat(1e6)}\n: v\n`, /unknown key/],
    ['a key with a line break', `${GOOD}"a\\nb": x\n`, /^m\.yaml:5:1: "a\\nb": unknown key/],
    [
      'a key with a Cyrillic letter',
      `${GOOD}im\u0430ges: []\n`,
      /^m\.yaml:5:1: "im\u0430ges": unknown key; did you mean "images"\?/,
    ],
  ]);

  test('no prototype is changed by any of it', () => {
    throwsWith(
      () => parseManifest(`${GOOD}__proto__: {polluted: x}\nconstructor: {prototype: {polluted: x}}\n`, 'm'),
      'E_MANIFEST',
    );
    assert.equal(({} as { polluted?: string }).polluted, undefined);
  });
});

describe('YAML that readers disagree on', () => {
  table([
    ['an anchor', `${HEAD}images: &a [redis:7]\n`, /^m\.yaml:3:9: the anchor "&a"/],
    ['an alias', `${HEAD}images: [redis:7, *a]\n`, /^m\.yaml:3:19: the alias "\*a"/],
    ['a merge key', `${HEAD}base: &b {x: y}\n<<: *b\n`, /^m\.yaml:3:7: the anchor[\s\S]*m\.yaml:4:5: the alias/],
    ['an anchor to itself', 'a: &a [*a]\n', /^m\.yaml:1:4: the anchor/],
    ['a tag of YAML', `${HEAD}images: [!!str redis]\n`, /^m\.yaml:3:10: the tag "!!str"/],
    ['a tag of JavaScript', `${HEAD}images: !!js/function "x"\n`, /^m\.yaml:3:9: the tag "!!js\/function"/],
    ['a tag of Python', 'a: !!python/object/apply:os.system ["id"]\n', /^m\.yaml:1:4: the tag/],
    ['an own tag', `${HEAD}images: !include other.yaml\n`, /the tag "!include"/],
    ['a verbatim tag', 'a: !<tag:x,2000:y> b\n', /the tag/],
    ['%YAML 1.1', `%YAML 1.1\n---\n${GOOD}`, /^m\.yaml:1:1: the directive "%YAML 1\.1"/],
    ['%TAG', `%TAG ! tag:x,2000:\n---\n${GOOD}`, /^m\.yaml:1:1: the directive/],
    ['two documents', `${GOOD}---\n${GOOD}`, /^m\.yaml:5:1: a second document begins here/],
    ['a second document that is empty', `${GOOD}---\n`, /^m\.yaml:5:1: a second document begins here/],
    ['something after the end marker', `${GOOD}...\n${GOOD}`, /^m\.yaml:\d+:1: /],
    ['a tab as indentation', `${HEAD}images:\n\t- redis:7\n`, /^m\.yaml:4:1: Tabs are not allowed/],
    ['a bad indentation', `${HEAD}images:\n  - redis:7\n - busybox\n`, /^m\.yaml:5:\d+: /],
    ['an open bracket', `${HEAD}images: [redis:7`, /^m\.yaml:3:\d+: /],
    ['a bracket too many', `${HEAD}images: [redis:7]]`, /^m\.yaml:3:18: /],
    ['an open quote', `${HEAD}images: ["redis:7]\n`, /^m\.yaml:\d+:\d+: /],
    ['an unknown escape', `${HEAD}images: ["redis\\q"]`, /^m\.yaml:3:\d+: /],
    ['a reserved character', `${HEAD}images: [@redis]`, /^m\.yaml:3:\d+: /],
    ['a block scalar without text as name', GOOD.replace('name: x', 'name: |'), /^m\.yaml:2:\d+: name: /],
    ['a name with the line break of a block scalar', GOOD.replace('name: x', 'name: |\n  x'), /^m\.yaml:2:7: name: "x\\n"/],
  ]);

  test('text that only looks like an anchor, alias, tag or directive is text', () => {
    const manifest = parseManifest(`${HEAD}images: [redis:7]  # &a *a !t\nimageLists: ["*x", '&y', "!z", "%w"]\n`, 'm.yaml');
    assert.deepEqual(manifest.imageLists, ['*x', '&y', '!z', '%w']);
    const block = parseManifest(`${HEAD}images:\n- |-\n redis:7\nimageLists:\n- >-\n  !x\n- |-\n  *x &y\n`, 'm.yaml');
    assert.deepEqual(block.imageLists, ['!x', '*x &y']);
  });
});

describe('characters', () => {
  const at = (char: string) => `${HEAD}images: [redis:7] # ${char}\n`;
  table([
    ['NUL', at('\0'), /^m\.yaml:3:21: the character U\+0000 is not allowed/],
    ['an escape for the terminal', at('\u001b[31m'), /^m\.yaml:3:21: the character U\+001B/],
    ['a C1 control', at('\u009b'), /U\+009B/],
    ['a lone CR, a line break to some', `${HEAD}images: [redis:7] # x\rname: y\n`, /^m\.yaml:3:22: the character U\+000D/],
    ['a right-to-left override (CVE-2021-42574)', at('\u202e'), /U\+202E/],
    ['an isolate', at('\u2066'), /U\+2066/],
    ['half of a surrogate pair', at('\ud800'), /U\+D800/],
    ['the other half', at('\udc00'), /U\+DC00/],
    ['U+FFFE', at('\ufffe'), /U\+FFFE/],
    ['a byte order mark inside a reference', `${HEAD}images: ["\ufeffredis"]`, /^m\.yaml:3:10: images\[0\]: reference/],
    ['a no-break space after a reference', `${HEAD}images: [redis:7\u00a0]`, /^m\.yaml:3:10: images\[0\]: reference/],
    ['a full-width colon', `${HEAD}images: [redis\uff1a7]`, /^m\.yaml:3:10: images\[0\]: reference/],
    ['a Cyrillic host', `${HEAD}images: ["gh\u0441r.io/a/b:1"]`, /^m\.yaml:3:10: images\[0\]: reference/],
    ['a Kelvin sign in a host', `${HEAD}images: ["registry.\u212a8s.io/pause:3"]`, /^m\.yaml:3:10: images\[0\]: reference/],
    ['an ideographic full stop', `${HEAD}images: ["ghcr\u3002io/a/b:1"]`, /^m\.yaml:3:10: images\[0\]: reference/],
    ['an address in disguise', `${HEAD}images: [0x7f.1/a/b:1]`, /^m\.yaml:3:10: images\[0\]: reference .*127\.0\.0\.1/],
    ['another host before an @', `${HEAD}images: ["ghcr.io@evil.com/x:1"]`, /^m\.yaml:3:10: images\[0\]: reference/],
    ['a Kelvin sign in a platform', `${GOOD}platforms: ["lin\u212ax/amd64"]`, /^m\.yaml:5:13: platforms\[0\]: platform/],
  ]);

  test('emoji and accents in comments are fine', () => {
    assert.equal(parseManifest(at('geprüft ✅ 𝄞'), 'm.yaml').name, 'x');
  });
});

describe('bombs', () => {
  const laughs = ['a: &a [x]', ...Array.from({ length: 20 }, (_, i) => `b${i}: &b${i} [*a, *a, *a]`)].join('\n');
  const items = (count: number) => `${HEAD}images:\n${'- A\n'.repeat(count)}`;
  table([
    ['a billion laughs', laughs, /^m\.yaml:1:4: the anchor "&a"/],
    ['a million anchors', '&a '.repeat(1e6), /the anchor/],
    ['a million open brackets', '['.repeat(1e6), /^m\.yaml:1:65: nested deeper than 64/],
    ['a million open braces', '{'.repeat(1e6), /nested deeper than 64/],
    ['a million nested maps in one line', '{a: '.repeat(1e5), /nested deeper than 64/],
    ['a million dashes in one line', '- '.repeat(1e6), /nested deeper than 64/],
    ['a million question marks in one line', '? '.repeat(1e6), /nested deeper than 64/],
    [
      'a hundred brackets that are closed',
      `${GOOD}x: ${'['.repeat(100)}${']'.repeat(100)}`,
      /^m\.yaml:5:\d+: nested deeper than 64/,
    ],
    [
      'two thousand levels of indentation',
      Array.from({ length: 2000 }, (_, i) => `${' '.repeat(i)}a:\n`).join(''),
      /nested (too deep|deeper)/,
    ],
    ['a hundred levels of indentation', Array.from({ length: 100 }, (_, i) => `${' '.repeat(i)}a:\n`).join(''), /nested deeper/],
    ['five mebibytes', `${GOOD}#${'x'.repeat(5 * 1024 * 1024)}`, /^m\.yaml:1:1: is larger than the limit of 4194304 bytes/],
    ['four mebibytes of three-byte characters', '€'.repeat(FOUR_MIB / 2), /^m\.yaml:1:1: is larger/],
    ['four mebibytes of list', `[${'a,'.repeat(FOUR_MIB / 2 - 1)}]`, /more than 600000 tokens/],
    ['four mebibytes of lines', '\n'.repeat(FOUR_MIB), /more than 600000 tokens/],
    ['four mebibytes of keys', 'k: v\n'.repeat(FOUR_MIB / 5), /more than 600000 tokens/],
    ['a hundred thousand different keys', Array.from({ length: 1e5 }, (_, i) => `k${i}: v\n`).join(''), /and \d+ more/],
    ['a hundred thousand equal keys', 'k: v\n'.repeat(1e5), /is there twice[\s\S]*and \d+ more/],
    ['a hundred thousand stray commas', `[${','.repeat(1e5)}`, /and \d+ more/],
    ['twenty thousand bad references', items(20_000), /and 19980 more/],
    ['a reference of three mebibytes', `${HEAD}images: [${'a/'.repeat(1.5 * 1024 * 1024)}a]`, /longer than 512 characters/],
    ['a quoted reference of escapes', `${HEAD}images: ["${'\\x61'.repeat(FOUR_MIB / 8)}"]`, /longer than 512 characters/],
    ['a name of three mebibytes', `apiVersion: bundle/v1\nname: ${'a'.repeat(3e6)}\nimages: [a]`, /^m\.yaml:2:7: name: "aaa/],
    ['an unknown word of three mebibytes', 'a'.repeat(3e6), /want a map/],
    ['a platform of three mebibytes', `${GOOD}platforms: [linux/${'a'.repeat(3e6)}]`, /platforms\[0\]: platform "linux\/aaa/],
  ]);
});

describe('anything at all', () => {
  const pieces = [
    'apiVersion: bundle/v1\n',
    'name: x\n',
    'images:\n',
    '  - redis:7\n',
    '  - {ref: a, ',
    'platforms: ',
    '[',
    ']',
    '{',
    '}',
    '&a ',
    '*a',
    '!t ',
    '? ',
    ': ',
    '- ',
    '|\n',
    '"',
    "'",
    '#',
    '\t',
    '\r\n',
    '---\n',
    '...\n',
    '%YAML 1.1\n',
    '__proto__: ',
    '<<: ',
    '~',
    '\0',
    '\ufeff',
    '\u212a',
    ' ',
    '\n',
  ];
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.array(fc.constantFrom(...pieces), { maxLength: 30 }).map((list) => list.join('')),
  );

  test('is either a manifest or a BundleError with places; never another error', () => {
    fc.assert(
      fc.property(text, (input) => {
        try {
          assert.equal(typeof parseManifest(input, 'm.yaml').name, 'string');
        } catch (error) {
          assert.ok(isBundleError(error), String(error));
          assert.match(error.message, /^m\.yaml:\d+:\d+: /);
          assert.match(error.code, /^E_(MANIFEST|ALIAS_CONFLICT)$/);
        }
      }),
      { numRuns: 1500 },
    );
  });

  test('cut off anywhere, a good manifest is a smaller one or an error with a place', () => {
    const whole = `${HEAD}platforms: [linux/arm64]\nimages:\n  - ref: quay.io/a/b:v1\n    aliases: [a/b:v1]\n  - "redis:7"\nexpires: 30d\n`;
    for (let length = 0; length < whole.length; length++) {
      try {
        parseManifest(whole.slice(0, length), 'm.yaml');
      } catch (error) {
        assert.ok(isBundleError(error), String(error));
        assert.match(error.message, /^m\.yaml:\d+:\d+: /);
      }
    }
  });
});
