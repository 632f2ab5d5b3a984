/**
 * What the OCI distribution conformance suite asks of a registry that can be written to, over each kind of content, plain and with TLS: every
 * check passes, none is skipped, and as many are made as the suite makes of a registry that does everything.
 */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { openDiskContent } from '../../src/serve/disk-content.ts';
import { createMemoryContent } from '../../src/serve/memory-content.ts';
import { startRegistry } from '../../src/serve/server.ts';
import { createCertificateAuthority } from '../support/certificates.ts';
import { runSuite, type SuiteOptions } from '../support/conformance/run.ts';
import { faultsOf, summaryOf } from '../support/conformance/verdicts.ts';
import { tempDir } from '../support/temp-dir.ts';

/** What the suite counts for a registry that passes everything. */
const ALL = { '1.1': '860/0/0', dev: '1032/0/0' } as const;

/** `dev` with the sparse data too. */
async function assertConforms(t: TestContext, suite: SuiteOptions): Promise<void> {
  const verdicts = await runSuite({ ...suite, sparse: suite.version === 'dev' });
  t.diagnostic(`${suite.version}: ${summaryOf(verdicts)} of ${verdicts.checks.length} checks`);
  assert.deepEqual(faultsOf(verdicts), []);
  assert.equal(summaryOf(verdicts), ALL[suite.version]);
}

describe('conformance', () => {
  test('content in memory, plain', async (t) => {
    const registry = await startRegistry({ content: createMemoryContent(), acceptSparse: true });
    t.after(() => registry.close(0));
    for (const version of ['1.1', 'dev'] as const) await assertConforms(t, { base: registry.url, version });
  });

  test('over TLS, with repositories that are called like parts of the API, one in the other', async (t) => {
    const ca = await createCertificateAuthority();
    const registry = await startRegistry({ content: createMemoryContent(), acceptSparse: true, tls: await ca.server() });
    t.after(() => registry.close(0));
    const repositories = ['blobs/uploads', 'blobs/uploads/manifests'] as const;
    await assertConforms(t, { base: registry.url, version: 'dev', ca: ca.cert, repositories });
  });

  test('content on disk, also after a restart on what an earlier run left', async (t) => {
    const root = await tempDir(t);
    for (let start = 0; start < 2; start++) {
      const content = await openDiskContent(nodeFileSystem, root);
      const registry = await startRegistry({ content, acceptSparse: true });
      try {
        await assertConforms(t, { base: registry.url, version: 'dev' });
      } finally {
        await registry.close(0);
        await content.close();
      }
    }
  });

  test('with a login: Basic misses nothing; a bearer token, which names its repositories, is good for no mount from anywhere', async (t) => {
    const login = { user: 'u', password: 'p' };
    for (const kind of ['basic', 'bearer'] as const) {
      const registry = await startRegistry({ content: createMemoryContent(), auth: { kind, users: { u: 'p' } } });
      t.after(() => registry.close(0));
      const verdicts = await runSuite({ base: registry.url, version: '1.1', login });
      t.diagnostic(`${kind}: ${summaryOf(verdicts)}`);
      const anonymous = kind === 'basic' ? [] : ['sha256 blobs/mount anonymous', 'sha512 blobs/mount anonymous'];
      assert.deepEqual(
        verdicts.checks.filter(({ verdict }) => verdict !== 'pass').map(({ name, verdict }) => `${verdict} ${name}`),
        anonymous.map((name) => `skip ${name}`),
      );
    }
  });

  test('a registry that refuses sparse manifests and has no referrers API fails just those checks', async (t) => {
    const registry = await startRegistry({ content: createMemoryContent(), referrersApi: false });
    t.after(() => registry.close(0));
    const verdicts = await runSuite({ base: registry.url, version: '1.1', sparse: true });
    assert.deepEqual(verdicts.of('skip'), []);
    const failed = new Set(verdicts.of('fail').map(({ name }) => name.replace(/\/.*/, '')));
    assert.deepEqual([...failed], ['empty', 'artifacts-with-subject', 'index-with-subject', 'missing-subject', 'sparse']);
  });
});
