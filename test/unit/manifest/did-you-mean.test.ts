import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { didYouMean, editDistance, nearest } from '../../../src/manifest/did-you-mean.ts';

test('edit distances', () => {
  const table: readonly [string, string, number][] = [
    ['', '', 0],
    ['a', '', 1],
    ['images', 'images', 0],
    ['imagez', 'images', 1],
    ['iamges', 'images', 1],
    ['kitten', 'sitting', 3],
  ];
  for (const [a, b, distance] of table) assert.equal(editDistance(a, b), distance, `${a} ${b}`);
});

test('a distance is symmetric, and zero only between equals', () => {
  const word = fc.string({ maxLength: 8 });
  fc.assert(
    fc.property(word, word, (a, b) => {
      assert.equal(editDistance(a, b), editDistance(b, a));
      assert.equal(editDistance(a, b) === 0, a === b);
    }),
  );
});

test('the nearest of several wins, and what is far is not offered', () => {
  assert.equal(nearest('platform', ['images', 'platforms']), 'platforms');
  assert.equal(nearest('zzz', ['images', 'platforms']), undefined);
  assert.equal(nearest('x'.repeat(1e6), ['images']), undefined);
  assert.equal(nearest('', ['a']), undefined);
  assert.equal(didYouMean('q', ['images']), '');
});
