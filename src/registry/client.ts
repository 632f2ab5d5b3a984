import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { createAuthorizer } from './authorizer.ts';
import { readBlob } from './blobs.ts';
import { type Clock, systemClock } from './clock.ts';
import type { CredentialStore } from './credentials.ts';
import { type Endpoint, type EndpointRules, endpointOf } from './endpoint.ts';
import { fetchText } from './fetch-text.ts';
import { listReferrers, listTaggedReferrers, listTags, lookUp, type Referrers } from './listings.ts';
import { type FetchedManifest, getManifest, headManifest, type ManifestHead, putManifest } from './manifests.ts';
import { createSender } from './send.ts';
import { createThrottle } from './throttle.ts';
import { createTransport, type Transport, type TransportOptions } from './transport.ts';
import { type PushBlob, type PushOutcome, pushBlob } from './uploads.ts';

/** Talks to any number of registries under one set of limits and credentials. `origin` is a registry as users write it. */
export interface RegistryClient {
  endpoint(origin: string): Endpoint;
  /** undefined: the registry's HEAD can't be relied on, use {@link getManifest}. */
  headManifest(origin: string, repository: string, reference: string, signal?: AbortSignal): Promise<ManifestHead | undefined>;
  getManifest(origin: string, repository: string, reference: string, signal?: AbortSignal): Promise<FetchedManifest>;
  putManifest(
    origin: string,
    repository: string,
    reference: string,
    manifest: Readonly<{ mediaType: string; digest: Digest; bytes: Uint8Array }>,
    signal?: AbortSignal,
  ): Promise<{ subjectHandled: boolean }>;
  /** Bytes from `from` on, reconnecting as needed; not hashed. */
  readBlob(
    origin: string,
    repository: string,
    blob: Pick<Descriptor, 'digest' | 'size'>,
    from: number,
    signal?: AbortSignal,
  ): AsyncIterable<Uint8Array>;
  pushBlob(origin: string, push: Omit<PushBlob, 'endpoint'>): Promise<PushOutcome>;
  listTags(origin: string, repository: string, signal?: AbortSignal): Promise<string[]>;
  /** What a tag means now, or whether a digest is there; undefined where there is none: HEAD, and GET only where HEAD says too little. */
  lookUp(
    origin: string,
    repository: string,
    reference: string,
    signal?: AbortSignal,
  ): Promise<Readonly<{ digest: Digest; mediaType: string }> | undefined>;
  listReferrers(origin: string, repository: string, digest: Digest, signal?: AbortSignal): Promise<Referrers>;
  /** By the fallback tag alone: for repositories of which {@link listReferrers} has said that they have no API. */
  listTaggedReferrers(origin: string, repository: string, subject: Digest, signal?: AbortSignal): Promise<readonly Descriptor[]>;
  /** Runs `task` inside one slot of the global and of the host's limit. Every transfer goes through it. */
  inSlot<T>(origin: string, task: () => Promise<T>): Promise<T>;
  /** A small text by https, or by http from a host of `plainHttp`; without credentials. */
  fetchText(url: string, maxBytes: number, signal?: AbortSignal): Promise<string>;
  /** Requests sent so far. */
  readonly requests: number;
  close(): Promise<void>;
}

export type ClientOptions = EndpointRules &
  TransportOptions &
  Readonly<{
    credentials: CredentialStore;
    /** Hosts to which credentials may go as token services although they share no domain with their registry. */
    allowRealms?: readonly string[];
    concurrency?: number;
    perHost?: number;
    clock?: Clock;
    warn?: (text: string) => void;
    transport?: Transport;
  }>;

export const DEFAULT_CONCURRENCY = 8;

export function createRegistryClient(options: ClientOptions): RegistryClient {
  const clock = options.clock ?? systemClock;
  const inner = options.transport ?? createTransport(options);
  let requests = 0;
  const transport: Transport = {
    send: (request) => {
      requests++;
      return inner.send(request);
    },
    close: () => inner.close(),
  };
  const global = options.concurrency ?? DEFAULT_CONCURRENCY;
  const throttle = createThrottle({ global, perHost: options.perHost ?? global }, clock);
  const authorizer = createAuthorizer({
    transport,
    credentials: options.credentials,
    clock,
    allowRealms: options.allowRealms ?? [],
  });
  const send = createSender({ transport, authorizer, throttle, clock, warn: options.warn ?? (() => undefined) });
  const endpoint = (origin: string): Endpoint => endpointOf(origin, options);
  return {
    endpoint,
    headManifest: (origin, repository, reference, signal) => headManifest(send, endpoint(origin), repository, reference, signal),
    getManifest: (origin, repository, reference, signal) => getManifest(send, endpoint(origin), repository, reference, signal),
    putManifest: (origin, repository, reference, manifest, signal) =>
      putManifest(send, endpoint(origin), repository, reference, manifest, signal),
    readBlob: (origin, repository, blob, from, signal) => readBlob(send, clock, endpoint(origin), repository, blob, from, signal),
    pushBlob: (origin, push) => pushBlob(send, clock, { ...push, endpoint: endpoint(origin) }),
    listTags: (origin, repository, signal) => listTags(send, endpoint(origin), repository, signal),
    lookUp: (origin, repository, reference, signal) => lookUp(send, endpoint(origin), repository, reference, signal),
    listReferrers: (origin, repository, digest, signal) => listReferrers(send, endpoint(origin), repository, digest, signal),
    listTaggedReferrers: (origin, repository, subject, signal) =>
      listTaggedReferrers(send, endpoint(origin), repository, subject, signal),
    inSlot: (origin, task) => throttle.run(endpoint(origin).base.host, task),
    fetchText: (url, maxBytes, signal) =>
      fetchText({ transport, clock, plainHttp: options.plainHttp ?? [] }, url, maxBytes, signal),
    get requests() {
      return requests;
    },
    close: () => transport.close(),
  };
}
