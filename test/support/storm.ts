/** Weather for the client: switches of the stand-in registry and single faults, several at once, drawn from a seed. */
import type { Fault, FaultRegistry, Switches } from './fault-registry.ts';
import type { Prng } from './random-layer.ts';

/** What each switch may become. What is no fault but only another kind of registry is among them: the mixture is the point. */
type Weather = { readonly [K in keyof Switches]?: readonly Switches[K][] };

/** How registries differ and fail while somebody reads. */
const READING: Weather = {
  auth: ['basic', 'bearer', 'bearer'],
  anonymousPull: [false],
  challenge: [
    'hub',
    'gar',
    'ghcr',
    'ecrpub',
    'gitea',
    'one-line',
    'escaped',
    'unquoted-scope',
    'realm-only',
    'nexus',
    'harbor-wrong',
  ],
  waOn200: [true],
  waMissingOnRepo: [true],
  realmHost: ['other', 'elsewhere', 'private-ip', 'file'],
  authLoop: [true],
  tokenField: ['token', 'access_token', 'text-type'],
  tokenExpiry: ['none', 1, 1800],
  tokenLifeMs: [0, 50],
  tokenMethod: ['get-only', 'post-404'],
  tokenScope: ['first-only', 'space', 'no-delete'],
  staleCreds: ['403'],
  expired: ['400-nowa', '401-nowa', '401-other-realm'],
  missing: ['404-name', '401-insufficient', 'token-401', 'token-403'],
  blob: [
    '307-s3',
    '307-azure',
    '302-relative',
    '302-html-cached',
    '307-http',
    '307-private-ip',
    '307-foreign-401',
    '307-there-and-back',
    'ring',
    'ring-hosts',
  ],
  blobHead: ['403'],
  urlTtlMs: [0, 20],
  cdn: ['alternate'],
  range: ['ignored-200', '206-wrong-offset', '206-no-header', '206-wrong-total', '416', '416-empty'],
  blobLie: ['other-bytes', 'same-size'],
  headLies: ['size', 'digest', 'exists'],
  contentEncoding: ['gzip'],
  accept: ['literal', 'schema1-default'],
  ctype: ['charset', 'missing', 'html', 'octet-stream', 'other-kind'],
  dcd: ['none', 'lying'],
  manifestLie: ['other-manifest', 'flipped'],
  harborLibrary: ['301'],
  rate: ['hub-429-json', 'hub-429-text', 'bare-429', '429-retry-after', '503-egress'],
  rateLimit: [1, 3],
  retryAfter: ['2', '1e9', 'soon', '-1'],
  warning: ['299 - "this registry moves"', 'garbage\tin a warning'],
};

/** The same while somebody writes. */
const WRITING: Weather = {
  upload: ['patch-max-4MiB', 'patch-drops-2nd', 'range-quay', 'post-digest-202', 'loses-after-201'],
  location: ['relative', 'other-host', 'missing'],
  putMaxBytes: [500, 2000],
  chunkMinLength: [700],
  sessionLosses: [1, 3, 50],
  mount: ['202', '401', '404', 'only-referenced', 'from-required'],
  repo: ['must-exist', 'two-segments', 'no-nested', 'create-on-token'],
  tag: ['immutable-400', 'immutable-409'],
  manifest: ['sparse-ok', 'need-mediatype', 'max-4MiB', '405-artifact', 'stores-other-bytes'],
  tokenPushAnon: ['403'],
};

const KINDS = ['token', 'manifest', 'blob', 'upload'] as const;

const pick = <T>(prng: Prng, list: readonly T[]): T => list[prng.int(list.length)] as T;

/** A fault at a random place: a kind of request, so many of them let through, struck once or for ever. */
function randomFault(prng: Prng): Fault {
  const does: readonly Fault['does'][] = [
    { kind: 'answer', status: pick(prng, [400, 403, 404, 408, 416, 429, 500, 502, 503, 504]) },
    { kind: 'answer', status: 200, body: '<html>log in</html>', headers: { 'content-type': 'text/html' } },
    { kind: 'answer', status: 204 },
    { kind: 'answer', status: 500, body: 200_000 },
    { kind: 'reset' },
    { kind: 'hang' },
    { kind: 'cut-request', after: prng.int(900) },
    { kind: 'lose' },
    { kind: 'cut', after: prng.int(900) },
    { kind: 'short', bytes: prng.int(300) },
    { kind: 'flip', at: prng.int(200) },
    { kind: 'append', bytes: 1 + prng.int(100), ...(prng.int(2) === 0 ? { length: 'hidden' as const } : {}) },
    { kind: 'endless' },
    { kind: 'headers', set: { 'docker-content-digest': `sha256:${'0'.repeat(64)}` } },
    { kind: 'headers', set: { 'content-length': undefined } },
    { kind: 'headers', set: { location: undefined } },
    { kind: 'redirect', to: 'http://127.0.0.1:1/gone', status: 307 },
  ];
  return {
    on: pick(prng, KINDS),
    skip: prng.int(6),
    // `hang` waits out a limit of time at each try.
    times: pick(prng, [1, 1, 1, 2, 4, Number.POSITIVE_INFINITY]),
    does: pick(prng, does),
  };
}

export type Storm = Readonly<{
  /** For messages: what is on. */
  name: string;
  faults: readonly Fault[];
  switches: Partial<Switches>;
}>;

export function drawStorm(prng: Prng, kind: 'reading' | 'writing'): Storm {
  const weather: Weather = kind === 'reading' ? READING : { ...READING, ...WRITING };
  // Half of what strikes a writer concerns writing.
  const names = Object.keys(weather) as (keyof Switches)[];
  const own = Object.keys(WRITING) as (keyof Switches)[];
  const switches: Record<string, unknown> = {};
  for (let n = prng.int(6); n > 0; n--) {
    const name = kind === 'writing' && prng.int(2) === 0 ? pick(prng, own) : pick(prng, names);
    switches[name] = pick(prng, weather[name] as readonly unknown[]);
  }
  const faults = Array.from({ length: prng.int(4) }, () => randomFault(prng));
  const of = faults.map(({ on, skip, times, does }) => `${JSON.stringify(does)} on ${on} after ${skip}, ${times} times`);
  return { name: [JSON.stringify(switches), ...of].join('; '), faults, switches: switches as Partial<Switches> };
}

/** Lets the storm loose; what it gives back ends it. */
export function unleash(registry: FaultRegistry, storm: Storm, calm: Switches): () => void {
  Object.assign(registry.switches, storm.switches);
  const injected = storm.faults.map((fault) => registry.inject(fault));
  return () => {
    for (const one of injected) one.stop();
    Object.assign(registry.switches, calm);
  };
}
