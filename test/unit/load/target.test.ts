import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseTarget, placesAt, targetKey } from '../../../src/load/target.ts';
import { throwsWith } from '../../support/assert-code.ts';

describe('target', () => {
  const good: readonly (readonly [string, string, string, string])[] = [
    ['127.0.0.1:5000', '127.0.0.1:5000', '', '127.0.0.1:5000'],
    ['node-1', 'node-1', '', 'node-1'],
    ['Node-1:5000', 'node-1:5000', '', 'node-1:5000'],
    ['harbor.corp/airgap', 'harbor.corp', 'airgap/', 'harbor.corp/airgap'],
    ['harbor.corp/airgap/site-1/', 'harbor.corp', 'airgap/site-1/', 'harbor.corp/airgap/site-1'],
    ['[fd00::1]:5000/x', '[fd00::1]:5000', 'x/', '[fd00::1]:5000/x'],
  ];
  for (const [text, host, prefix, name] of good)
    test(`${text} is ${host} with ${prefix === '' ? 'no path' : prefix}`, () => {
      assert.deepEqual(parseTarget(text), { host, prefix, name });
    });

  for (const text of [
    'https://node-1:5000',
    'HTTP://x',
    '',
    '/',
    ' node-1',
    'node 1',
    'node-1:',
    'node-1:0',
    'node-1:70000',
    'node-1:05000',
    '127.1:5000',
    'user@node-1',
    'node-1/UPPER',
    'node-1//x',
    'node-1/../x',
    'node-1/x:tag',
    'fd00::1',
    '-node',
  ])
    test(`${JSON.stringify(text)} is a usage error`, () => {
      throwsWith(() => parseTarget(text), 'E_USAGE', /--registry/);
    });

  test('a scheme is answered with the flag to use instead', () => {
    assert.match(throwsWith(() => parseTarget('http://x:5000'), 'E_USAGE').message, /--plain-http/);
  });

  test('its key is a file name on every file system, and different for names that look alike', () => {
    const names = ['node-1:5000', 'node-1/5000', 'node-1_5000', '[fd00::1]:5000', `host/${'a/'.repeat(60)}a`];
    const keys = names.map((name) => targetKey(parseTarget(name === 'node-1_5000' ? 'node-1-5000' : name)));
    for (const key of keys) assert.match(key, /^[a-z0-9._-]{1,80}$/);
    assert.equal(new Set(keys).size, keys.length);
  });

  test('its path stands before every name, aliases too', () => {
    assert.deepEqual(placesAt(parseTarget('harbor.corp/airgap'), 'docker.io/library/redis:7', ['cache/redis:x']), [
      { repository: 'airgap/docker.io/library/redis', tag: '7' },
      { repository: 'airgap/cache/redis', tag: 'x' },
    ]);
  });
});
