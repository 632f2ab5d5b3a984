/** What arrives in headers, request targets and small answers: from clients of our registry, and from the registries that we ask. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { LIMITS } from '../../src/core/limits.ts';
import { isRepository } from '../../src/core/reference.ts';
import { parseChallenges } from '../../src/registry/challenge.ts';
import { createCredentialStore } from '../../src/registry/credentials.ts';
import { endpointOf } from '../../src/registry/endpoint.ts';
import { listTags } from '../../src/registry/listings.ts';
import { fetchToken } from '../../src/registry/token.ts';
import type { HttpResponse } from '../../src/registry/transport.ts';
import { type Action, formatScope, needsOf, parseScope } from '../../src/serve/access.ts';
import { parseBasic } from '../../src/serve/passwords.ts';
import { parseContentRange, parseRange } from '../../src/serve/range.ts';
import { Refusal } from '../../src/serve/refusal.ts';
import { digestParameter, parseTarget, referenceIn } from '../../src/serve/route.ts';
import { attempt, fuzz } from './budget.ts';
import { memoryFiles } from './memory-files.ts';
import { changedJsonBytes, changedText } from './mutate.ts';

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;
const numbers = [
  '0',
  '9',
  '-',
  '=',
  ',',
  '/',
  '*',
  ' ',
  '\t',
  'bytes=',
  'bytes ',
  'lines=',
  '9007199254740993',
  '9'.repeat(400),
  '+1',
  '1e3',
];

fuzz(
  'a Range is ignored, unsatisfiable, or lies within the content',
  fc.tuple(
    changedText(['bytes=0-99', 'bytes=5-', 'bytes=-7', 'Bytes= 1-2', 'bytes=0-0,5-9'], numbers),
    fc.oneof(fc.nat({ max: 20 }), fc.nat({ max: LIMITS.blobBytes })),
  ),
  async ([header, size]) => {
    const range = parseRange(header, size);
    if (typeof range === 'string') return 'refused';
    assert.ok(Number.isSafeInteger(range.start) && Number.isSafeInteger(range.end), header);
    assert.ok(0 <= range.start && range.start < range.end && range.end <= size, `${header} of ${size}`);
    if (range.end < size) assert.deepEqual(parseRange(`bytes=${range.start}-${range.end - 1}`, size), range);
    return 'taken';
  },
);

fuzz(
  'a Content-Range is refused, or is a span of whole bytes',
  changedText(['0-1023', 'bytes 0-1023/2048', 'bytes=5-9', '7-7/*'], numbers),
  async (header) => {
    const range = parseContentRange(header);
    if (range === undefined) return 'refused';
    assert.ok(
      Number.isSafeInteger(range.start) && Number.isSafeInteger(range.end) && 0 <= range.start && range.start < range.end,
    );
    assert.deepEqual(parseContentRange(`${range.start}-${range.end - 1}`), range);
    return 'taken';
  },
);

// --- request targets ---

const repository = fc
  .array(
    fc.constantFrom('a', 'blobs', 'uploads', 'manifests', 'tags', 'list', 'referrers', 'v2', 'token', 'docker.io', 'x-y__z'),
    { minLength: 1, maxLength: 5 },
  )
  .map((parts) => parts.join('/'));
const shape = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record<T>(model, { noNullPrototype: true });
const route = fc.oneof(
  shape({ kind: fc.constant('blob' as const), repository, digest: fc.constant(DIGEST) }),
  shape({
    kind: fc.constant('manifest' as const),
    repository,
    reference: fc.constantFrom(DIGEST, 'v1', 'list', 'uploads', 'latest'),
  }),
  shape({ kind: fc.constant('uploads' as const), repository }),
  shape({ kind: fc.constant('upload' as const), repository, id: fc.stringMatching(/^[a-z0-9-]{1,36}$/) }),
  shape({ kind: fc.constant('tags' as const), repository }),
  shape({ kind: fc.constant('referrers' as const), repository, digest: fc.constant(DIGEST) }),
);
const pathOf = (r: typeof route extends fc.Arbitrary<infer R> ? R : never): string => {
  const rest = {
    blob: 'blobs/',
    manifest: 'manifests/',
    uploads: 'blobs/uploads/',
    upload: 'blobs/uploads/',
    tags: 'tags/list',
    referrers: 'referrers/',
  }[r.kind];
  const last = 'digest' in r ? r.digest : 'reference' in r ? r.reference : 'id' in r ? r.id : '';
  return `/v2/${r.repository}/${rest}${last}`;
};

fuzz('every request that a client can mean is understood, whatever the repository is called', route, async (wanted) => {
  assert.deepEqual(parseTarget(pathOf(wanted)).route, wanted);
  assert.deepEqual(parseTarget(`http://proxy.lab${pathOf(wanted)}?x=1`).route, wanted);
  assert.deepEqual(parseTarget(pathOf(wanted).replaceAll(':', '%3A')).route, wanted);
  return 'taken';
});

fuzz(
  "a request target is refused as the client's fault, or names a repository that is one",
  changedText(
    [
      `/v2/a/b/blobs/${DIGEST}`,
      '/v2/a/manifests/v1',
      '/v2/a/blobs/uploads/?mount=x&from=y/z',
      '/v2/a/blobs/uploads/x-1?digest=y',
      '/v2/',
      '/v2/a/tags/list?n=5',
      'https://h/v2/_catalog',
      `/v2/a/referrers/${DIGEST}`,
    ],
    [
      '/',
      '//',
      '..',
      '/../',
      '%2e%2e',
      '%2f',
      '%00',
      '%',
      '%ff',
      '?',
      '&',
      '=',
      '#',
      '\\',
      ':',
      'blobs',
      'uploads',
      'manifests',
      'http://',
      '\u0000',
      'A',
      'digest=',
      '&digest=x',
    ],
  ),
  async (target) => {
    try {
      const { route, query } = parseTarget(target);
      const needs = needsOf(route, 'POST', query);
      digestParameter(query, 'digest');
      if ('repository' in route) {
        assert.ok(isRepository(route.repository), route.repository);
        assert.ok(!route.repository.split('/').includes('..'));
        assert.ok(needs.needed.length > 0 && needs.needed.every((need) => need.repository === route.repository));
      }
      if (route.kind === 'manifest') assert.doesNotMatch(referenceIn(route.reference), /\/|^\.\.?$/);
      return 'taken';
    } catch (error) {
      assert.ok(error instanceof Refusal && error.status === 400, String(error));
      assert.ok(error.body.length < 5000);
      return 'refused';
    }
  },
);

// --- logins and rights ---

fuzz(
  'a login in a Basic header comes back as it was, whatever the characters',
  fc.tuple(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' })),
  async ([name, password]) => {
    const user = name.replaceAll(':', '');
    const header = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
    assert.deepEqual(parseBasic(header), { user, password });
    return 'taken';
  },
);

fuzz(
  'a Basic header is no login, or the login that its base64 says',
  changedText(['Basic dXNlcjpwYXNz', 'basic  dTpwOng= ', 'Bearer abc'], ['Basic ', '=', '-', '_', ' ', ',', '\t', 'Og==', ':']),
  async (header) => {
    const login = parseBasic(header);
    if (login === undefined) return 'refused';
    assert.ok(!login.user.includes(':'));
    assert.equal(Buffer.from(header.trim().split(/ +/)[1] as string, 'base64').toString(), `${login.user}:${login.password}`);
    return 'taken';
  },
);

const need = fc.record({ repository, action: fc.constantFrom<Action>('pull', 'push', 'delete') });
fuzz(
  'a scope says exactly the needs that it was made of',
  fc.uniqueArray(need, { selector: (n) => `${n.repository} ${n.action}`, minLength: 1, maxLength: 6 }),
  async (needs) => {
    const text = (list: readonly { repository: string; action: Action }[]) =>
      list.map((n) => `${n.repository} ${n.action}`).sort();
    assert.deepEqual(text(parseScope(formatScope(needs))), text(needs));
    return 'taken';
  },
);

fuzz(
  'a scope never asks for more than its own text says',
  changedText(
    ['repository:a/b:pull,push', 'repository(plugin):x:*', 'repository:a:pull repository:b:push', 'registry:catalog:*'],
    [':', ',', ' ', '*', 'pull', 'delete', 'repository:', '(', ')', '../', 'PULL'],
  ),
  async (text) => {
    const needs = parseScope(text);
    for (const { repository, action } of needs) {
      assert.ok(text.includes(repository));
      assert.ok(text.includes(action) || text.includes('*'), text);
    }
    return needs.length === 0 ? 'refused' : 'taken';
  },
);

// --- what registries answer ---

fuzz(
  'challenges that are written by the book are read, and no others are made up',
  fc.array(
    fc.record({
      scheme: fc.constantFrom('Bearer', 'basic', 'NTLM'),
      parameters: fc.dictionary(
        fc.constantFrom('realm', 'service', 'scope', '__proto__'),
        fc.string({ unit: 'grapheme-ascii' }),
        { minKeys: 1 },
      ),
    }),
    { minLength: 1, maxLength: 3 },
  ),
  async (wanted) => {
    const quoted = (text: string): string => `"${text.replace(/[\\"]/g, '\\$&')}"`;
    const line = wanted
      .map(
        ({ scheme, parameters }) =>
          `${scheme} ${Object.entries(parameters)
            .map(([name, value]) => `${name}=${quoted(value)}`)
            .join(', ')}`,
      )
      .join(', ');
    const found = parseChallenges([line]).map(({ scheme, parameters }) => ({ scheme, parameters: Object.entries(parameters) }));
    assert.deepEqual(
      found,
      wanted.map(({ scheme, parameters }) => ({ scheme: scheme.toLowerCase(), parameters: Object.entries(parameters) })),
    );
    return 'taken';
  },
);

fuzz(
  'a challenge in any form is read without an error',
  changedText(
    [
      'Bearer realm="https://auth.lab/token",service="r",scope="repository:a:pull"',
      'Basic realm="x", Bearer realm=y',
      'Negotiate',
    ],
    ['"', '\\', ',', '=', ' ', '\t', 'realm', '__proto__=', 'é', '\u0000', '""', 'Bearer '],
  ),
  async (line) => {
    const found = parseChallenges([line, line]);
    for (const { scheme, parameters } of found) {
      assert.match(scheme, /^[!#$%&'*+\-.^_`|~0-9a-z]+$/);
      assert.equal(Object.getPrototypeOf(parameters), null);
    }
    return found.length === 0 ? 'refused' : 'taken';
  },
);

const answer = (status: number, bytes: Uint8Array, url: URL, headers: Readonly<Record<string, string>> = {}): HttpResponse => ({
  status,
  url,
  header: (name) => headers[name],
  headerLines: (name) => (headers[name] === undefined ? [] : [headers[name]]),
  body: (async function* () {
    yield bytes;
  })(),
  discard: async () => undefined,
});
const NOW = 1_000_000;
const clock = { now: () => NOW, sleep: async () => undefined };
const realm = new URL('https://auth.lab/token');

fuzz(
  'a token answer is refused, or gives a header that is one and an hour that is near',
  changedJsonBytes([
    { token: 'abc.def', expires_in: 300, issued_at: '2026-11-21T08:00:00Z' },
    { access_token: 'x', token: '', refresh_token: 'y', expires_in: '60' },
  ]),
  async (bytes) => {
    const transport = { send: async () => answer(200, bytes, realm), close: async () => undefined };
    const request = { realm, from: undefined, service: 'r', scopes: ['repository:a:pull'], credential: undefined };
    const got = await attempt(() => fetchToken(transport, clock, request), 'E_AUTH', 'E_LIMIT');
    if (got === undefined) return 'refused';
    const { header, issuedAt, expiresAt } = got[0];
    assert.match(header, /^Bearer [\x21-\x7e]+$/);
    assert.ok(issuedAt === NOW && expiresAt > NOW && expiresAt <= NOW + 86_400_000, `${expiresAt}`);
    return 'taken';
  },
);

const endpoint = endpointOf('a.lab', { plainHttp: [] });
fuzz(
  'pages of a list stay on their host, end, and hold tags only',
  fc.tuple(
    fc.array(
      changedText(
        [
          '<https://a.lab/v2/x/tags/list?last=b&n=1000>; rel="next"',
          '</v2/x/tags/list?last=q>;rel=next',
          '<x>; rel=prev, <https://b.lab/y>; title="z"; rel="next"',
        ],
        [
          '<',
          '>',
          ';',
          ',',
          ' ',
          'rel=',
          '"next"',
          'https://b.lab',
          '//b.lab/',
          'file:///etc',
          '\\\\b.lab',
          '..',
          '#',
          '?',
          '\u0000',
          '[',
        ],
      ),
      { maxLength: 3 },
    ),
    changedJsonBytes([
      { name: 'x', tags: ['a', '1.0', 'b'] },
      { name: 'x', tags: null },
    ]),
  ),
  async ([links, body]) => {
    let sent = 0;
    const send = async ({ url = new URL('https://a.lab/') }: { url?: URL | undefined }): Promise<HttpResponse> => {
      assert.ok(url.host === 'a.lab' && url.protocol === 'https:', `led to ${url.href}`);
      const link = links[sent++];
      return answer(200, body, url, link === undefined ? {} : { link });
    };
    const got = await attempt(() => listTags(send, endpoint, 'x'), 'E_REGISTRY', 'E_REDIRECT', 'E_TOO_MANY_PAGES');
    assert.ok(sent <= links.length + 1);
    for (const tag of got?.[0] ?? []) assert.match(tag, /^\w[\w.-]{0,127}$/);
    return got === undefined ? 'refused' : 'taken';
  },
);

// --- credentials: each host gets its own and nobody else's ---

const authOf = (host: string) => ({ auth: Buffer.from(`user:secret of ${host}`).toString('base64') });
const hosts = ['docker.io', 'a.lab', 'a.lab:5000', 'xa.lab', 'a.lab.evil'];
const configs = [
  {
    auths: {
      'https://index.docker.io/v1/': authOf('docker.io'),
      'a.lab': authOf('a.lab'),
      'https://a.lab:5000': authOf('a.lab:5000'),
      'a.lab.evil': {},
    },
  },
  {
    auths: { 'a.lab/team': authOf('a.lab'), 'xa.lab': { username: 'u', password: 'secret of xa.lab' } },
    credHelpers: { 'a.lab.evil': 'store' },
    credsStore: '',
  },
  { auths: { 'docker.io': { identitytoken: 'secret of docker.io' } } },
];

async function found(bytes: Uint8Array, host: string) {
  const store = createCredentialStore(
    memoryFiles(new Map([['/c.json', bytes]])),
    {},
    {
      authFile: '/c.json',
      warn: () => undefined,
      run: async (program, server) => {
        assert.match(program, /^docker-credential-[\w.-]+$/);
        return { code: 0, stdout: JSON.stringify({ Username: 'u', Secret: `secret of ${server}` }) };
      },
    },
  );
  return store.find(host, 'team/x');
}

fuzz(
  'a credentials file is refused, or gives credentials that are text',
  fc.tuple(changedJsonBytes(configs), fc.constantFrom(...hosts)),
  async ([bytes, host]) => {
    const got = await attempt(() => found(bytes, host), 'E_CREDENTIALS_FILE');
    if (got?.[0] === undefined) return 'refused';
    for (const value of Object.values(got[0])) assert.equal(typeof value, 'string');
    return 'taken';
  },
);

fuzz(
  'a host never gets the credentials of another, whatever its name has in common',
  fc.tuple(
    fc.constantFrom(...configs),
    changedText(hosts, ['/', '/v1/', ':', ':5000', '.', 'https://', 'a.lab', '.evil', '@', '?', 'docker.io']),
  ),
  async ([config, host]) => {
    const credential = await found(Buffer.from(JSON.stringify(config)), host);
    if (credential === undefined) return 'refused';
    const secret = credential.kind === 'basic' ? credential.password : credential.token;
    assert.ok(secret === `secret of ${host}`, `${host} got the ${secret}`);
    return 'taken';
  },
);
