/** The client against the stand-in registry: a clock that does not wait, credentials in memory, and public names where a test needs them. */
import { type Digest, parseDigest } from '../../src/core/digest.ts';
import { readAll, verified } from '../../src/core/verified.ts';
import { type ClientOptions, createRegistryClient, type RegistryClient } from '../../src/registry/client.ts';
import type { Clock } from '../../src/registry/clock.ts';
import type { Credential } from '../../src/registry/credentials.ts';
import { createTransport, type Transport } from '../../src/registry/transport.ts';
import { type FaultRegistry, type FaultRegistryOptions, type HostName, startFaultRegistry } from '../support/fault-registry.ts';
import { blobOf, randomImage, type TestBlob, type TestImage } from '../support/random-image.ts';
import type { Ending } from '../support/temp-dir.ts';

export type FakeClock = Clock & { readonly slept: number[]; advance(ms: number): void };

/** Sleeps take no time but move the hands. */
export function fakeClock(): FakeClock {
  let offset = 0;
  const slept: number[] = [];
  return {
    slept,
    now: () => Date.now() + offset,
    advance(ms) {
      offset += ms;
    },
    async sleep(ms) {
      slept.push(ms);
      offset += ms;
    },
  };
}

export const ALICE = { password: 'wonderland-secret', identityToken: 'refresh-of-alice' };
export const aliceBasic: Credential = {
  kind: 'basic',
  username: 'alice',
  password: ALICE.password,
  from: '/home/alice/config.json',
};
export const staleBasic: Credential = { ...aliceBasic, password: 'last-years-secret' };

export type Setup = Readonly<{
  registry: FaultRegistry;
  client: RegistryClient;
  clock: FakeClock;
  warnings: string[];
  origin: string;
  image: TestImage;
  layer: TestBlob & { bytes: Buffer };
}>;

export type SetupOptions = FaultRegistryOptions & Readonly<{ credential?: Credential; client?: Partial<ClientOptions> }>;

/** Gives the hosts of the stand-in public names under corp.example, so that rules about private addresses can be told from the rest. */
export const PUBLIC: Readonly<Record<HostName, string>> = {
  registry: 'https://registry.corp.example',
  cdn: 'https://storage.cdn.example',
  cdn2: 'https://storage2.cdn.example',
  token: 'https://auth.corp.example',
  elsewhere: 'https://evil.example',
  plain: 'http://plain.example',
};

/** A registry on a private address. Mapped like the others, so that a wrong client reaches nothing outside this process. */
export const PRIVATE = 'https://10.1.2.3:5000';

/** @param to public base URL → where it really is */
export function mappedTransport(inner: Transport, to: Readonly<Record<string, string>>): Transport {
  return {
    async send(request) {
      const real = to[request.url.origin];
      if (real === undefined) throw new Error(`the client asked ${request.url.href}, which no test host has`);
      const url = new URL(request.url.href.replace(request.url.origin, real));
      const response = await inner.send({ ...request, url, headers: { ...request.headers, host: request.url.host } });
      return { ...response, url: request.url };
    },
    close: () => inner.close(),
  };
}

/** A registry holding `a/b:v1` and a client for it. */
export async function setUp(t: Ending, options: SetupOptions = {}): Promise<Setup> {
  const registry = await startFaultRegistry(t, { users: { alice: ALICE }, ...options });
  const image = await randomImage({ bytes: 9000 });
  registry.add('a/b', 'v1', image);
  const clock = fakeClock();
  const warnings: string[] = [];
  const client = createRegistryClient({
    credentials: { find: async (origin) => (origin === registry.host ? options.credential : undefined) },
    clock,
    warn: (text) => warnings.push(text),
    plainHttp: registry.url.startsWith('http:') ? [registry.host] : [],
    environment: {},
    timeouts: { connect: 2000, headers: 2000, idle: 2000 },
    ...(options.urls ? { transport: mappedTransport(createTransport({ environment: {} }), realOf(registry, options.urls)) } : {}),
    ...options.client,
  });
  t.after(() => client.close());
  const layer = image.layers[0]?.blob as Setup['layer'];
  return { registry, client, clock, warnings, origin: registry.host, image, layer };
}

const realOf = (registry: FaultRegistry, urls: Partial<Record<HostName, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(urls).map(([name, url]) => [url, registry.listening[name as HostName]]));

/** Reads a blob as pull does: hashed, so that other bytes are an error. */
export const readBlob = (
  setup: Pick<Setup, 'client' | 'origin'>,
  repository: string,
  blob: TestBlob,
  from = 0,
): Promise<Buffer> => {
  const body = setup.client.readBlob(setup.origin, repository, blob, from);
  const checked = from === 0 ? verified(body, blob, 'the blob', 'source') : body;
  return readAll(checked, 64 * 1024 * 1024, 'the blob');
};

export const pushBlob = (
  setup: Pick<Setup, 'client' | 'origin'>,
  repository: string,
  blob: TestBlob,
  more: { mountFrom?: string; force?: boolean } = {},
) =>
  setup.client.pushBlob(setup.origin, {
    repository,
    blob,
    read: async function* (start, end) {
      yield* blob.read(start, end);
    },
    ...more,
  });

export const pushManifest = (
  setup: Pick<Setup, 'client' | 'origin'>,
  repository: string,
  reference: string,
  { root }: TestImage,
) => setup.client.putManifest(setup.origin, repository, reference, root);

export const missingDigest: Digest = parseDigest(blobOf('held by nobody').digest);
