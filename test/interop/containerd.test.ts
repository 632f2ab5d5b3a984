/** The end of the journey: a real containerd pulls through the mirrors that we render, with no origin left to ask. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createCertificateAuthority } from '../support/certificates.ts';
import { dockerConfig, sha256Of } from '../support/real/clients.ts';
import { resolveByCtr, startContainerd, writeCertsDir } from '../support/real/containerd.ts';
import { type EqualPaths, makeEqualPaths } from '../support/real/equal-paths.ts';
import { type Outside, startOutside } from '../support/real/outside.ts';
import { must } from '../support/real/programs.ts';
import { type Registry, startRegistry } from '../support/real/registries.ts';
import { createScope, createSuiteScope } from '../support/real/scope.ts';
import { tool } from '../support/tools.ts';

const NODES = { user: 'node', password: 'pa"ss \\ wörd: 1' };
const KINDS = ['plain HTTP', 'TLS of an own CA', 'TLS and a login'] as const;
type Kind = (typeof KINDS)[number];

const scope = createSuiteScope();
let made: EqualPaths;
let outside: Outside;
let empty: Registry;
let caFile: string;
const targets = new Map<Kind, Registry>();
const target = (kind: Kind): Registry => targets.get(kind) as Registry;

/** Flags that say how the nodes reach a target. */
function nodeFlags(kind: Kind): string[] {
  const { host, tls } = target(kind);
  if (!tls) return ['--endpoint', `http://${host}`, '--plain-http', host];
  return [
    '--endpoint',
    `https://${host}`,
    '--node-ca-file',
    caFile,
    ...(kind === 'TLS and a login' ? ['--node-auth', 'nodes'] : []),
  ];
}

const mirrors = (...args: string[]) => made.bundle(['mirrors', made.path, '--trust', made.trust, ...args]);

/** The certs.d that k3s would derive from the registries.yaml that we render. */
async function certsDirFor(kind: Kind): Promise<string> {
  const { code, stderr, json } = await mirrors(...nodeFlags(kind), '--hosts-toml', '--json');
  assert.equal(code, 0, stderr);
  const folder = join(made.directory, 'certs', kind.replaceAll(' ', '-'));
  return writeCertsDir(folder, json().hostsToml as Record<string, string>);
}

before(async () => {
  made = await makeEqualPaths(scope);
  outside = await startOutside(scope);
  const ca = await createCertificateAuthority();
  caFile = join(made.directory, 'ca.pem');
  await writeFile(caFile, ca.cert);
  await writeFile(join(made.directory, 'nodes'), `${NODES.user}:${NODES.password}\n`);
  targets.set('plain HTTP', await startRegistry(scope, { kind: 'distribution 2.8' }));
  targets.set('TLS of an own CA', await startRegistry(scope, { kind: 'distribution 2.8', tls: true, ca }));
  targets.set(
    'TLS and a login',
    await startRegistry(scope, { kind: 'distribution 2.8', tls: true, ca, auth: 'basic', login: NODES }),
  );
  empty = await startRegistry(scope, { kind: 'distribution 2.8' });
  await writeFile(join(made.directory, 'auth.json'), dockerConfig([{ host: target('TLS and a login').host, login: NODES }]));
  const loaded = await made.bundle([
    ...['load', made.path, '--trust', made.trust, '--state', 'state', '--skip-mirrors', '--authfile', 'auth.json'],
    ...['--plain-http', target('plain HTTP').host, '--ca-file', caFile],
    ...[...targets.values()].flatMap(({ host }) => ['--registry', host]),
  ]);
  assert.equal(loaded.code, 0, loaded.stderr);
});
after(() => scope.end());

/** Names of the images as a pod writes them: by tag and by digest. The artifact is nothing that a node runs. */
function named(by: 'tag' | 'digest'): { reference: string; digest: string }[] {
  return made.contents
    .filter(({ ref }) => !ref.endsWith(':sbom') && (by === 'digest' || !ref.includes('@')))
    .map(({ ref, targetDigest }) => ({
      reference: by === 'tag' ? ref : `${ref.replace(/[:@][^/]*$/, '')}@${targetDigest}`,
      digest: targetDigest,
    }));
}

for (const kind of KINDS) {
  describe(`containerd behind ${kind}`, () => {
    for (const by of ['tag', 'digest'] as const) {
      for (const way of ['ctr', 'the CRI'] as const) {
        it(`pulls every image by ${by} through ${way}, from each origin its own, and asks nobody outside`, async (t) => {
          const own = createScope(t);
          outside.forget();
          const { host, login } = target(kind);
          const containerd = await startContainerd(own, {
            certsDir: await certsDirFor(kind),
            env: outside.env,
            ...(login === undefined ? {} : { logins: { [host]: login } }),
          });
          const user = login === undefined ? [] : ['--user', `${login.user}:${login.password}`];
          const images = named(by);
          assert.ok(images.length >= 6);
          for (const { reference, digest } of images) {
            if (way === 'ctr') {
              const { code, stderr } = await containerd.pull(reference, ...user);
              assert.equal(code, 0, stderr);
            } else assert.deepEqual(await containerd.criPull(reference), { status: 0, message: '' });
            assert.equal(await containerd.digestOf(way === 'ctr' ? 'interop' : 'k8s.io', reference), digest, reference);
          }
          assert.equal(new Set(images.map(({ digest }) => digest)).size, images.length, 'equal paths are different images');
          assert.deepEqual(outside.asked(), []);
        });
      }
    }

    it('pulls by names that begin with the target itself, its aliases among them', async (t) => {
      const own = createScope(t);
      const { host, login } = target(kind);
      const containerd = await startContainerd(own, {
        certsDir: await certsDirFor(kind),
        ...(login === undefined ? {} : { logins: { [host]: login } }),
      });
      const names = {
        [`${host}/docker.io/library/tool:1.0`]: made.targetOf('docker.io/library/tool:1.0'),
        [`${host}/ghcr.io/library/tool:1.0`]: made.targetOf('ghcr.io/library/tool:1.0'),
        [`${host}/tools/tool:1.0`]: made.targetOf('docker.io/library/tool:1.0'),
      };
      for (const [name, digest] of Object.entries(names)) {
        assert.deepEqual(await containerd.criPull(name), { status: 0, message: '' });
        assert.equal(await containerd.digestOf('k8s.io', name), digest);
      }
    });

    it('is proven by "mirrors --check" through ctr, for each origin by tag and by digest, before anything is written', async () => {
      const file = join(made.directory, `${kind}.yaml`);
      const { code, stderr } = await mirrors(
        ...[...nodeFlags(kind), '--state', 'state', '--registries-yaml', file, '--check', '--ctr', tool('ctr')],
      );
      assert.equal(code, 0, stderr);
      assert.equal(stderr.match(/^ {2}resolves docker\.io\/library\/\S+ by (tag|digest)$/gm)?.length, 2, stderr);
      assert.equal(stderr.match(/^ {2}resolves /gm)?.length, 6, stderr);
      assert.match(await readFile(file, 'utf8'), new RegExp(`https?://${target(kind).host}/v2/docker.io`));
    });
  });
}

describe('"mirrors --check" without ctr', () => {
  const check = (name: string, ...args: string[]) =>
    mirrors(...args, '--state', 'state', '--registries-yaml', join(made.directory, `${name}.yaml`), '--check');

  for (const kind of KINDS)
    it(`asks ${kind} by HEAD with what the nodes have: no flag for our own requests is needed`, async () => {
      const flags = nodeFlags(kind);
      const at = flags.indexOf('--plain-http');
      const { code, stderr } = await check(`head ${kind}`, ...(at === -1 ? flags : flags.slice(0, at)));
      assert.equal(code, 0, stderr);
      assert.equal(stderr.match(/^ {2}resolves /gm)?.length, 6, stderr);
    });

  it('takes any certificate where the nodes are told to', async () => {
    const { code, stderr } = await check(
      'skip',
      '--endpoint',
      `https://${target('TLS of an own CA').host}`,
      '--node-skip-verify',
    );
    assert.equal(code, 0, stderr);
  });

  it('fails where the nodes would: the login of who pushes is not theirs', async () => {
    const { host } = target('TLS and a login');
    const { code, stderr } = await made.bundle(
      [
        ...['mirrors', made.path, '--trust', made.trust, '--endpoint', `https://${host}`, '--node-ca-file', caFile],
        ...['--state', 'state', '--registries-yaml', 'never.yaml', '--check'],
      ],
      { REGISTRY_AUTH_FILE: join(made.directory, 'auth.json') },
    );
    assert.equal(code, 4, stderr);
    assert.match(stderr, /E_MIRROR_CHECK/);
  });
});

describe('a target with a path of its own', () => {
  it('is where containerd looks, without a word about endpoints', async () => {
    const { host } = target('plain HTTP');
    const at = ['--registry', `${host}/site/airgap`, '--plain-http', host, '--state', 'state'];
    const yaml = join(made.directory, 'path.yaml');
    const loaded = await made.bundle(['load', made.path, '--trust', made.trust, ...at, '--registries-yaml', yaml, '--check']);
    assert.equal(loaded.code, 0, loaded.stderr);
    const { json } = await mirrors(...at, '--hosts-toml', '--json');
    const certs = await writeCertsDir(join(made.directory, 'certs/path'), json().hostsToml as Record<string, string>);
    for (const ref of ['docker.io/library/tool:1.0', 'ghcr.io/library/tool:1.0']) {
      const { code, stdout, stderr } = await resolveByCtr(certs, ref, outside.env);
      assert.equal(code, 0, stderr);
      assert.equal(sha256Of(stdout), made.targetOf(ref));
    }
  });
});

describe('"mirrors --check" through ctr refuses with exit code 4 and writes nothing', () => {
  const check = async (...args: string[]) => {
    const file = join(made.directory, `refused-${Math.random()}.yaml`);
    const ran = await mirrors(
      ...[...args, '--state', 'state', '--registries-yaml', file, '--check', '--ctr', tool('ctr'), '--json'],
    );
    await assert.rejects(readFile(file), { code: 'ENOENT' });
    return ran;
  };
  const refuses = async (reason: RegExp, ...args: string[]): Promise<void> => {
    const { code, stdout, stderr } = await check(...args);
    assert.equal(code, 4, stderr);
    assert.match(stdout, /"E_MIRROR_CHECK"/);
    assert.match(stderr, reason);
  };

  it('when the target does not have the images', () =>
    refuses(
      /FAILS +docker\.io\/library\/\S+ by tag .*not found/,
      '--endpoint',
      `http://${empty.host}`,
      '--plain-http',
      empty.host,
    ));

  it('when the origin is not where the images are', () =>
    refuses(/not found/, '--endpoint', `http://${target('plain HTTP').host}/v2/elsewhere`));

  it('when plain HTTP is spoken where https is promised', () =>
    refuses(/HTTP response to HTTPS client/, '--endpoint', `https://${target('plain HTTP').host}`));

  it('when the nodes do not know the CA', () =>
    refuses(/unknown authority/, '--endpoint', `https://${target('TLS of an own CA').host}`));

  it('when the nodes have no login, or a wrong one', async () => {
    const flags = ['--endpoint', `https://${target('TLS and a login').host}`, '--node-ca-file', caFile];
    await refuses(/authorization failed|401/i, ...flags);
    await writeFile(join(made.directory, 'wrong'), 'node:nothing\n');
    await refuses(/authorization failed|401/i, ...flags, '--node-auth', 'wrong');
  });

  it('when a tag means something else at the target', async (t) => {
    const own = createScope(t);
    const other = await startRegistry(own, { kind: 'distribution 2.8' });
    const flags = ['--plain-http', other.host, '--trust', made.trust];
    const loaded = await made.bundle([
      'load',
      made.path,
      ...flags,
      '--registry',
      other.host,
      '--state',
      'other',
      '--skip-mirrors',
    ]);
    assert.equal(loaded.code, 0, loaded.stderr);
    const at = `${other.host}/docker.io/library/schema2:1`; // the first of its origin: one of each is asked for
    await must(tool('crane'), ['copy', `${other.host}/ghcr.io/library/tool:1.0`, at], { env: { HOME: made.directory } });
    await refuses(/got sha256:\S+, want sha256:/, '--endpoint', `http://${other.host}`);
  });
});
