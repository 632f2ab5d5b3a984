import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fromEnvironment, numberFlag } from '../../../src/cli/command.ts';
import { COMMANDS } from '../../../src/cli/commands/index.ts';
import { checkFlagValues, failureStyle } from '../../../src/cli/early-flags.ts';
import { COMMON, OPTIONS, type OptionName } from '../../../src/cli/options.ts';
import { parseListen } from '../../../src/cli/serve/listen-address.ts';
import { throwsWith } from '../../support/assert-code.ts';

describe('the environment as flags', () => {
  const of = (names: OptionName[], env: Record<string, string>) => fromEnvironment(names, env);

  test('each declared flag has a variable of its name; others are not looked at', () => {
    assert.deepEqual(of(['plain-http', 'keep'], { BUNDLE_PLAIN_HTTP: 'a:1', BUNDLE_KEEP: '3', BUNDLE_STATE: '/s', KEEP: '9' }), {
      'plain-http': ['a:1'],
      keep: '3',
    });
  });

  test('lists are split at commas, blanks around them do not count', () => {
    assert.deepEqual(of(['registry'], { BUNDLE_REGISTRY: 'a:1, b:2 ,c' }), { registry: ['a:1', 'b:2', 'c'] });
  });

  test('flags take true and false in the usual words; anything else is a usage error', () => {
    for (const [text, value] of [
      ['1', true],
      ['TRUE', true],
      ['yes', true],
      ['0', false],
      ['False', false],
      ['no', false],
    ] as const)
      assert.deepEqual(of(['quiet'], { BUNDLE_QUIET: text }), { quiet: value });
    throwsWith(() => of(['quiet'], { BUNDLE_QUIET: 'on' }), 'E_USAGE', /BUNDLE_QUIET/);
  });

  test('an empty variable is not set', () => {
    assert.deepEqual(of(['quiet', 'registry', 'keep'], { BUNDLE_QUIET: '', BUNDLE_REGISTRY: '', BUNDLE_KEEP: '' }), {});
  });

  test('no variable turns a check off', () => {
    const insecure = (Object.keys(OPTIONS) as OptionName[]).filter((name) => name.startsWith('insecure-'));
    assert.ok(insecure.length > 0);
    for (const name of insecure)
      assert.deepEqual(of([name], { [`BUNDLE_${name.toUpperCase().replaceAll('-', '_')}`]: 'true' }), {});
  });

  test('numbers stay words until they are checked', () => {
    assert.deepEqual(of(['keep'], { BUNDLE_KEEP: '1e3' }), { keep: '1e3' });
  });
});

describe('numbers', () => {
  test('whole ones in their range', () => {
    assert.equal(numberFlag({ keep: '3' }, 'keep', 1, 10), 3);
    assert.equal(numberFlag({}, 'keep', 1, 10), undefined);
    for (const text of ['0', '11', '-1', '1.5', '1e1', ' 3', '0x3', '', '٣', '9999999999999999'])
      throwsWith(() => numberFlag({ keep: text }, 'keep', 1, 10), 'E_USAGE', /--keep: /);
  });
});

describe('known before anything is parsed', () => {
  const json = (words: string, env = {}): boolean => failureStyle(words.split(' '), env).json;

  test('whether a failure is a document', () => {
    assert.ok(json('pull --json'));
    assert.ok(json('pull --json=true'));
    assert.ok(json('pull', { BUNDLE_JSON: 'yes' }));
    assert.ok(json('--json pull --nonsense'));
    assert.ok(!json('pull'));
    assert.ok(!json('pull --json=false', { BUNDLE_JSON: '1' }));
    assert.ok(!json('pull -- --json'));
    assert.ok(!json('pull', { BUNDLE_JSON: 'perhaps' }));
  });

  test('whether it is told at length', () => {
    const verbose = (words: string, env = {}): boolean => failureStyle(words.split(' '), env).verbose;
    assert.ok(verbose('pull -v') && verbose('pull --verbose') && verbose('pull -qv') && verbose('pull', { BUNDLE_VERBOSE: '1' }));
    assert.ok(!verbose('pull --version') && !verbose('pull'));
  });

  test('a value behind a flag is true or false, or a usage error: "--dry-run=yes" must not mean no', () => {
    for (const word of ['--dry-run=yes', '--dry-run=1', '--dry-run=', '--insecure-skip-signature=TRUE', '--prove=x'])
      throwsWith(() => checkFlagValues(['load', word]), 'E_USAGE', /true or false/);
    checkFlagValues(['load', '--dry-run=true', '--json=false', '--dry-run', '--name=yes', '--', '--dry-run=yes']);
  });
});

describe('the table of flags', () => {
  test('says something of every flag, and every flag is one of a command', () => {
    const used = new Set([...COMMON, ...COMMANDS.flatMap((c) => c.options)]);
    for (const [name, { describe: text }] of Object.entries(OPTIONS)) {
      assert.ok((text ?? '').length > 10, name);
      assert.ok(used.has(name as OptionName), `--${name} belongs to no command`);
    }
  });

  test('a command describes flags that it has, and its words are not those of the table', () => {
    for (const { usage, options, describes } of COMMANDS)
      for (const [name, text] of Object.entries(describes ?? {})) {
        assert.ok(options.includes(name as OptionName), `${usage}: ${name}`);
        assert.notEqual(text, OPTIONS[name as OptionName].describe, `${usage}: ${name}`);
      }
  });

  test('no command has a flag twice, and none begins with "no-", which other tools read as its opposite', () => {
    for (const { usage, options } of COMMANDS) assert.equal(new Set(options).size, options.length, usage);
    for (const name of Object.keys(OPTIONS)) assert.doesNotMatch(name, /^no-/);
  });
});

describe('--listen', () => {
  test('host:port, all addresses, IPv6', () => {
    assert.deepEqual(parseListen('127.0.0.1:5000'), { host: '127.0.0.1', port: 5000 });
    assert.deepEqual(parseListen(':5000'), { host: '::', port: 5000 });
    assert.deepEqual(parseListen('[::1]:0'), { host: '::1', port: 0 });
    assert.deepEqual(parseListen('node-1:80'), { host: 'node-1', port: 80 });
  });

  test('anything else is a usage error', () => {
    for (const text of ['5000', 'node-1', '::1:5000', '[::1]', 'a:b', 'a:70000', 'http://a:1', ''])
      throwsWith(() => parseListen(text), 'E_USAGE', /--listen/);
  });
});
