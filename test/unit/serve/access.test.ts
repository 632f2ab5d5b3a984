import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatScope, needsOf, parseScope } from '../../../src/serve/access.ts';
import { isKnown, parseBasic } from '../../../src/serve/passwords.ts';

test('scopes: what is written is read, ports and classes included', () => {
  const needs = [
    { repository: 'a/b', action: 'pull' },
    { repository: 'a/b', action: 'push' },
    { repository: 'c', action: 'pull' },
  ] as const;
  assert.equal(formatScope(needs), 'repository:a/b:pull,push repository:c:pull');
  assert.deepEqual(parseScope(formatScope(needs)), needs);
  assert.deepEqual(parseScope('repository(plugin):x:pull'), [{ repository: 'x', action: 'pull' }]);
  assert.deepEqual(
    parseScope('repository:x:*').map((need) => need.action),
    ['pull', 'push', 'delete'],
  );
  for (const nothing of ['', 'registry:catalog:*', 'repository::pull', 'repository:x', 'repository:x:fly'])
    assert.deepEqual(parseScope(nothing), []);
});

test('to ask how far an upload is needs the right to push', () => {
  for (const method of ['GET', 'HEAD', 'PATCH', 'PUT']) {
    const { needed } = needsOf({ kind: 'upload', repository: 'a', id: 'x' }, method, new URLSearchParams());
    assert.deepEqual(
      needed.map((need) => need.action),
      ['pull', 'push'],
      method,
    );
  }
});

test('cancelling an upload is part of a push, other deletes are deletes', () => {
  const none = new URLSearchParams();
  const actions = (...args: Parameters<typeof needsOf>) => needsOf(...args).needed.map((need) => need.action);
  assert.deepEqual(actions({ kind: 'upload', repository: 'a', id: 'x' }, 'DELETE', none), ['pull', 'push']);
  assert.deepEqual(actions({ kind: 'blob', repository: 'a', digest: 'x' }, 'DELETE', none), ['delete']);
  assert.deepEqual(actions({ kind: 'ping' }, 'GET', none), []);
});

test('Basic credentials: a password may hold colons and any script, a user may not be inherited', () => {
  const encode = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
  assert.deepEqual(parseBasic(encode('ann:a:b ü')), { user: 'ann', password: 'a:b ü' });
  assert.deepEqual(parseBasic(encode(':')), { user: '', password: '' });
  for (const bad of [undefined, '', 'Basic', 'Bearer x', encode('no colon'), 'Basic !!'])
    assert.equal(parseBasic(bad), undefined, `${bad}`);
  const rules = { users: { ann: 'x' } };
  assert.equal(isKnown(rules, { user: 'ann', password: 'x' }), true);
  for (const user of ['ann', 'constructor', '__proto__', 'eve'])
    assert.equal(isKnown(rules, { user, password: '' }), false, user);
});
