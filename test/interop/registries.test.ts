/**
 * The journey between real registries: each of CNCF distribution 2.8 and 3 and olareg as origin and as target; open, with Basic and with bearer
 * tokens; plain and with TLS from a CA of our own. What is at the target is asked of skopeo, crane and oras.
 */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type CertificateAuthority, createCertificateAuthority } from '../support/certificates.ts';
import { createBundle } from '../support/real/bundle.ts';
import { type Clients, createClients, sha256Of } from '../support/real/clients.ts';
import { copyImages, makeImages, NAMES } from '../support/real/images.ts';
import { type Content, type Journey, type Loaded, load, prepareJourney, pullAndCarry, succeed } from '../support/real/journey.ts';
import { type Auth, type Kind, type Registry, type RegistryOptions, startRegistry } from '../support/real/registries.ts';
import { createScope, createSuiteScope } from '../support/real/scope.ts';
import { snapshot } from '../support/real/snapshot.ts';
import { tempDir } from '../support/temp-dir.ts';

type Side = Readonly<{ kind: Kind; auth: Auth; tls: boolean; sparse?: boolean }>;
type Pair = readonly [origin: Side, target: Side, path?: string];
const side = (kind: Kind, auth: Auth, wire: 'plain' | 'TLS', sparse = false): Side => ({
  kind,
  auth,
  tls: wire === 'TLS',
  sparse,
});

/** Each kind with each way of logging in is once an origin and once a target. */
const PAIRS: readonly Pair[] = [
  [side('distribution 2.8', 'open', 'plain'), side('distribution 3', 'basic', 'TLS')],
  [side('distribution 2.8', 'basic', 'TLS'), side('olareg', 'token', 'plain')],
  [side('distribution 2.8', 'token', 'TLS'), side('distribution 2.8', 'open', 'plain')],
  [side('distribution 3', 'open', 'TLS'), side('olareg', 'basic', 'TLS', true)],
  [side('distribution 3', 'basic', 'plain'), side('distribution 2.8', 'token', 'TLS')],
  [side('distribution 3', 'token', 'plain'), side('distribution 3', 'open', 'TLS')],
  [side('olareg', 'open', 'plain'), side('distribution 2.8', 'basic', 'plain')],
  [side('olareg', 'basic', 'TLS'), side('distribution 3', 'token', 'plain'), 'airgap/site-1'],
  [side('olareg', 'token', 'TLS'), side('olareg', 'open', 'plain', true)],
];

const titleOf = ({ kind, auth, tls }: Side): string => `${kind} (${auth}, ${tls ? 'TLS' : 'plain'})`;

describe('images cross from a real registry to a real registry', () => {
  const suite = createSuiteScope();
  let directory = '';
  let ca: CertificateAuthority;
  let seed: Registry;

  before(async () => {
    directory = await tempDir(suite, 'bundle-registries-');
    ca = await createCertificateAuthority();
    await writeFile(join(directory, 'ca.crt'), ca.cert);
    seed = await startRegistry(suite, { kind: 'distribution 2.8' });
    const clients = await createClients({ directory: join(directory, 'maker'), registries: [seed] });
    const bundle = await createBundle(directory);
    await Promise.all([
      makeImages(seed, clients, join(directory, 'images')),
      succeed(bundle(['keys', 'generate', '-o', 'release', '--json'])),
    ]);
  });
  after(() => suite.end());

  for (const [index, [from, to, path]] of PAIRS.entries()) {
    it(`${titleOf(from)} to ${titleOf(to)}${path === undefined ? '' : ` below ${path}`}`, async (t) => {
      const scope = createScope(t);
      const home = join(directory, `pair-${index}`);
      const start = (one: Side): Promise<Registry> => startRegistry(scope, { ...one, ca } satisfies RegistryOptions);
      const [origin, target] = await Promise.all([start(from), start(to)]);
      const caFile = join(directory, 'ca.crt');
      const clients = await createClients({ directory: home, caFile, registries: [seed, origin, target] });
      await copyImages(seed, origin, clients);
      const keys = join(directory, 'release');
      const authFile = join(home, 'config.json');
      const journey = await prepareJourney({ directory: home, keys, origin, target, path, caFile, authFile });

      const askedBefore = origin.tokens?.requests.length ?? 0;
      const { carried, contents } = await pullAndCarry(journey, keys);
      checkContents(contents, origin);
      checkPullTokens(origin, askedBefore);
      await checkNothingToPull(journey, keys);
      await succeed(journey.bundle(['verify', carried, '--json', '--trust', `${keys}.pub`]));

      const loaded = await load(journey, carried);
      checkLoaded(loaded, contents, to.sparse === true);
      const root = [target.host, ...(path === undefined ? [] : [path])].join('/');
      await checkTarget(clients, origin, root, contents);

      const written = await snapshot(target.storage);
      const again = await load(journey, carried);
      assert.deepEqual([again.outcome, again.tagsMoved, again.bytesPushed], ['unchanged', 0, 0]);
      assert.deepEqual(await snapshot(target.storage), written, 'the second load wrote something');
    });
  }
});

/** Every form that a reference can have at the target was asked for and came. */
function checkContents(contents: readonly Content[], origin: Registry): void {
  const formOf = (name: string): string | undefined => contents.find((c) => c.ref === `${origin.host}/${name}`)?.form;
  assert.equal(contents.length, 10);
  assert.equal(formOf(NAMES.three), 'derived');
  assert.equal(formOf(NAMES.part), 'whole');
  assert.equal(formOf(NAMES.two), 'whole');
  assert.equal(formOf(NAMES.attested), 'single');
}

/** Pulling asks for nothing but the right to pull, once for each repository and process. */
function checkPullTokens(origin: Registry, from: number): void {
  if (origin.tokens === undefined) return;
  const requests = origin.tokens.requests.slice(from);
  const scopes = requests.flatMap((request) => request.scopes);
  assert.ok(requests.every((request) => request.granted));
  assert.deepEqual(
    scopes.filter((scope) => !scope.endsWith(':pull')),
    [],
  );
  const repositories = new Set(scopes).size;
  assert.ok(requests.length <= 2 * repositories, `${requests.length} token requests for ${repositories} repositories, twice`);
}

async function checkNothingToPull(journey: Journey, keys: string): Promise<void> {
  const again = await succeed(journey.bundle(['pull', '--frozen', '--key', `${keys}.key`, '--json', ...journey.sourceFlags]));
  assert.deepEqual([again.outcome, again.requests], ['unchanged', 0]);
}

function checkLoaded(loaded: Loaded, contents: readonly Content[], takesSparse: boolean): void {
  assert.equal(loaded.outcome, 'loaded');
  assert.equal(loaded.tagsMoved, contents.length + 1, 'one tag for each reference, and one alias');
  for (const { ref, form, targetDigest } of contents) {
    const item = loaded.items.find((one) => one.ref === ref);
    assert.equal(item?.targetDigest, targetDigest);
    assert.equal(item?.originalIndex, form === 'whole' ? undefined : takesSparse ? 'pushed' : 'refused', ref);
  }
}

/** The word of three other programs on what every name means at the target, and on the layers behind it. */
async function checkTarget(clients: Clients, origin: Registry, root: string, contents: readonly Content[]): Promise<void> {
  const path = origin.host.replace(':', '_');
  await Promise.all(
    contents.map(async ({ ref, form, targetDigest }) => {
      const name = `${root}/${path}${ref.slice(origin.host.length)}`;
      // crane reads layers as gzip only: of zstd it can look at the manifests, and skopeo fetches the layers.
      const depth = ref.includes('/zstd/') ? ['--fast'] : [];
      if (ref.includes('/zstd/')) await clients.fetchWhole(name);
      assert.equal(await clients.crane('digest', name), targetDigest, name);
      assert.match(await clients.crane('validate', ...depth, '--remote', name), /^PASS/);
      assert.equal(sha256Of(await clients.skopeoRaw(name)), targetDigest, name);
      assert.equal(sha256Of(await clients.orasManifest(name)), targetDigest, name);
      if (form === 'whole') assert.equal(await clients.crane('digest', ref), targetDigest, ref);
      else assert.notEqual(await clients.crane('digest', ref), targetDigest, ref);
    }),
  );
  const aliased = contents.find((c) => c.ref.endsWith('/team/tools:amd64'));
  assert.equal(await clients.crane('digest', `${root}/tools/for-pods:1`), aliased?.targetDigest);
}
