import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { byteOrder, parseStrictJson, prettyJson, shown } from '../../../src/core/json.ts';
import { LIMITS } from '../../../src/core/limits.ts';

const parse = (text: string | Uint8Array) =>
  parseStrictJson(typeof text === 'string' ? Buffer.from(text) : text, 'the lock', 'E_LOCK');
const refused = (text: string | Uint8Array, message: RegExp) =>
  assert.throws(
    () => parse(text),
    (error: Error & { code?: string }) => {
      assert.equal(error.code, 'E_LOCK');
      assert.match(error.message, message);
      assert.ok(error.message.startsWith('the lock') && error.message.length < 300);
      return true;
    },
  );

describe('parseStrictJson', () => {
  const nest = (depth: number, open: string, close: string) => `{"a":${open.repeat(depth)}1${close.repeat(depth)}}`;
  const table: readonly [string, string | Uint8Array, RegExp][] = [
    ['nothing', '', /not JSON/],
    ['a byte order mark', '\ufeff{}', /not JSON/],
    ['Latin-1', Buffer.from([0x7b, 0x22, 0xe9, 0x22, 0x3a, 0x31, 0x7d]), /not UTF-8/],
    ['UTF-16', Buffer.from('{}', 'utf16le'), /not JSON/],
    ['an overlong slash', Buffer.from([0x22, 0xc0, 0xaf, 0x22]), /not UTF-8/],
    ['a list at the top', '[]', /not a JSON object/],
    ['null', 'null', /not a JSON object/],
    ['a string', '"{}"', /not a JSON object/],
    ['a trailing comma', '{"a":1,}', /not JSON/],
    ['a comment', '{}//x', /not JSON/],
    ['two documents', '{}{}', /not JSON/],
    ['NUL after the end', '{}\0', /not JSON/],
    ['NaN', '{"a":NaN}', /not JSON/],
    ['a duplicate key', '{"digest":"a","digest":"b"}', /"digest" occurs twice/],
    ['a duplicate key written with an escape', '{"digest":"a","dig\\u0065st":"b"}', /"digest" occurs twice/],
    ['a duplicate key far down', '{"a":[{"b":[1,{"c":1,"d":{},"c":2}]}]}', /"c" occurs twice/],
    ['a duplicate __proto__', '{"__proto__":1,"__proto__":2}', /"__proto__" occurs twice/],
    ['a duplicate empty key', '{"":1,"":2}', /"" occurs twice/],
    ['a duplicate key after a string full of quotes and braces', '{"a":"\\\\\\"},{","b":1,"a":2}', /"a" occurs twice/],
    ['a deep list', nest(LIMITS.jsonDepth, '[', ']'), /nested deeper than 64/],
    ['deep objects', nest(LIMITS.jsonDepth, '{"a":', '}'), /nested deeper than 64/],
    ['a million brackets', nest(1_000_000, '[', ']'), /nested deeper than 64/],
    ['half a million open brackets', '['.repeat(500_000), /not JSON/],
  ];
  for (const [name, text, message] of table) test(`refuses ${name}`, () => refused(text, message));

  test('takes the same key in different objects, and as key and as value', () => {
    assert.deepEqual(parse('{"a":{"a":"a"},"b":[{"a":1},{"a":2}],"c":"a"}'), { a: { a: 'a' }, b: [{ a: 1 }, { a: 2 }], c: 'a' });
  });

  test('keeps __proto__ as a field of its own and leaves every prototype alone', () => {
    const value = parse('{"__proto__":{"polluted":true}}');
    assert.equal(Object.getPrototypeOf(value), Object.prototype);
    assert.equal(({} as { polluted?: boolean }).polluted, undefined);
  });

  test('takes exactly the permitted depth', () => assert.doesNotThrow(() => parse(nest(LIMITS.jsonDepth - 1, '[', ']'))));

  test('whatever JSON.stringify writes comes back equal', () => {
    const value = fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue({ maxDepth: 4 }));
    fc.assert(
      fc.property(value, (object) => {
        const text = JSON.stringify(object);
        // A lone surrogate is escaped by JSON.stringify, so the text is UTF-8 in any case.
        assert.deepEqual(parse(text), JSON.parse(text));
        assert.deepEqual(parse(prettyJson(object)), JSON.parse(text));
      }),
    );
  });
});

test('byteOrder is an order without locale', () => {
  assert.deepEqual(['b', 'a', 'B', 'ä', '10', '9'].sort(byteOrder), ['10', '9', 'B', 'a', 'b', 'ä']);
});

test('shown is short, and has a word for what JSON has none for', () => {
  assert.equal(shown('x'.repeat(1e6)).length, 100);
  assert.equal(shown(undefined), 'nothing');
  assert.equal(shown('a\u001b[31m'), '"a\\u001b[31m"');
});
