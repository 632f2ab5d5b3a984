import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { checkMirrors } from '../../../src/k3s/check.ts';
import { desiredMirrors, type MirrorWishes } from '../../../src/k3s/desired-mirrors.ts';
import { createNodeHead } from '../../../src/k3s/node-head.ts';
import { createCertificateAuthority } from '../../support/certificates.ts';
import { testRegistry } from '../../support/command-journey.ts';
import { randomImage } from '../../support/random-image.ts';
import { tempDir } from '../../support/temp-dir.ts';

const LOGIN = { username: 'node', password: 'se:cret' };

/** A registry with a login and TLS, and one without either, that hold docker.io/library/tool:1.0. */
async function targets(t: TestContext) {
  const ca = await createCertificateAuthority();
  const caFile = join(await tempDir(t), 'ca.pem');
  await writeFile(caFile, ca.cert);
  const image = await randomImage();
  const plain = await testRegistry(t);
  const guarded = await testRegistry(t, {
    tls: await ca.server(),
    auth: { kind: 'basic', users: { [LOGIN.username]: LOGIN.password } },
  });
  for (const registry of [plain, guarded]) await registry.put('docker.io/library/tool', '1.0', image);
  const check = async (wishes: Partial<MirrorWishes>) => {
    const node = createNodeHead({});
    t.after(() => node.close());
    return checkMirrors({
      registries: desiredMirrors({ origins: ['docker.io'], endpoints: [], directNames: false, ...wishes }),
      references: [{ origin: 'docker.io', repository: 'library/tool', tag: '1.0', digest: image.digest }],
      asker: { kind: 'head', head: node.head },
    });
  };
  const faults = async (wishes: Partial<MirrorWishes>) => (await check(wishes)).map(({ fault }) => fault);
  return { plain, guarded, caFile, faults };
}

describe('asking as a node would', () => {
  it('speaks the scheme of the endpoint, whatever is said of the registry elsewhere', async (t) => {
    const { plain, guarded, faults } = await targets(t);
    assert.deepEqual(await faults({ endpoints: [`http://${plain.host}`] }), [undefined, undefined]);
    assert.deepEqual(await faults({ endpoints: [`https://${plain.host}`] }), ['unreachable', 'unreachable']);
    assert.deepEqual(await faults({ endpoints: [`https://${guarded.host}`] }), ['unreachable', 'unreachable']);
  });

  it("has the nodes' CA and login, and no other", async (t) => {
    const { guarded, caFile, faults } = await targets(t);
    const at = { endpoints: [`https://${guarded.host}`], tls: { caFile } };
    assert.deepEqual(await faults({ ...at, nodeAuth: LOGIN }), [undefined, undefined]);
    assert.deepEqual(await faults({ ...at, nodeAuth: { ...LOGIN, password: 'wrong' } }), ['not allowed', 'not allowed']);
    assert.deepEqual(await faults(at), ['not allowed', 'not allowed']);
  });

  it('takes any certificate only where the nodes do', async (t) => {
    const { guarded, faults } = await targets(t);
    const at = { endpoints: [`https://${guarded.host}`], nodeAuth: LOGIN };
    assert.deepEqual(await faults({ ...at, tls: { insecureSkipVerify: true } }), [undefined, undefined]);
    assert.deepEqual(await faults(at), ['unreachable', 'unreachable']);
  });

  it('says that a client certificate can be tried with ctr only', async (t) => {
    const { guarded, caFile, faults } = await targets(t);
    const tls = { caFile, certFile: '/node/tls.crt', keyFile: '/node/tls.key' };
    assert.deepEqual(await faults({ endpoints: [`https://${guarded.host}`], tls }), ['unreachable', 'unreachable']);
  });

  it('finds nothing below a path that holds something else', async (t) => {
    const { plain, faults } = await targets(t);
    assert.deepEqual(await faults({ endpoints: [`http://${plain.host}/v2/elsewhere`] }), [
      'not in the mirror',
      'not in the mirror',
    ]);
  });
});
