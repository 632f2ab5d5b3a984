/**
 * A registry that plays the public ones, and every way in which a registry or the network can be wrong. It speaks the whole pull and push
 * protocol; it shares no code with src/serve, so that the client is tested against another reading of the specification.
 */

import { HOST_NAMES, type HostName, type Recorded, type RequestKind, type User, type World } from './fault-registry/exchange.ts';
import type { Fault, Injected } from './fault-registry/faults.ts';
import { type Listener, listen, type TlsOptions } from './fault-registry/listener.ts';
import { serve } from './fault-registry/serve.ts';
import { createStorage, type StoredManifest } from './fault-registry/storage.ts';
import { type Switches, wellBehaved } from './fault-registry/switches.ts';
import { createTokenBook } from './fault-registry/token-book.ts';
import type { TestBlob, TestImage } from './random-image.ts';
import type { Ending } from './temp-dir.ts';

export type { HostName, Recorded, RequestKind, User } from './fault-registry/exchange.ts';
export type { Fault, Injected } from './fault-registry/faults.ts';
export type { TlsOptions } from './fault-registry/listener.ts';
export type { Switches } from './fault-registry/switches.ts';

export type FaultRegistryOptions = Readonly<{
  switches?: Partial<Switches>;
  users?: Readonly<Record<string, User>>;
  /** All hosts but `plain` speak TLS with this. */
  tls?: TlsOptions;
  /** Base URLs to tell callers instead of `http(s)://127.0.0.1:<port>`: for clients whose name look-up the test controls. */
  urls?: Partial<Record<HostName, string>>;
}>;

export type FaultRegistry = Awaited<ReturnType<typeof createFaultRegistry>>;

const secretsOf = (world: World): string[] => [
  ...world.tokens.values(),
  ...Object.entries(world.users).flatMap(([name, { password, identityToken }]) => [
    password,
    Buffer.from(`${name}:${password}`).toString('base64'),
    ...(identityToken ? [identityToken] : []),
  ]),
];

/** Hosts at which no credential has any business; a token host that the switches call the right one is not among them. */
const STRANGERS: readonly HostName[] = ['cdn', 'cdn2', 'elsewhere', 'plain'];

function leaksOf(world: World): Recorded[] {
  const secrets = secretsOf(world);
  return world.requests.filter((record) => {
    if (!STRANGERS.includes(record.at)) return false;
    if (record.headers.authorization !== undefined || record.headers.cookie !== undefined) return true;
    const text = `${record.url}\n${JSON.stringify(record.headers)}`;
    return secrets.some((secret) => text.includes(secret) || text.includes(encodeURIComponent(secret)));
  });
}

function createWorld(options: FaultRegistryOptions): World {
  const urls = Object.fromEntries(HOST_NAMES.map((name) => [name, ''])) as Record<HostName, string>;
  return {
    switches: { ...wellBehaved(), ...options.switches },
    storage: createStorage(),
    tokens: createTokenBook(),
    users: options.users ?? {},
    urls,
    injected: [],
    requests: [],
    signed: new Map(),
    onRequest: undefined,
    manifestGets: 0,
    serial: 0,
  };
}

/** Starts it; `close()` ends it. Tests use {@link startFaultRegistry}. */
export async function createFaultRegistry(options: FaultRegistryOptions = {}) {
  const world = createWorld(options);
  const load = { now: 0, peak: 0 };
  const listeners: Listener[] = [];
  for (const at of HOST_NAMES) {
    const listener = await listen(
      (request, response) => {
        load.peak = Math.max(load.peak, ++load.now);
        response.once('close', () => load.now--);
        void serve(world, at, request, response);
      },
      at === 'plain' ? undefined : options.tls,
    );
    listeners.push(listener);
    world.urls[at] = options.urls?.[at] ?? listener.url;
  }
  const { storage, requests, switches } = world;
  const close = async (): Promise<void> => {
    await Promise.all(listeners.map((listener) => listener.close()));
  };
  return {
    /** `http(s)://host:port` */
    url: world.urls.registry,
    /** `host:port`: what stands in references */
    host: new URL(world.urls.registry).host,
    port: listeners[0]?.port as number,
    urls: world.urls as Readonly<Record<HostName, string>>,
    /** Where the hosts really listen, whatever callers are told. */
    listening: Object.fromEntries(HOST_NAMES.map((name, i) => [name, listeners[i]?.url])) as Readonly<Record<HostName, string>>,
    switches,
    requests,
    storage,
    /** How many requests were under way at once, at most. */
    load: load as Readonly<{ now: number; peak: number }>,
    add: (repository: string, tag: string | undefined, image: TestImage): void => storage.add(repository, tag, image),
    addBlob: (repository: string, blob: TestBlob): void => void storage.repository(repository).blobs.set(blob.digest, blob),
    hasBlob: (repository: string, digest: string): boolean => storage.blob(repository, digest) !== undefined,
    manifestAt: (repository: string, reference: string): StoredManifest | undefined => storage.manifest(repository, reference),
    tagsOf: (repository: string): Record<string, string> => Object.fromEntries(storage.find(repository)?.tags ?? []),
    /** Lets a fault strike requests from now on; the first that matches wins. */
    inject(fault: Fault): Injected {
      const injected: Injected = {
        fault,
        hits: 0,
        passed: 0,
        stop: () => void world.injected.splice(world.injected.indexOf(injected), 1),
      };
      world.injected.push(injected);
      return injected;
    },
    /** Called, and waited for, before each request: for changing things between two requests. undefined ends it. */
    onRequest(hook: World['onRequest']): void {
      world.onRequest = hook;
    },
    /** Requests that arrived at a host, of one kind and method where given. */
    seen: (kind?: RequestKind, method?: string, at: HostName = 'registry'): Recorded[] =>
      requests.filter(
        (r) => r.at === at && (kind === undefined || r.kind === kind) && (method === undefined || r.method === method),
      ),
    /** `GET /v2/…` one a line, in order of arrival: for comparing whole conversations. */
    log: (): string[] => requests.map((r) => `${r.at === 'registry' ? '' : `${r.at}: `}${r.method} ${r.url}`),
    /** Requests that carried a credential to a host that must not get any. */
    leaks: (): Recorded[] => leaksOf(world),
    /** Forgets the requests so far. */
    clear: (): void => void requests.splice(0),
    /** Ends the life of all tokens given out so far. */
    expireTokens: (): void => world.tokens.expireAll(),
    /** Ends the life of all signed URLs given out so far. */
    expireUrls(): void {
      for (const [key, signed] of world.signed) world.signed.set(key, { ...signed, until: 0 });
    },
    /** A token that was made outside, as in `registrytoken`. */
    issueToken: (repository: string, actions: readonly string[]): string =>
      world.tokens.issue('outside', new Map([[repository, new Set(actions)]]), 300_000),
    tokensIssued: (): number => world.tokens.count,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A stand-in that ends with the test. */
export async function startFaultRegistry(t: Ending, options: FaultRegistryOptions = {}): Promise<FaultRegistry> {
  const registry = await createFaultRegistry(options);
  t.after(() => registry.close());
  return registry;
}
