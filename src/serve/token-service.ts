import { randomBytes } from 'node:crypto';
import { type Action, type Grant, type Need, parseScope } from './access.ts';
import { type Answer, jsonAnswer } from './answer.ts';
import { type AccessRules, grantOf, isRight, type Login, parseBasic } from './passwords.ts';
import { Refusal } from './refusal.ts';

export type TokenOptions = AccessRules &
  Readonly<{
    lifetimeSeconds?: number;
    /** Default true. A refresh token outlives the password that it was given for, until the server ends. */
    refreshTokens?: boolean;
  }>;

export type TokenRequest = Readonly<{
  /** Query of a GET, or form of a POST (distribution "Token Authentication" and "OAuth2"). */
  fields: URLSearchParams;
  oauth: boolean;
  authorization: string | undefined;
  /** Address of the client. */
  peer: string;
}>;

export type TokenService = ReturnType<typeof createTokenService>;

type Issued = Readonly<{ grant: Grant; expires: number }>;

const TOKENS = 10_000;
/** Actions on repositories in one token. */
const SCOPES = 300;
/** What everybody may do needs no secret and nothing to remember, so that whoever asks without end pushes out nobody's token. */
const ANONYMOUS = 'anonymous';
const newToken = (): string => randomBytes(32).toString('base64url');

/** Hands out random opaque tokens and remembers what each may do: the token service that public registries have beside them. */
export function createTokenService(options: TokenOptions, now: () => number = Date.now) {
  const issued = new Map<string, Issued>();
  const refreshTokens = new Map<string, string>();
  const lifetime = options.lifetimeSeconds ?? 300;

  const remember = (grant: Grant): string => {
    for (const [token, { expires }] of issued) {
      if (expires > now() && issued.size < TOKENS) break; // in order of issue, so the rest is younger
      issued.delete(token);
    }
    const token = newToken();
    issued.set(token, { grant, expires: now() + lifetime * 1000 });
    return token;
  };
  const rememberUser = (user: string): string => {
    const token = newToken();
    if (refreshTokens.size < TOKENS) refreshTokens.set(token, user);
    return token;
  };

  const { refreshTokens: refreshing = true } = options;

  return {
    /** @throws Refusal 401 UNAUTHORIZED, 429 TOOMANYREQUESTS */
    async answer(request: TokenRequest): Promise<Answer> {
      const { fields, oauth } = request;
      const refresh = oauth ? fields.get('refresh_token') : null;
      const user = refresh === null ? await userOf(options, request) : refreshTokens.get(refresh);
      if (user === undefined && (refresh !== null || options.anonymousPull !== true)) throw badLogin();
      const grant = grantOf(options, user);
      const token = user === undefined ? ANONYMOUS : remember(scopedGrant(grant, fields.getAll('scope')));
      const offline = fields.get('offline_token') === 'true' || fields.get('access_type') === 'offline';
      return jsonAnswer({
        token,
        access_token: token,
        expires_in: lifetime,
        issued_at: new Date(now()).toISOString(),
        ...(refreshing && offline && user !== undefined ? { refresh_token: rememberUser(user) } : {}),
      });
    },
    /** undefined when the token was never issued here or has expired. */
    grantOf(token: string): Grant | undefined {
      if (token === ANONYMOUS && options.anonymousPull === true) return grantOf(options, undefined);
      const found = issued.get(token);
      return found !== undefined && found.expires > now() ? found.grant : undefined;
    },
  };
}

/** undefined for one who gave no credentials. @throws Refusal 401 for wrong ones */
async function userOf(rules: AccessRules, { fields, oauth, authorization, peer }: TokenRequest): Promise<string | undefined> {
  const login = oauth ? formLogin(fields) : parseBasic(authorization);
  if (login === undefined && authorization === undefined) return undefined;
  if (login === undefined || !(await isRight(rules, login, peer))) throw badLogin();
  return login.user;
}

/** What was asked for, as far as the user may. */
function scopedGrant(whole: Grant, scopes: readonly string[]): Grant {
  const asked = scopes.flatMap(parseScope).slice(0, SCOPES);
  const granted = new Set(asked.filter((need) => whole.may(need.repository, need.action)).map(keyOf));
  const may = (repository: string, action: Action): boolean => granted.has(keyOf({ repository, action }));
  return { may, everywhere: false, ...(whole.user === undefined ? {} : { user: whole.user }) };
}

const keyOf = (need: Need): string => `${need.action} ${need.repository}`;

function formLogin(fields: URLSearchParams): Login | undefined {
  const [user, password] = [fields.get('username'), fields.get('password')];
  return fields.get('grant_type') === 'password' && user !== null && password !== null ? { user, password } : undefined;
}

const badLogin = (): Refusal =>
  new Refusal(401, 'UNAUTHORIZED', 'user name or password is wrong or missing', {
    headers: { 'WWW-Authenticate': 'Basic realm="token service"' },
  });
