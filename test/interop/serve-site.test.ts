/** `bundle serve --writable` with `--tls self` and users, started as a process, to the clients that people have: log in, push, pull. */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { hash } from 'bcryptjs';
import { bundleProgram } from '../support/real/bundle.ts';
import { sha256Of } from '../support/real/clients.ts';
import { startContainerd, writeCertsDir } from '../support/real/containerd.ts';
import { type EqualPaths, makeEqualPaths } from '../support/real/equal-paths.ts';
import { type Outside, startOutside } from '../support/real/outside.ts';
import { type Environment, freePort, must, run, startServer } from '../support/real/programs.ts';
import { createScope, createSuiteScope } from '../support/real/scope.ts';
import { tool } from '../support/tools.ts';

const scope = createSuiteScope();
const PASSWORD = 's3cret:with colon';
let made: EqualPaths;
let outside: Outside;
type Site = { host: string; store: string };
/** Basic alone, and with pulls for everybody. */
const sites: Record<'closed' | 'open', Site> = { closed: { host: '', store: '' }, open: { host: '', store: '' } };

async function startSite(name: string, ...flags: string[]): Promise<Site> {
  const port = await freePort();
  const store = join(made.directory, name);
  const args = [
    'serve',
    '--writable',
    store,
    '--listen',
    `127.0.0.1:${port}`,
    '--tls',
    'self',
    '--htpasswd',
    'users',
    '--min-free',
    '0',
    ...flags,
  ];
  await startServer(scope, port, bundleProgram, args, { cwd: made.directory, env: { HOME: made.directory } });
  return { host: `127.0.0.1:${port}`, store };
}

before(async () => {
  made = await makeEqualPaths(scope);
  outside = await startOutside(scope);
  // As Apache's own program writes it, which is what people have.
  const { stdout } = await run(tool('htpasswd'), ['-nbB', 'release', PASSWORD]);
  await writeFile(join(made.directory, 'users'), `${stdout.toString().trim()}\nnode:${await hash('node', 4)}\n`);
  sites.closed = await startSite('closed', '--push', 'release=*');
  sites.open = await startSite('open', '--anonymous-pull', '--push', 'release=*');
});
after(() => scope.end());

it("OpenSSL's strict verification, Python 3.13's default, takes the certificates of --tls self, on disk and on the wire", async () => {
  const { host, store } = sites.open;
  const strict = ['-x509_strict', '-CAfile', join(store, 'tls', 'ca.crt'), '-verify_ip', '127.0.0.1'];
  await must(tool('openssl'), ['verify', ...strict, '-purpose', 'sslserver', join(store, 'tls', 'server.crt')]);
  await must(tool('openssl'), ['s_client', ...strict, '-verify_return_error', '-brief', '-connect', host]);
});

for (const kind of ['closed', 'open'] as const) {
  describe(`a registry that is ${kind}`, () => {
    let env: Environment;
    let home: string;
    before(async () => {
      home = join(made.directory, `home-${kind}`);
      await mkdir(home);
      const caFile = join(sites[kind].store, 'tls', 'ca.crt');
      env = {
        HOME: home,
        TMPDIR: home,
        XDG_RUNTIME_DIR: home,
        DOCKER_CONFIG: home,
        REGISTRY_AUTH_FILE: join(home, 'config.json'),
        SSL_CERT_FILE: caFile,
      };
    });
    const text = async (program: string, ...args: string[]): Promise<string> =>
      (await must(tool(program), args, { env, cwd: home })).toString('utf8').trim();
    const at = (path: string): string => `${sites[kind].host}/${path}`;
    const podman = (...args: string[]): Promise<string> =>
      text('podman', '--root', join(home, 'root'), '--runroot', join(home, 'run'), '--storage-driver', 'vfs', ...args);

    it('refuses a wrong password of each client', async () => {
      for (const [program, ...args] of [
        ['crane', 'auth', 'login', sites[kind].host, '-u', 'release', '-p', 'wrong'],
        ['skopeo', 'login', '-u', 'release', '-p', 'wrong', sites[kind].host],
        ['podman', 'login', '-u', 'release', '-p', 'wrong', sites[kind].host],
        ['oras', 'login', '-u', 'release', '-p', 'wrong', sites[kind].host],
      ] as const) {
        const { code } = await run(tool(program), args, { env, cwd: home });
        // crane writes the login down without asking anybody.
        if (program !== 'crane') assert.notEqual(code, 0, program);
      }
    });

    it('bundle load pushes a bundle with a login', async () => {
      const auth = { auths: { [sites[kind].host]: { auth: Buffer.from(`release:${PASSWORD}`).toString('base64') } } };
      await writeFile(join(home, 'config.json'), JSON.stringify(auth));
      const args = [
        'load',
        made.path,
        '--registry',
        sites[kind].host,
        '--ca-file',
        env.SSL_CERT_FILE as string,
        '--skip-mirrors',
      ];
      const loaded = await made.bundle([
        ...args,
        '--authfile',
        join(home, 'config.json'),
        '--trust',
        made.trust,
        '--state',
        `state-${kind}`,
      ]);
      assert.equal(loaded.code, 0, loaded.stderr);
    });

    it('crane, skopeo, podman and oras log in, push, and pull what they pushed', async () => {
      const { host } = sites[kind];
      const source = at('docker.io/library/tool:1.0');
      const digest = made.targetOf('docker.io/library/tool:1.0');
      await writeFile(join(home, 'config.json'), '{}');
      for (const program of ['crane auth login', 'skopeo login', 'oras login'])
        await text(...(program.split(' ') as [string, ...string[]]), host, '-u', 'release', '-p', PASSWORD);
      await podman('login', '-u', 'release', '-p', PASSWORD, host);
      await text('crane', 'copy', source, at('crane/tool:1'));
      await text('skopeo', 'copy', '-q', '--all', `docker://${source}`, `docker://${at('skopeo/tool:1')}`);
      await text('oras', 'cp', source, at('oras/tool:1'));
      await podman('pull', '-q', source);
      await podman('push', '-q', source, at('podman/tool:1'));
      for (const name of ['crane', 'skopeo', 'oras'])
        assert.equal(await text('crane', 'digest', at(`${name}/tool:1`)), digest, name);
      await podman('pull', '-q', at('podman/tool:1'));
      await writeFile(join(home, 'thing.bin'), 'a file of our own');
      await text('oras', 'push', at('files/thing:1'), 'thing.bin:text/plain');
      await mkdir(join(home, 'out'));
      await text('oras', 'pull', '-o', join(home, 'out'), at('files/thing:1'));
      assert.equal(await readFile(join(home, 'out', 'thing.bin'), 'utf8'), 'a file of our own');
      await text('crane', 'delete', at(`crane/tool@${digest}`));
      assert.notEqual((await run(tool('crane'), ['digest', at('crane/tool:1')], { env })).code, 0);
    });

    it('a user without the right pulls, and pushes nowhere', async () => {
      await writeFile(join(home, 'config.json'), '{}');
      await text('crane', 'auth', 'login', sites[kind].host, '-u', 'node', '-p', 'node');
      assert.equal(await text('crane', 'digest', at('skopeo/tool:1')), made.targetOf('docker.io/library/tool:1.0'));
      const { code, stderr } = await run(tool('crane'), ['tag', at('skopeo/tool:1'), 'latest'], { env });
      assert.notEqual(code, 0);
      assert.match(stderr, /DENIED|UNAUTHORIZED/);
    });

    it(kind === 'open' ? 'everybody pulls without a login, and nobody pushes' : 'nobody pulls without a login', async () => {
      await writeFile(join(home, 'config.json'), '{}');
      const ref = at('skopeo/tool:1');
      for (const [program, ...args] of [
        ['crane', 'digest', ref],
        ['skopeo', 'inspect', '--raw', `docker://${ref}`],
        ['podman', '--root', join(home, 'root2'), '--runroot', join(home, 'run2'), '--storage-driver', 'vfs', 'pull', '-q', ref],
        ['oras', 'manifest', 'fetch', ref],
      ] as const) {
        const { code, stderr, stdout } = await run(tool(program), args, { env });
        assert.equal(code === 0, kind === 'open', `${program}: ${stderr}`);
        if (program === 'skopeo' && kind === 'open') assert.equal(sha256Of(stdout), made.targetOf('docker.io/library/tool:1.0'));
      }
      assert.notEqual((await run(tool('crane'), ['tag', ref, 'mine'], { env })).code, 0);
    });

    it("containerd pulls by the origins' names, with the mirrors that bundle writes", async (t) => {
      const own = createScope(t);
      const caFile = env.SSL_CERT_FILE as string;
      await writeFile(join(home, 'node-auth'), 'node:node');
      const login = kind === 'open' ? [] : ['--node-auth', join(home, 'node-auth')];
      const flags = ['--endpoint', `https://${sites[kind].host}`, '--node-ca-file', caFile, ...login];
      const args = ['mirrors', made.path, ...flags, '--trust', made.trust, '--state', `state-${kind}`, '--hosts-toml', '--json'];
      const printed = await made.bundle(args);
      assert.equal(printed.code, 0, printed.stderr);
      const certsDir = await writeCertsDir(join(home, 'certs.d'), printed.json().hostsToml as Record<string, string>);
      const containerd = await startContainerd(own, { certsDir, env: outside.env });
      const ref = 'docker.io/library/tool:1.0';
      const { status } = await containerd.criPull(ref);
      // The login of nodes is not in hosts.toml but in containerd's own configuration, which is not written here.
      assert.equal(status === 0, kind === 'open');
      if (kind === 'open') assert.equal(await containerd.digestOf('k8s.io', ref), made.targetOf(ref));
    });

    it('speaks TLS 1.2 and 1.3 and nothing older', async () => {
      const url = `https://${sites[kind].host}/healthz`;
      for (const version of ['1.2', '1.3'])
        await must(tool('curl'), ['-sS', '--cacert', env.SSL_CERT_FILE as string, '--tls-max', version, url], { env });
      const old = await run(
        tool('curl'),
        ['-sS', '--cacert', env.SSL_CERT_FILE as string, '--tls-max', '1.1', '--ciphers', 'DEFAULT:@SECLEVEL=0', url],
        { env },
      );
      assert.notEqual(old.code, 0);
    });
  });
}
