/**
 * The conformance client of the tests against registries whose outcome with the real suite is known: so many passes, failures and skips, and for
 * those reasons. A client that is too lenient or too strict shows here.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { runSuite, type SuiteOptions } from '../support/conformance/run.ts';
import { summaryOf, type Verdicts } from '../support/conformance/verdicts.ts';
import { type Kind, startRegistry } from '../support/real/registries.ts';
import { createScope } from '../support/real/scope.ts';

type Known = Readonly<{ kind: Kind; version: SuiteOptions['version']; summary: string }>;

/** Deletes enabled, on the file system, an empty directory each. */
const KNOWN: readonly Known[] = [
  { kind: 'olareg', version: '1.1', summary: '854/0/2' },
  { kind: 'olareg', version: 'dev', summary: '980/0/2' },
  { kind: 'distribution 2.8', version: '1.1', summary: '703/99/44' },
];

const named = (verdicts: Verdicts, verdict: 'fail' | 'skip'): string[] => verdicts.of(verdict).map(({ name }) => name);

describe('the conformance client counts as the real suite does', () => {
  for (const { kind, version, summary } of KNOWN) {
    it(`${kind}, ${version}: ${summary}`, async (t) => {
      const registry = await startRegistry(createScope(t), { kind, deletes: true });
      const verdicts = await runSuite({ base: `http://${registry.host}`, version });
      assert.equal(summaryOf(verdicts), summary);
      if (kind === 'olareg') {
        assert.deepEqual(named(verdicts, 'skip'), ['sha256 blobs/mount anonymous', 'sha512 blobs/mount anonymous']);
        return;
      }
      const failed = named(verdicts, 'fail');
      for (const name of [
        'empty/referrers',
        'sha256 blobs/chunked out-of-order',
        'sha256 blobs/range 500-0',
        'artifacts-with-subject/tag list',
        'non-distributable-layers/push manifest',
        'sha512/push manifest',
        'invalid-digest-format/get',
      ])
        assert.ok(failed.includes(name), `${name} passes`);
    });
  }
});
