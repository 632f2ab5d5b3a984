/** A token service for CNCF distribution's `auth: token`: https://distribution.github.io/distribution/spec/auth/jwt/ */

import { createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto';
import { createServer as createHttpServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { KeyPair } from '../certificates.ts';
import type { Ending } from '../temp-dir.ts';

export type TokenServiceOptions = Readonly<{
  /** Signs the tokens: EC P-256 gives ES256, RSA gives RS256. Its certificate travels in the token; the registry has the CA. */
  signer: KeyPair;
  tls?: KeyPair | undefined;
  service: string;
  issuer: string;
  users: Readonly<Record<string, string>>;
}>;

export type TokenRequest = Readonly<{ method: string; user: string | undefined; granted: boolean; scopes: readonly string[] }>;

export type TokenService = Readonly<{
  /** `https://localhost:4242/token` */
  realm: string;
  host: string;
  /** Every request so far; never a password. */
  requests: readonly TokenRequest[];
}>;

export async function startTokenService(t: Ending, options: TokenServiceOptions): Promise<TokenService> {
  const requests: TokenRequest[] = [];
  const answer: RequestListener = async (request, response) => {
    const asked = await readAsked(request);
    const granted = asked.user !== undefined && options.users[asked.user] === asked.password;
    requests.push({ method: request.method ?? '', user: asked.user, granted, scopes: asked.scopes });
    response.setHeader('content-type', 'application/json');
    if (!granted || asked.service !== options.service) {
      response.statusCode = 401;
      response.end('{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}');
      return;
    }
    const token = signToken(options, asked.user as string, asked.scopes);
    response.end(JSON.stringify({ token, access_token: token, expires_in: 300, issued_at: new Date().toISOString() }));
  };
  const { tls } = options;
  const server = tls === undefined ? createHttpServer(answer) : createHttpsServer({ key: tls.key, cert: tls.cert }, answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  const host = `localhost:${(server.address() as AddressInfo).port}`;
  return { realm: `${tls === undefined ? 'http' : 'https'}://${host}/token`, host, requests };
}

type Asked = Readonly<{
  user: string | undefined;
  password: string | undefined;
  service: string | null;
  scopes: readonly string[];
}>;

/** GET with Basic, or the form of the OAuth2 POST, which some clients prefer. */
async function readAsked(request: IncomingMessage): Promise<Asked> {
  if (request.method === 'POST') {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const form = new URLSearchParams(body);
    const scopes = (form.get('scope') ?? '').split(' ').filter((scope) => scope !== '');
    const of = (name: string): string | undefined => form.get(name) ?? undefined;
    return { user: of('username'), password: of('password'), service: form.get('service'), scopes };
  }
  const query = new URL(request.url ?? '/', 'http://localhost').searchParams;
  const basic = /^Basic (.+)$/.exec(request.headers.authorization ?? '')?.[1];
  const [user, password] = basic === undefined ? [] : splitOnce(Buffer.from(basic, 'base64').toString('utf8'));
  return { user, password, service: query.get('service'), scopes: query.getAll('scope').flatMap((scope) => scope.split(' ')) };
}

const splitOnce = (text: string): [string, string] => {
  const colon = text.indexOf(':');
  return [text.slice(0, colon), text.slice(colon + 1)];
};

const base64Url = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

function signToken(options: TokenServiceOptions, user: string, scopes: readonly string[]): string {
  const key = createPrivateKey(options.signer.key);
  const alg = key.asymmetricKeyType === 'rsa' ? 'RS256' : 'ES256';
  const header = { typ: 'JWT', alg, x5c: [new X509Certificate(options.signer.cert).raw.toString('base64')] };
  const now = Math.floor(Date.now() / 1000);
  const access = scopes.map((scope) => {
    const [type, ...rest] = scope.split(':') as [string, ...string[]];
    return { type, name: rest.slice(0, -1).join(':'), actions: (rest.at(-1) ?? '').split(',') };
  });
  const { issuer, service } = options;
  const claims = { iss: issuer, aud: service, sub: user, jti: randomUUID(), iat: now, nbf: now - 10, exp: now + 300, access };
  const signed = `${base64Url(header)}.${base64Url(claims)}`;
  // RFC 7518 section 3.4: the two numbers side by side, not DER.
  const signature = sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}
