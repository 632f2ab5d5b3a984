import { formatScope, type Grant, type Need, UNLIMITED } from './access.ts';
import { type AccessRules, grantOf, isKnown, parseBasic } from './passwords.ts';
import { Refusal } from './refusal.ts';
import { createTokenService, type TokenOptions } from './token-service.ts';

export type AuthOptions =
  | (AccessRules & Readonly<{ kind: 'basic' }>)
  | (TokenOptions &
      Readonly<{ kind: 'bearer'; service?: string /** URL of another token service; default: `/token` here */; realm?: string }>);

export type Credentials = Readonly<{
  authorization: string | undefined;
  /** `http://host:port` as the client dialled it: where it finds the token service. */
  base: string;
}>;

/** @throws Refusal 401 with the challenge, 403 when the user is known but may not */
type Authorize = (credentials: Credentials, needed: readonly Need[], wanted: readonly Need[]) => Grant;

export type Authenticator = Readonly<{ authorize: Authorize; tokens?: ReturnType<typeof createTokenService> }>;

export function createAuthenticator(auth: AuthOptions | undefined, now?: () => number): Authenticator {
  if (auth === undefined) return { authorize: () => UNLIMITED };
  return auth.kind === 'basic' ? { authorize: basicAuthorizer(auth) } : bearerAuthenticator(auth, now);
}

const has = (grant: Grant, needed: readonly Need[]): boolean => needed.every((need) => grant.may(need.repository, need.action));

function basicAuthorizer(rules: AccessRules): Authorize {
  const challenge = { headers: { 'WWW-Authenticate': 'Basic realm="registry"' } };
  return ({ authorization }, needed) => {
    const login = parseBasic(authorization);
    if (authorization !== undefined && (login === undefined || !isKnown(rules, login))) {
      throw new Refusal(401, 'UNAUTHORIZED', 'user name or password is wrong', challenge);
    }
    const grant = grantOf(rules, login?.user);
    if (login === undefined && rules.anonymousPull !== true)
      throw new Refusal(401, 'UNAUTHORIZED', 'authentication required', challenge);
    if (has(grant, needed)) return grant;
    if (login === undefined) throw new Refusal(401, 'UNAUTHORIZED', 'authentication required', challenge);
    throw new Refusal(403, 'DENIED', 'this user may not do that here', { detail: needed });
  };
}

function bearerAuthenticator(auth: AuthOptions & { kind: 'bearer' }, now?: () => number): Authenticator {
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
  return {
    tokens,
    authorize({ authorization, base }, needed, wanted) {
      const token = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
      if (token === undefined) throw challenge(base, wanted, undefined);
      const grant = tokens.grantOf(token);
      if (grant === undefined) throw challenge(base, wanted, 'invalid_token');
      if (!has(grant, needed)) throw challenge(base, wanted, 'insufficient_scope');
      return grant;
    },
  };
}
