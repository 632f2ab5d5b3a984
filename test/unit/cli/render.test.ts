import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Context } from '../../../src/cli/context.ts';
import type { Args } from '../../../src/cli/options.ts';
import { formatBytes, table } from '../../../src/cli/render/bytes.ts';
import { reportFailure } from '../../../src/cli/render/failure.ts';
import { barLine, createProgress, progressMode } from '../../../src/cli/render/progress.ts';
import { BundleError, type ErrorCode } from '../../../src/core/errors.ts';
import { nodeFileSystem } from '../../../src/files/node-file-system.ts';

function screen(more: Partial<Context> = {}) {
  const said = { out: '', err: '' };
  const context: Context = {
    fs: nodeFileSystem,
    env: {},
    stdout: (text) => {
      said.out += text;
    },
    stderr: (text) => {
      said.err += text;
    },
    stderrIsTerminal: false,
    terminalWidth: () => 80,
    now: () => 0,
    signal: new AbortController().signal,
    ...more,
  };
  return { said, context };
}

describe('bytes', () => {
  test('exact below 1 KiB, then one digit behind the point below 10', () => {
    for (const [bytes, text] of [
      [0, '0 B'],
      [1023, '1023 B'],
      [1024, '1.0 KiB'],
      [10_240, '10 KiB'],
      [1_572_864, '1.5 MiB'],
      [1024 ** 3, '1.0 GiB'],
      [1024 ** 5, '1024 TiB'],
    ] as const)
      assert.equal(formatBytes(bytes), text);
  });

  test('a table has columns of one width and no blanks at the end', () => {
    assert.equal(
      table([
        ['A', 'B'],
        ['long', 'x'],
      ]),
      'A     B\nlong  x\n',
    );
  });
});

describe('the bar', () => {
  test('shows share, bytes, rate and time left', () => {
    assert.equal(barLine(512, 1024, 1000, 80), `[${'#'.repeat(18)}${'.'.repeat(17)}] 50%  512 B of 1.0 KiB  512 B/s  1 s left`);
  });

  test('fits into every terminal, however narrow, and never shows more than all', () => {
    for (const width of [10, 20, 40, 79, 80, 120, 300])
      for (const [done, total] of [
        [0, 10],
        [10, 10],
        [30, 10],
        [3e12, 5e12],
      ] as const) {
        const line = barLine(done, total, 12_345, width);
        assert.ok(line.length <= Math.max(10, width - 1), `${line.length} columns of ${width}`);
        assert.doesNotMatch(line, /NaN|Infinity|1[0-9][1-9]%/);
      }
  });

  test('nothing yet is no division by zero', () => {
    assert.match(barLine(0, 100, 0, 80), / 0% {2}0 B of 100 B {2}0 B\/s {2}0 s left$/);
  });
});

describe('progress', () => {
  test('bars need a terminal that can do them, and nobody who says no', () => {
    const mode = (args: Args, more: Partial<Context>) => progressMode(args, screen(more).context);
    assert.equal(mode({}, { stderrIsTerminal: true }), 'bars');
    assert.equal(mode({}, {}), 'plain');
    assert.equal(mode({}, { stderrIsTerminal: true, env: { NO_COLOR: '1' } }), 'plain');
    assert.equal(
      mode({}, { stderrIsTerminal: true, env: { NO_COLOR: '' } }),
      'bars',
      'no-color.org: an empty one does not count',
    );
    assert.equal(mode({}, { stderrIsTerminal: true, env: { TERM: 'dumb' } }), 'plain');
    assert.equal(mode({ progress: 'bars' }, {}), 'bars');
    assert.equal(mode({ progress: 'json', quiet: true }, {}), 'none');
  });

  test('a bar makes way for every line and is gone at the end', () => {
    let now = 0;
    const { said, context } = screen({ now: () => ++now * 1000 });
    const progress = createProgress({ progress: 'bars' }, context);
    progress.report({ type: 'phase', phase: 'fetch' });
    progress.report({ type: 'total', bytes: 100, items: 1 });
    progress.report({ type: 'bytes', count: 50 });
    progress.report({ type: 'item', name: 'docker.io/a/b:1', outcome: 'done', bytes: 100 });
    progress.report({ type: 'bytes', count: 50 });
    progress.end();
    assert.match(said.err, /^fetching\n/);
    assert.match(said.err, /50%.*\r\x1b\[2K {2}done {6}docker\.io\/a\/b:1 {2}100 B\n/s);
    assert.ok(said.err.endsWith('\r\x1b[2K'));
  });
});

describe('failures', () => {
  const cases: readonly (readonly [ErrorCode, number])[] = [
    ['E_UNEXPECTED', 1],
    ['E_USAGE', 2],
    ['E_MANIFEST', 3],
    ['E_LOCK', 3],
    ['E_TAG_DIGEST', 3],
    ['E_MIRRORS_CONFLICT', 3],
    ['E_NETWORK', 4],
    ['E_AUTH', 4],
    ['E_DIGEST', 5],
    ['E_UNLISTED', 5],
    ['E_SIGNATURE', 6],
    ['E_ROLLBACK', 6],
    ['E_EXPIRED', 6],
    ['E_WRONG_NAME', 6],
    ['E_TAG_OWNED', 6],
    ['E_DISK_FULL', 7],
    ['E_LOCKED', 8],
    ['E_INCOMPLETE', 9],
  ];
  for (const [code, exitCode] of cases)
    test(`${code} is exit ${exitCode}, said with its hint`, () => {
      const { said, context } = screen();
      const error = new BundleError(code, 'what failed', { hint: 'what to do' });
      assert.equal(reportFailure(error, context, { json: false, verbose: false }), exitCode);
      assert.equal(said.err, `error: what failed\n  hint: what to do\n  ${code}, exit code ${exitCode}\n`);
      assert.equal(said.out, '');
    });

  test('as a document: code, message, hint, origin and detail', () => {
    const { said, context } = screen();
    const error = new BundleError('E_DIGEST', 'm', { hint: 'h', origin: 'bundle', detail: { digest: 'x' } });
    reportFailure(error, context, { json: true, verbose: false });
    assert.deepEqual(JSON.parse(said.out), {
      ok: false,
      error: { code: 'E_DIGEST', message: 'm', hint: 'h', origin: 'bundle', detail: { digest: 'x' } },
      exitCode: 5,
    });
  });

  test('a name out of a file can not steer the terminal; lines stay lines', () => {
    const { said, context } = screen();
    const error = new BundleError('E_LAYOUT', 'one \x1b[2Jtwo\nthree\r\u202e', { hint: 'do \x9b31m' });
    reportFailure(error, context, { json: false, verbose: false });
    assert.match(said.err, /^error: one \\u\{1b\}\[2Jtwo\nthree\\u\{d\}\\u\{202e\}\n {2}hint: do \\u\{9b\}31m\n/);
  });

  test('damage of a bundle always says what to do next', () => {
    const { said, context } = screen();
    reportFailure(new BundleError('E_SIZE', 'm', { origin: 'bundle' }), context, { json: false, verbose: false });
    assert.match(said.err, /hint: .*copy the bundle again/);
  });

  test('what is no error of ours is said to be a fault of the program; its stack only with -v', () => {
    const { said, context } = screen();
    const error = new TypeError('x is not a function', { cause: new Error('deeper') });
    assert.equal(reportFailure(error, context, { json: false, verbose: false }), 1);
    assert.match(said.err, /a fault of bundle itself/);
    assert.doesNotMatch(said.err, / at /);
    const loud = screen();
    reportFailure(error, loud.context, { json: false, verbose: true });
    assert.match(loud.said.err, /TypeError[\s\S]* at [\s\S]*caused by Error: deeper/);
  });

  test('whatever is thrown, a document comes out', () => {
    for (const thrown of ['text', undefined, null, 7, { a: 1 }]) {
      const { said, context } = screen();
      assert.equal(reportFailure(thrown, context, { json: true, verbose: true }), 1);
      assert.equal(JSON.parse(said.out).error.code, 'E_UNEXPECTED');
    }
  });
});
