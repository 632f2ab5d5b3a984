/** Logging in: with what real `skopeo login` and `oras login` leave, and what is said when that is refused. */

import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createCertificateAuthority } from '../support/certificates.ts';
import { type Bundle, createBundle, writeManifest } from '../support/real/bundle.ts';
import { createClients, dockerConfig } from '../support/real/clients.ts';
import { succeed } from '../support/real/journey.ts';
import { pushPlainImage } from '../support/real/plain-image.ts';
import { type Environment, must } from '../support/real/programs.ts';
import { type Login, type Registry, startRegistry } from '../support/real/registries.ts';
import { createSuiteScope } from '../support/real/scope.ts';
import type { TokenService } from '../support/real/token-service.ts';
import { tempDir } from '../support/temp-dir.ts';
import { tool } from '../support/tools.ts';

const IMAGE = { name: 'team/tools:1', layerBytes: [50_000] };

describe('logging in to a registry', () => {
  const suite = createSuiteScope();
  let directory = '';
  let caFile = '';
  let basic: Registry;
  let bearer: Registry;
  /** Plain HTTP, its token service on another port of the same host. */
  let apart: Registry;
  let runs = 0;

  before(async () => {
    directory = await tempDir(suite, 'bundle-login-');
    const ca = await createCertificateAuthority();
    caFile = join(directory, 'ca.crt');
    await writeFile(caFile, ca.cert);
    [basic, bearer, apart] = await Promise.all([
      startRegistry(suite, { kind: 'distribution 3', auth: 'basic', tls: true, ca }),
      startRegistry(suite, { kind: 'distribution 2.8', auth: 'token', tls: true, ca }),
      startRegistry(suite, { kind: 'distribution 3', auth: 'token', ca }),
    ]);
    const clients = await createClients({ directory: join(directory, 'maker'), caFile, registries: [basic, bearer, apart] });
    await Promise.all(
      [basic, bearer, apart].map((registry, i) => pushPlainImage(registry, clients, join(directory, `image-${i}`), IMAGE)),
    );
  });
  after(() => suite.end());

  type Run = Readonly<{ home: string; lock: (flags?: readonly string[], env?: Environment) => ReturnType<Bundle> }>;

  async function project(registry: Registry): Promise<Run> {
    const home = join(directory, `run-${runs++}`);
    await writeManifest(home, 'login', [`${registry.host}/${IMAGE.name}`]);
    const bundle = await createBundle(home);
    const own = registry.tls ? ['--ca-file', caFile] : ['--plain-http', registry.host];
    return { home, lock: (flags = [], env = {}) => bundle(['lock', '--json', ...own, ...flags], env) };
  }

  const loginOf = ({ login }: Registry): Login => login as Login;
  const skopeoLogin = (registry: Registry, env: Environment, ...flags: string[]): Promise<Buffer> =>
    must(tool('skopeo'), ['login', '-u', loginOf(registry).user, '--password-stdin', ...flags, registry.host], {
      env: { SSL_CERT_FILE: caFile, ...env },
      input: loginOf(registry).password,
    });
  const orasLogin = (registry: Registry, env: Environment, ...flags: string[]): Promise<Buffer> =>
    must(
      tool('oras'),
      ['login', '--plain-http=false', '-u', loginOf(registry).user, '--password-stdin', ...flags, registry.host],
      {
        env: { SSL_CERT_FILE: caFile, ...env },
        input: loginOf(registry).password,
      },
    );

  for (const [what, registryOf] of [
    ['Basic', () => basic],
    ['bearer tokens', () => bearer],
  ] as const) {
    describe(`that wants ${what}`, () => {
      it('finds what skopeo login leaves where podman keeps it ($XDG_RUNTIME_DIR)', async () => {
        const { home, lock } = await project(registryOf());
        const env = { HOME: home, XDG_RUNTIME_DIR: join(home, 'run') };
        await mkdir(env.XDG_RUNTIME_DIR);
        await skopeoLogin(registryOf(), env);
        await succeed(lock([], env));
      });

      it('finds what oras login leaves where docker keeps it (~/.docker and $DOCKER_CONFIG)', async () => {
        const { home, lock } = await project(registryOf());
        await orasLogin(registryOf(), { HOME: home });
        await succeed(lock([], { HOME: home }));
        const other = join(home, 'elsewhere');
        await orasLogin(registryOf(), { HOME: home, DOCKER_CONFIG: other });
        await succeed((await project(registryOf())).lock([], { DOCKER_CONFIG: other }));
      });

      it('finds it in the file that REGISTRY_AUTH_FILE or --authfile names', async () => {
        const { home, lock } = await project(registryOf());
        const file = join(home, 'own.json');
        await skopeoLogin(registryOf(), { HOME: home, XDG_RUNTIME_DIR: home }, '--authfile', file);
        await succeed(lock([], { REGISTRY_AUTH_FILE: file }));
        await succeed((await project(registryOf())).lock(['--authfile', file]));
      });

      it('ends with 4 when the password is wrong, and says where that came from but not what it was', async () => {
        const { home, lock } = await project(registryOf());
        const file = join(home, 'wrong.json');
        const wrong = { user: 'carrier', password: 'opensesame' };
        await writeFile(file, dockerConfig([{ host: registryOf().host, login: wrong }]));
        const { code, stderr, stdout } = await lock(['--authfile', file]);
        assert.equal(code, 4, stderr);
        assert.ok(stderr.includes(file), stderr);
        assert.ok(!`${stderr}${stdout}`.includes('opensesame'));
        assert.ok(!`${stderr}${stdout}`.includes(Buffer.from('carrier:opensesame').toString('base64')));
      });

      it('ends with 4 without any login, and says how to get one', async () => {
        const { code, stderr } = await (await project(registryOf())).lock();
        assert.equal(code, 4, stderr);
        assert.match(stderr, /login|log in/);
      });

      it('keeps the login of another registry to itself', async () => {
        const { home, lock } = await project(registryOf());
        const file = join(home, 'other.json');
        const { host } = registryOf();
        const others = [host.replace(/:\d+$/, ''), `${host}0`, `x${host}`, `other.${host}`];
        await writeFile(file, dockerConfig(others.map((other) => ({ host: other, login: registryOf().login }))));
        const asked = registryOf().tokens?.requests.length ?? 0;
        assert.equal((await lock(['--authfile', file])).code, 4);
        for (const request of registryOf().tokens?.requests.slice(asked) ?? []) assert.equal(request.user, undefined);
      });
    });
  }

  it('sends no password to a token service of plain HTTP on another port unless it is named', async () => {
    const { home, lock } = await project(apart);
    const file = join(home, 'auth.json');
    await writeFile(file, dockerConfig([apart]));
    const service = apart.tokens as TokenService;
    const asked = service.requests.length;
    const refused = await lock(['--authfile', file]);
    assert.equal(refused.code, 4, refused.stderr);
    assert.ok(refused.stderr.includes(`--allow-realm ${service.host}`), refused.stderr);
    assert.ok(service.requests.slice(asked).every((request) => request.user === undefined));
    await succeed(lock(['--authfile', file, '--allow-realm', service.host]));
    assert.equal(service.requests.at(-1)?.user, apart.login?.user);
  });

  it('trusts a CA that is installed in the system, and says how to name one that is not', async () => {
    const { home } = await project(basic);
    const bundle = await createBundle(home);
    const file = join(home, 'auth.json');
    await writeFile(file, dockerConfig([basic]));
    const args = ['lock', '--json', '--authfile', file];
    const refused = await bundle(args);
    assert.equal(refused.code, 4, refused.stderr);
    assert.match(refused.stderr, /--ca-file/);
    await succeed(bundle(args, { SSL_CERT_FILE: caFile }));
  });
});
