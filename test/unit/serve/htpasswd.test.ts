import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseHtpasswd, withUser } from '../../../src/serve/htpasswd.ts';
import { parsePushRight, rightsOf } from '../../../src/serve/rights.ts';
import { throwsWith } from '../../support/assert-code.ts';

const HASH = '$2b$10$xzDhnDCAYtn4J2o60ONFGOcJNNqLTdxy26IvKGTdi1hk.gqojYshm';
const of = (text: string) => parseHtpasswd(text, 'users');

describe('htpasswd files', () => {
  test('names with their hashes; comments, blank lines and line ends of Windows are passed over', () => {
    const text = `# people\n\nann:${HASH}\r\nbob:${HASH.replace('2b', '2y')}\n  \nümit:${HASH.replace('2b', '2a')}`;
    assert.deepEqual([...of(text).keys()], ['ann', 'bob', 'ümit']);
    assert.equal(of(text).get('ann'), HASH);
    assert.equal(of('').size, 0);
    assert.equal(of(`__proto__:${HASH}`).get('__proto__'), HASH);
  });

  test('what is no bcrypt is refused, with its line and without its text', () => {
    for (const hash of [
      'canary',
      '{SHA}canaryW6ph5Mm5Pz8GgiULbPgzG37mj9g=',
      '$apr1$canary00$qHDFfhPC9nITSVHgYbDAK1',
      '$6$canary$aaaa',
      '$2x$10$xzDhnDCAYtn4J2o60ONFGOcJNNqLTdxy26IvKGTdi1hk.gqojYshm',
      `${HASH}canary`,
      HASH.slice(0, -1),
      '',
    ]) {
      const error = throwsWith(() => of(`ann:${HASH}\nbob:${hash}\n`), 'E_USAGE', /^users:2: .*"bob".*bcrypt/);
      assert.ok(!`${error.message}${error.hint}`.includes('canary'));
    }
  });

  test('a cost that would take seconds a login, or that is none, is refused', () => {
    for (const cost of ['03', '15', '31', '99'])
      throwsWith(() => of(`ann:${HASH.replace('$10$', `$${cost}$`)}`), 'E_USAGE', /users:1: .*cost/);
  });

  test('names that HTTP has no room for, doubles, and lines without a colon are refused', () => {
    for (const line of [
      'no colon',
      `:${HASH}`,
      ` ann:${HASH}`,
      `a\u0007n:${HASH}`,
      `a\u0085n:${HASH}`,
      `${'x'.repeat(256)}:${HASH}`,
    ])
      throwsWith(() => of(`\n${line}`), 'E_USAGE', /^users:2: /);
    throwsWith(() => of(`ann:${HASH}\nann:${HASH}`), 'E_USAGE', /users:2: "ann" is there a second time/);
  });

  test('a user is put in the place of its line, or at the end; all else stays', () => {
    const before = `# people\nann:old\nanna:x`;
    assert.equal(withUser(before, 'ann', 'new'), '# people\nann:new\nanna:x\n');
    assert.equal(withUser(before, 'bob', 'new'), '# people\nann:old\nanna:x\nbob:new\n');
    assert.equal(withUser('', 'bob', 'new'), 'bob:new\n');
  });
});

describe('rights to push', () => {
  test('count by components of the path, for a user or for everybody known', () => {
    const may = rightsOf(['ann=docker.io/library', '*=shared/', 'root=*'].map(parsePushRight));
    for (const [user, repository, yes] of [
      ['ann', 'docker.io/library', true],
      ['ann', 'docker.io/library/redis', true],
      ['ann', 'docker.io/library-b/redis', false],
      ['ann', 'docker.io', false],
      ['bob', 'docker.io/library/redis', false],
      ['bob', 'shared/x', true],
      ['root', 'anything/at/all', true],
      ['*', 'docker.io/library/redis', false],
    ] as const) {
      assert.equal(may(user, repository, 'push'), yes, `${user} ${repository}`);
      assert.equal(may(user, repository, 'delete'), yes, `${user} ${repository}`);
      assert.equal(may(user, repository, 'pull'), true);
    }
  });

  test('without any right everybody known may write everywhere', () => {
    assert.equal(rightsOf([])('bob', 'x', 'delete'), true);
  });

  test('a slip is a usage error', () => {
    for (const text of ['', 'ann', '=x', 'ann=', 'ann=UPPER', 'ann=a//b', 'ann=a/*', 'ann=../x'])
      throwsWith(() => parsePushRight(text), 'E_USAGE', /--push/);
    assert.deepEqual(parsePushRight('a=b=c'), { user: 'a=b', prefix: 'c' });
  });
});
