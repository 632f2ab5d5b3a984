import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { unifiedDiff } from '../../../src/k3s/diff.ts';

test('equal texts have no difference', () => assert.equal(unifiedDiff('a\n', 'a\n', 'f'), ''));

test('a changed line has three lines around it', () => {
  const before = Array.from({ length: 12 }, (_, i) => `${i}\n`).join('');
  assert.equal(
    unifiedDiff(before, before.replace('6\n', 'six\n'), 'f'),
    '--- f\n+++ f\n@@ -4,7 +4,7 @@\n 3\n 4\n 5\n-6\n+six\n 7\n 8\n 9\n',
  );
});

test('a new file is all plus', () => assert.equal(unifiedDiff('', 'a\nb\n', 'f'), '--- f\n+++ f\n@@ -0,0 +1,2 @@\n+a\n+b\n'));

test('far changes are in hunks of their own', () => {
  const before = Array.from({ length: 30 }, (_, i) => `${i}\n`).join('');
  const after = before.replace('2\n', '').replace('27\n', '27\nnew\n');
  assert.equal(unifiedDiff(before, after, 'f').match(/^@@/gm)?.length, 2);
});

test('property: minus and blank lines give the old text, plus and blank lines the new one', () => {
  const text = fc
    .array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 7 })
    .map((lines) => lines.map((line) => `${line}\n`).join(''));
  fc.assert(
    fc.property(text, text, (before, after) => {
      const lines = unifiedDiff(before, after, 'f').split('\n').slice(3, -1);
      const side = (mark: string): string =>
        lines
          .filter((l) => l[0] === ' ' || l[0] === mark)
          .map((l) => `${l.slice(1)}\n`)
          .join('');
      if (before === after) return;
      assert.ok(before.includes(side('-')) && after.includes(side('+')));
      if (before.length + after.length < 14) assert.deepEqual([side('-'), side('+')], [before, after]);
    }),
  );
});
