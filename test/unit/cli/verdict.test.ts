import assert from 'node:assert/strict';
import { test } from 'node:test';
import { verdictText } from '../../../src/cli/render/verdict.ts';
import { digestOf } from '../../../src/core/digest.ts';
import type { VerifiedVerdict } from '../../../src/upstream/verdict.ts';

const verified = (by: VerifiedVerdict['by']): VerifiedVerdict => ({
  result: 'verified',
  format: 'bundle',
  signature: digestOf(Buffer.from('x')),
  by,
  asked: { keys: ['0'.repeat(64)] },
});

test('a verdict in words: the key by its first figures, an identity whole, what was not verified as such, nothing as a dash', () => {
  assert.equal(verdictText(verified({ key: `0123456789abcdef${'0'.repeat(48)}` })), 'verified by key 0123456789ab');
  assert.equal(verdictText(verified({ issuer: 'https://a.test', identity: 'dev@a.test' })), 'verified by dev@a.test');
  assert.equal(verdictText({ result: 'unsigned-allowed' }), 'unsigned allowed');
  assert.equal(verdictText({ result: 'not-asked' }), 'not asked');
  assert.equal(verdictText(undefined), '-');
});

test('an identity out of a statement that nobody checked can not steer the terminal, nor fill it', () => {
  const text = verdictText(verified({ issuer: 'https://a.test', identity: `\u001b[31m${'x'.repeat(5000)}` }));
  assert.ok(!text.includes('\u001b'));
  assert.ok(text.length < 300);
});
