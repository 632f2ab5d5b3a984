import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLoopback, parseListen } from '../../../src/cli/serve/listen-address.ts';
import { durationFlag, floorFlag } from '../../../src/cli/serve/quantities.ts';
import { throwsWith } from '../../support/assert-code.ts';

test('durations in the usual units, and 0 only where it means never', () => {
  const of = (text: string, options = {}) => durationFlag({ grace: text }, 'grace', options);
  for (const [text, ms] of [
    ['30s', 30_000],
    ['10m', 600_000],
    ['24h', 86_400_000],
    ['30d', 30 * 86_400_000],
    ['2w', 14 * 86_400_000],
  ] as const)
    assert.equal(of(text), ms);
  assert.equal(durationFlag({}, 'grace'), undefined);
  assert.equal(of('0', { zero: true }), 0);
  for (const text of ['0', '30', '-1s', '1.5h', '1h30m', ' 1s', '1S', '1y', '9999999s'])
    throwsWith(() => of(text), 'E_USAGE', /--grace/);
  throwsWith(() => of('25d', { mostMs: 24 * 86_400_000 }), 'E_USAGE', /longer than 24d/);
});

test('sizes as df writes them, or a share', () => {
  const of = (text: string) => floorFlag({ 'min-free': text }, 'min-free');
  assert.deepEqual(of('10GiB'), { bytes: 10 * 1024 ** 3 });
  assert.deepEqual(of('500m'), { bytes: 500 * 1024 ** 2 });
  assert.deepEqual(of('1TB'), { bytes: 1024 ** 4 });
  assert.deepEqual(of('0'), { bytes: 0 });
  assert.deepEqual(of('5%'), { percent: 5 });
  for (const text of ['', '91%', '-1', '1.5G', '1P', '5 %', '999999999999T', 'G'])
    throwsWith(() => of(text), 'E_USAGE', /--min-free/);
});

test('loopback is what only this machine reaches', () => {
  for (const at of ['127.0.0.1:1', '127.9.9.9:1', '[::1]:1', 'localhost:1']) assert.ok(isLoopback(parseListen(at)), at);
  for (const at of [':1', '0.0.0.0:1', '[::]:1', '192.0.2.1:1', 'node-1:1', '127.example:1'])
    assert.ok(!isLoopback(parseListen(at)), at);
});
