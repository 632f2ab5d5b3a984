/** Personalities: long-lived ways in which a registry differs. Names and values are those of public-registries.md section 5. */
export type Switches = {
  // --- who may do what ---
  auth: 'none' | 'basic' | 'bearer';
  /** Pulling needs no login (with bearer: a token is still needed, and given to anybody). */
  anonymousPull: boolean;
  /** Repositories that anonymous callers can't see, whatever `anonymousPull` says. */
  privateRepositories: string[];
  /** The form of the 401. `standard`: service always, scope on repository paths. */
  challenge:
    | 'standard'
    | 'hub' /* as standard, body with capitalised keys */
    | 'gar' /* `/v2/` names a realm alone */
    | 'ghcr' /* a literal placeholder scope on `/v2/` */
    | 'ecrpub' /* scope="aws" everywhere */
    | 'gitea' /* scope="*" and a second WWW-Authenticate line with Basic */
    | 'one-line' /* two challenges in one line, Basic first */
    | 'escaped' /* quoted strings with escapes, odd spacing, unknown parameters */
    | 'unquoted-scope' /* nvcr.io of old */
    | 'realm-only' /* nvcr.io: neither service nor scope anywhere */
    | 'nexus' /* BASIC in capitals */
    | 'ecr' /* Basic with a service, text body */
    | 'harbor-wrong' /* a Basic challenge once any Authorization was sent */
    | 'harbor-noproject' /* an empty WWW-Authenticate for whoever is logged in */;
  waOn200: boolean;
  waMissingOnRepo: boolean;
  /** Where the realm points. `other` and `elsewhere` are hosts of this stand-in; `elsewhere` only collects what it is sent. */
  realmHost: 'same' | 'other' | 'elsewhere' | 'private-ip' | 'http' | 'file';
  /** Every request is refused with a fresh challenge, whatever token it carries. */
  authLoop: boolean;
  // --- the token service ---
  tokenField: 'both' | 'token' | 'access_token' | 'text-type';
  /** What `expires_in` says, in seconds. */
  tokenExpiry: number | 'none';
  /** How long a token is honoured in truth. `expireTokens()` ends all at once. */
  tokenLifeMs: number;
  tokenMethod: 'any' | 'get-only' | 'post-404';
  tokenScope: 'all' | 'first-only' | 'space' | 'no-delete';
  /** An anonymous caller who asks push: fewer rights in silence, or 403. */
  tokenPushAnon: 'reduced' | '403';
  /** The answer of the token service to a wrong password. */
  staleCreds: '401' | '403';
  /** The answer to a token that is no longer (or never was) good. */
  expired: '401' | '400-nowa' | '401-nowa' | '401-other-realm';
  /** How missing (or invisible) repositories and manifests are refused. */
  missing: '404' | '404-name' | '401-insufficient' | 'token-401' | 'token-403';
  // --- blobs ---
  blob:
    | 'direct'
    | '307-s3'
    | '307-azure'
    | '302-relative'
    | '302-html-cached'
    | '307-http' /* https to plain http */
    | '307-private-ip'
    | '307-foreign-401' /* the target has a challenge of its own */
    | '307-there-and-back' /* to another host, which sends the caller back here */
    | 'ring' /* to itself, for ever */
    | 'ring-hosts' /* between two hosts, for ever */;
  /** `403`: HEAD is redirected too, to a URL that is signed for GET only. */
  blobHead: 'in-place' | '403';
  /** How long a signed URL is good. `expireUrls()` ends all at once. */
  urlTtlMs: number;
  cdn: 'one' | 'alternate';
  range: '206' | 'ignored-200' | '206-wrong-offset' | '206-no-header' | '206-wrong-total' | '416' | '416-empty';
  /** Other bytes than asked for: of another size, or of the same. */
  blobLie: 'none' | 'other-bytes' | 'same-size';
  /** What HEAD (of blob or manifest) says beside the truth. */
  headLies: 'none' | 'size' | 'digest' | 'exists';
  /** The body really is compressed, as a helpful proxy does it. */
  contentEncoding: 'none' | 'gzip';
  // --- manifests ---
  accept: 'any' | 'literal' | 'schema1-default';
  ctype: 'exact' | 'charset' | 'missing' | 'html' | 'octet-stream' | 'other-kind';
  dcd: 'right' | 'none' | 'lying';
  /** `other-manifest`: a different valid manifest for any digest, with a header that claims it is the right one. */
  manifestLie: 'none' | 'other-manifest' | 'flipped';
  harborLibrary: 'off' | '301';
  front: 'off' | '307-all-drop-query' | '307-all' | 'foreign-realm';
  /** The base URL of the registry behind the front. */
  frontTo: string;
  // --- lists ---
  referrers:
    | 'api'
    | 'unfiltered'
    | 'empty' /* 200 and nothing in it, whatever there is */
    | '404-unknown' /* for subjects that are not there; the specification wants an empty list */
    | '404-json'
    | '404-html'
    | '405'
    | '406'
    | '400'
    | '200-html'
    | '503'
    | 'endless'
    | 'self-link'
    | 'many' /* 100 000 in one answer */;
  subjectHeader: 'right' | 'never' | 'always';
  fallbackTag: 'normal' | 'resolves-digest';
  tags: 'normal' | 'cap-100' | 'n-max-1000' | 'nulls' | 'digests' | 'link-absolute' | 'link-other-host' | 'endless' | 'self-link';
  // --- limits ---
  rate: 'none' | 'hub-429-json' | 'hub-429-text' | 'bare-429' | '429-retry-after' | '503-egress';
  /** GETs of manifests (HEAD is free) before `rate` sets in. */
  rateLimit: number;
  /** Sent with `429-retry-after`: seconds, a date, nonsense. */
  retryAfter: string;
  /** Sent as `Warning` on everything. */
  warning: string;
  // --- pushes ---
  upload:
    | 'normal'
    | 'patch-max-4MiB'
    | 'patch-drops-2nd'
    | 'range-quay'
    | '10min' /* connections of uploads die after `uploadTimeLimitMs` */
    | 'post-digest-202'
    | 'stores-other-bytes'
    | 'loses-after-201' /* 201, and the blob is not there */;
  uploadTimeLimitMs: number;
  location: 'absolute' | 'relative' | 'other-host' | 'other-host-works' | 'missing';
  /** 413 for a PUT with a longer body: the reason for chunks. */
  putMaxBytes: number;
  /** Sent as OCI-Chunk-Min-Length and enforced; 0: not sent. */
  chunkMinLength: number;
  /** So many sessions are forgotten after their next byte. */
  sessionLosses: number;
  mount: '201' | '202' | '401' | '404' | 'only-referenced' | 'from-required';
  repo: 'free' | 'must-exist' | 'two-segments' | 'no-nested' | 'create-on-token';
  tag: 'mutable' | 'immutable-400' | 'immutable-409';
  manifest: 'sparse-refused' | 'sparse-ok' | 'need-mediatype' | 'max-4MiB' | '405-artifact' | 'stores-other-bytes';
  sha512: 'ok' | 'refused' | 'downgraded';
};

export const wellBehaved = (): Switches => ({
  auth: 'none',
  anonymousPull: true,
  privateRepositories: [],
  challenge: 'standard',
  waOn200: false,
  waMissingOnRepo: false,
  realmHost: 'same',
  authLoop: false,
  tokenField: 'both',
  tokenExpiry: 300,
  tokenLifeMs: 300_000,
  tokenMethod: 'any',
  tokenScope: 'all',
  tokenPushAnon: 'reduced',
  staleCreds: '401',
  expired: '401',
  missing: '404',
  blob: 'direct',
  blobHead: 'in-place',
  urlTtlMs: 1_200_000,
  cdn: 'one',
  range: '206',
  blobLie: 'none',
  headLies: 'none',
  contentEncoding: 'none',
  accept: 'any',
  ctype: 'exact',
  dcd: 'right',
  manifestLie: 'none',
  harborLibrary: 'off',
  front: 'off',
  frontTo: '',
  referrers: 'api',
  subjectHeader: 'right',
  fallbackTag: 'normal',
  tags: 'normal',
  rate: 'none',
  rateLimit: 0,
  retryAfter: '1',
  warning: '',
  upload: 'normal',
  uploadTimeLimitMs: 600_000,
  location: 'absolute',
  putMaxBytes: Number.POSITIVE_INFINITY,
  chunkMinLength: 0,
  sessionLosses: 0,
  mount: '201',
  repo: 'free',
  tag: 'mutable',
  manifest: 'sparse-refused',
  sha512: 'ok',
});
