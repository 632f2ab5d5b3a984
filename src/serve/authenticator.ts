import { formatScope, type Grant, type Need, UNLIMITED } from './access.ts';
import { type AccessRules, grantOf, isRight, parseBasic } from './passwords.ts';
import { Refusal } from './refusal.ts';
import { createTokenService, type TokenOptions, type TokenService } from './token-service.ts';

/**
 * - `basic`: HTTP Basic alone, as CNCF distribution with htpasswd.
 * - `bearer`: tokens alone, as the public registries.
 * - `mixed`: Basic, or tokens, or for pulls nothing at all. A ping without credentials is answered 401 all the same: docker, podman and skopeo
 *   learn from it alone how to log in, and of the challenges that they know only Bearer lets them go on without a login.
 */
export type AuthOptions =
  | (AccessRules & Readonly<{ kind: 'basic' }>)
  | (TokenOptions &
      Readonly<{
        kind: 'bearer' | 'mixed';
        service?: string;
        /** URL of another token service; default: `/token` here */
        realm?: string;
      }>);

export type Credentials = Readonly<{
  authorization: string | undefined;
  /** `http://host:port` as the client dialled it: where it finds the token service. */
  base: string;
  /** Address of the client. */
  peer: string;
}>;

/** @throws Refusal 401 with the challenge, 403 when the user is known but may not, 429 when too many log in */
type Authorize = (credentials: Credentials, needed: readonly Need[], wanted: readonly Need[]) => Promise<Grant>;

export type Authenticator = Readonly<{ authorize: Authorize; tokens?: TokenService }>;

export function createAuthenticator(auth: AuthOptions | undefined, now?: () => number): Authenticator {
  if (auth === undefined) return { authorize: async () => UNLIMITED };
  return auth.kind === 'basic' ? { authorize: basicAuthorizer(auth) } : tokenAuthenticator(auth, now);
}

const has = (grant: Grant, needed: readonly Need[]): boolean => needed.every((need) => grant.may(need.repository, need.action));

const denied = (needed: readonly Need[]): Refusal =>
  new Refusal(403, 'DENIED', 'this user may not do that here', { detail: needed });

const wrongLogin = (headers: Record<string, string>): Refusal =>
  new Refusal(401, 'UNAUTHORIZED', 'user name or password is wrong', { headers });

function basicAuthorizer(rules: AccessRules): Authorize {
  const headers = { 'WWW-Authenticate': 'Basic realm="registry"' };
  return async ({ authorization, peer }, needed) => {
    const login = parseBasic(authorization);
    if (authorization !== undefined && (login === undefined || !(await isRight(rules, login, peer)))) throw wrongLogin(headers);
    const grant = grantOf(rules, login?.user);
    const required = new Refusal(401, 'UNAUTHORIZED', 'authentication required', { headers });
    if (login === undefined && rules.anonymousPull !== true) throw required;
    if (has(grant, needed)) return grant;
    throw login === undefined ? required : denied(needed);
  };
}

function tokenAuthenticator(auth: AuthOptions & { kind: 'bearer' | 'mixed' }, now?: () => number): Authenticator {
  const tokens = createTokenService(auth, now);
  const challenge = (base: string, wanted: readonly Need[], error: string | undefined): Refusal => {
    const parameters = [
      `realm="${auth.realm ?? `${base}/token`}"`,
      `service="${auth.service ?? 'registry'}"`,
      ...(wanted.length === 0 ? [] : [`scope="${formatScope(wanted)}"`]),
      ...(error === undefined ? [] : [`error="${error}"`]),
    ];
    return new Refusal(401, 'UNAUTHORIZED', error ?? 'authentication required', {
      headers: { 'WWW-Authenticate': `Bearer ${parameters.join(',')}` },
    });
  };
  const withoutToken = async (credentials: Credentials, needed: readonly Need[], wanted: readonly Need[]): Promise<Grant> => {
    const { authorization, base, peer } = credentials;
    const required = challenge(base, wanted, undefined);
    if (auth.kind === 'bearer') throw required;
    const login = parseBasic(authorization);
    if (login !== undefined && !(await isRight(auth, login, peer)))
      throw wrongLogin({ ...(required.headers as Record<string, string>) });
    if (login === undefined && (authorization !== undefined || needed.length === 0)) throw required;
    const grant = grantOf(auth, login?.user);
    if (has(grant, needed)) return grant;
    throw login === undefined ? required : denied(needed);
  };
  return {
    tokens,
    async authorize(credentials, needed, wanted) {
      const { authorization, base } = credentials;
      const token = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
      if (token === undefined) return withoutToken(credentials, needed, wanted);
      const grant = tokens.grantOf(token);
      if (grant === undefined) throw challenge(base, wanted, 'invalid_token');
      if (!has(grant, needed)) throw challenge(base, wanted, 'insufficient_scope');
      return grant;
    },
  };
}
