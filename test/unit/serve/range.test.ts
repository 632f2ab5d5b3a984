import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseContentRange, parseRange, uploadRange } from '../../../src/serve/range.ts';

test('a range is clamped to the size, a suffix counts from the end', () => {
  assert.deepEqual(parseRange('bytes=0-', 10), { start: 0, end: 10 });
  assert.deepEqual(parseRange('bytes=3-5', 10), { start: 3, end: 6 });
  assert.deepEqual(parseRange('bytes=9-99999', 10), { start: 9, end: 10 });
  assert.deepEqual(parseRange('bytes=-3', 10), { start: 7, end: 10 });
  assert.deepEqual(parseRange('bytes=-30', 10), { start: 0, end: 10 });
  assert.deepEqual(parseRange('Bytes=3-5', 10), { start: 3, end: 6 }, 'RFC 9110: units are case-insensitive');
});

test('numbers too large for a double are still large', () => {
  for (const digits of [16, 40, 400, 4000]) {
    const huge = '9'.repeat(digits);
    assert.equal(parseRange(`bytes=${huge}-`, 10), 'unsatisfiable');
    assert.equal(parseRange(`bytes=${huge}-${huge}`, 10), 'unsatisfiable');
    assert.deepEqual(parseRange(`bytes=4-${huge}`, 10), { start: 4, end: 10 });
    assert.deepEqual(parseRange(`bytes=-${huge}`, 10), { start: 0, end: 10 });
  }
});

test('what lies outside is unsatisfiable', () => {
  for (const range of ['bytes=10-', 'bytes=5-4', 'bytes=-0']) {
    assert.equal(parseRange(range, 10), 'unsatisfiable', range);
  }
  for (const range of ['bytes=0-', 'bytes=-1', 'bytes=0-0']) assert.equal(parseRange(range, 0), 'unsatisfiable');
});

test('no range, other units, several ranges and nonsense mean the whole', () => {
  for (const range of [undefined, '', 'bytes', 'bytes=-', 'lines=1-2', 'bytes=0-1,3-4', 'bytes=a-b', 'bytes=1 - 2']) {
    assert.equal(parseRange(range, 10), 'whole', `${range}`);
  }
});

test('Content-Range of a chunk has no unit; those who write one are understood', () => {
  assert.deepEqual(parseContentRange('0-1023'), { start: 0, end: 1024 });
  assert.deepEqual(parseContentRange('bytes 5-5/10'), { start: 5, end: 6 });
  for (const bad of ['', '-', '5-', '-5', '5-4', 'x-y', '0-1,3-4', '1e3-2e3'])
    assert.equal(parseContentRange(bad), undefined, bad);
});

test('the range of an upload names the last byte held', () => {
  assert.equal(uploadRange(0), '0-0');
  assert.equal(uploadRange(1), '0-0');
  assert.equal(uploadRange(1024), '0-1023');
});
