import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { matchesIdentity } from '../../../src/upstream/identity.ts';

test('an identity without a star is itself and nothing else', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (pattern, identity) => {
      fc.pre(!pattern.includes('*'));
      assert.equal(matchesIdentity(pattern, identity), pattern === identity);
      assert.ok(matchesIdentity(pattern, pattern));
    }),
  );
});

test('nothing but the star is special: what a regular expression would read is a letter', () => {
  for (const [pattern, identity] of [
    ['dev@example.test', 'dev@exampleXtest'],
    ['dev@example.test', 'dev@example.test.evil'],
    ['dev@example.test', 'a-dev@example.test'],
    ['dev+x@example.test', 'devx@example.test'],
    ['(a|b)', 'a'],
    ['[ab]', 'a'],
    ['a?', ''],
    ['\\d', '1'],
    ['^a$', 'a'],
    ['a', 'a\n'],
    ['a.b', 'a\nb'],
    ['A', 'a'],
  ] as const)
    assert.equal(matchesIdentity(pattern, identity), false, `${pattern} ${JSON.stringify(identity)}`);
});

test('one star is any run without a slash, two are any run; both may be empty', () => {
  for (const [pattern, identity, wanted] of [
    ['https://f/org/*/x', 'https://f/org/app/x', true],
    ['https://f/org/*/x', 'https://f/org//x', true],
    ['https://f/org/*/x', 'https://f/org/a/b/x', false],
    ['https://f/org/**/x', 'https://f/org/a/b/x', true],
    ['https://f/**@refs/tags/v*', 'https://f/a/b.yaml@refs/tags/v1.2', true],
    ['https://f/**@refs/tags/v*', 'https://f/a/b.yaml@refs/tags/v1/evil', false],
    ['https://f/**@refs/tags/v*', 'https://f/a/b.yaml@refs/heads/main', false],
    ['*@example.test', 'dev@example.test', true],
    ['*@example.test', 'dev@example.test.evil', false],
    ['a*', 'a', true],
    ['a**', 'a', true],
    ['*a*', 'bab', true],
  ] as const)
    assert.equal(matchesIdentity(pattern, identity), wanted, `${pattern} ${identity}`);
});

test('it agrees with an anchored regular expression in which everything but the stars is escaped', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '/', '.', '*'), maxLength: 12 });
  fc.assert(
    fc.property(text, text, (pattern, identity) => {
      fc.pre(!pattern.includes('***'));
      const source = pattern
        .split(/(\*\*|\*)/)
        .map((part) => (part === '**' ? '[^]*' : part === '*' ? '[^/]*' : part.replaceAll('.', '\\.')))
        .join('');
      assert.equal(matchesIdentity(pattern, identity), new RegExp(`^${source}$`).test(identity), `${pattern} ${identity}`);
    }),
    { numRuns: 2000 },
  );
});

test('many stars and a long identity do not make it slow', () => {
  assert.equal(matchesIdentity(`${'*a'.repeat(300)}b`, 'a'.repeat(2000)), false);
});
