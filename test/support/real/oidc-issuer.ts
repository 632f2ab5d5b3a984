/** An OpenID Connect issuer, as much of it as Fulcio asks for: discovery, keys, and tokens that a test mints itself. */

import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Ending } from '../temp-dir.ts';

export type TokenClaims = Readonly<{
  /** Whom Fulcio's certificate names. Default `dev@example.test`. */
  email?: string;
  /** Names a program instead of a person, by a path of the URL: `org/app/.github/workflows/release.yaml@refs/tags/v1`. */
  workflow?: string;
  /** Default `sigstore`, the only one that Fulcio takes. */
  audience?: string;
  verified?: boolean;
  /** Seconds from now; negative: it has expired. Default 300. */
  expiresIn?: number;
}>;

export type OidcIssuer = Readonly<{
  /** `http://127.0.0.1:4242`, and the claim `iss` of people's tokens. */
  url: string;
  /** `http://127.0.0.1:4242/workflows`, the claim `iss` of programs' tokens: Fulcio knows each issuer as of one kind. */
  workflowsUrl: string;
  token(claims?: TokenClaims): string;
  stop(): Promise<void>;
}>;

export const DEFAULT_EMAIL = 'dev@example.test';
const KEY_ID = 'test';
const WORKFLOWS = '/workflows';
const DISCOVERY = '/.well-known/openid-configuration';

const base64Url = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Who it is, in the claims that Fulcio reads for an issuer of this kind. */
function subjectOf(
  url: string,
  { email = DEFAULT_EMAIL, workflow, verified = true }: TokenClaims,
): Readonly<Record<string, unknown>> {
  if (workflow !== undefined) return { iss: `${url}${WORKFLOWS}`, sub: `${url}/${workflow}` };
  return { iss: url, sub: email, email, email_verified: verified };
}

function mint(key: KeyObject, url: string, claims: TokenClaims): string {
  const { audience = 'sigstore', expiresIn = 300 } = claims;
  const now = Math.floor(Date.now() / 1000);
  const times = { iat: now - 10, nbf: now - 10, exp: now + expiresIn };
  const body = { ...subjectOf(url, claims), aud: audience, ...times };
  const signed = `${base64Url({ alg: 'RS256', typ: 'JWT', kid: KEY_ID })}.${base64Url(body)}`;
  return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
}

/** https://openid.net/specs/openid-connect-discovery-1_0.html section 3: all that is REQUIRED there. */
const discovery = (issuer: string): unknown => ({
  issuer,
  jwks_uri: `${issuer}/keys`,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: `${issuer}/token`,
  response_types_supported: ['id_token'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['RS256'],
});

export async function startOidcIssuer(t: Ending): Promise<OidcIssuer> {
  const pair = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'jwk' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const key = createPrivateKey(pair.privateKey);
  const jwk = { ...pair.publicKey, kid: KEY_ID, alg: 'RS256', use: 'sig' };
  let url = '';
  const answer: RequestListener = (request, response) => {
    const path = request.url ?? '';
    const body = path.endsWith(DISCOVERY)
      ? discovery(url + path.slice(0, -DISCOVERY.length))
      : path.endsWith('/keys')
        ? { keys: [jwk] }
        : undefined;
    response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body ?? { error: 'not found' }));
  };
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  t.after(stop);
  return { url, workflowsUrl: `${url}${WORKFLOWS}`, token: (claims = {}) => mint(key, url, claims), stop };
}
