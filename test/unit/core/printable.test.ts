import assert from 'node:assert/strict';
import { test } from 'node:test';
import { printable } from '../../../src/core/printable.ts';
import { shapeFaults } from '../../../src/core/shape-faults.ts';

test('what steers a terminal or turns the direction of text comes out as an escape', () => {
  assert.equal(
    printable('a\u001b[31m\r\n\u009b\u202eé\u{1f600}\u2028', 100),
    'a\\u{1b}[31m\\u{d}\\u{a}\\u{9b}\\u{202e}é\u{1f600}\\u{2028}',
  );
  assert.equal(printable('x'.repeat(1e6), 10), 'x'.repeat(10));
});

test('the faults of a shape are told with their places, as many as asked for, each of them short', () => {
  const issues = [
    { path: [], message: `Unrecognized key: "${'x'.repeat(100_000)}"` },
    { path: ['items', 2, '\u001b[31m'], message: 'is not text' },
    { path: ['a'], message: 'b' },
  ];
  const [first = '', second, ...more] = shapeFaults({ issues }, 2);
  assert.ok(first.startsWith('top level: Unrecognized key') && first.length <= 300);
  assert.equal(second, 'items.2.\\u{1b}[31m: is not text');
  assert.deepEqual(more, []);
});
