import { randomBytes } from 'node:crypto';
import { type Grant, type Need, parseScope } from './access.ts';
import { type Answer, jsonAnswer } from './answer.ts';
import { type AccessRules, grantOf, isKnown, type Login, parseBasic } from './passwords.ts';
import { Refusal } from './refusal.ts';

export type TokenOptions = AccessRules & Readonly<{ lifetimeSeconds?: number }>;

export type TokenRequest = Readonly<{
  /** Query of a GET, or form of a POST (distribution "Token Authentication" and "OAuth2"). */
  fields: URLSearchParams;
  oauth: boolean;
  authorization: string | undefined;
}>;

type Issued = Readonly<{ grant: Grant; expires: number }>;

const TOKENS = 10_000;
const SCOPES = 100;
const newToken = (): string => randomBytes(32).toString('base64url');

/** Hands out random opaque tokens and remembers what each may do: the token service that public registries have beside them. */
export function createTokenService(options: TokenOptions, now: () => number = Date.now) {
  const issued = new Map<string, Issued>();
  const refreshTokens = new Map<string, string>();
  const lifetime = options.lifetimeSeconds ?? 300;

  const userOf = (request: TokenRequest): string | undefined => {
    const refresh = request.oauth ? request.fields.get('refresh_token') : null;
    if (refresh !== null) {
      const user = refreshTokens.get(refresh);
      if (user === undefined) throw badLogin();
      return user;
    }
    const login = request.oauth ? formLogin(request.fields) : parseBasic(request.authorization);
    if (login === undefined && request.authorization === undefined) return undefined;
    if (login === undefined || !isKnown(options, login)) throw badLogin();
    return login.user;
  };

  const remember = (needs: readonly Need[], user: string | undefined): string => {
    for (const [token, { expires }] of issued) {
      if (expires > now() && issued.size < TOKENS) break; // in order of issue, so the rest is younger
      issued.delete(token);
    }
    const whole = grantOf(options, user);
    const granted = new Set(needs.filter((need) => whole.may(need.repository, need.action)).map(keyOf));
    const grant = {
      may: (repository: string, action: Need['action']) => granted.has(keyOf({ repository, action })),
      everywhere: false,
    };
    const token = newToken();
    issued.set(token, { grant, expires: now() + lifetime * 1000 });
    return token;
  };

  return {
    /** @throws Refusal 401 UNAUTHORIZED */
    answer(request: TokenRequest): Answer {
      const user = userOf(request);
      if (user === undefined && options.anonymousPull !== true) throw badLogin();
      const needs = request.fields
        .getAll('scope')
        .flatMap(parseScope)
        .slice(0, SCOPES * 3);
      const token = remember(needs, user);
      const offline = request.fields.get('offline_token') === 'true' || request.fields.get('access_type') === 'offline';
      const refresh = offline && user !== undefined ? newToken() : undefined;
      if (refresh !== undefined && refreshTokens.size < TOKENS) refreshTokens.set(refresh, user as string);
      return jsonAnswer({
        token,
        access_token: token,
        expires_in: lifetime,
        issued_at: new Date(now()).toISOString(),
        ...(refresh === undefined ? {} : { refresh_token: refresh }),
      });
    },
    /** undefined when the token was never issued here or has expired. */
    grantOf(token: string): Grant | undefined {
      const found = issued.get(token);
      return found !== undefined && found.expires > now() ? found.grant : undefined;
    },
  };
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
