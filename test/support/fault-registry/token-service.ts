/** The realm: gives tokens for scopes (distribution docs/content/spec/auth/token.md, oauth.md). */
import { basicUser, granted, sees } from './authorize.ts';
import { contentOf, deliver } from './deliver.ts';
import { type Exchange, sendError, type World, wholeBody } from './exchange.ts';
import { type Access, EVERYTHING } from './token-book.ts';

type Asked = { user: string | undefined; refused: boolean; scopes: string[]; wantsRefresh: boolean };

const splitScopes = (values: readonly string[]): string[] =>
  values.flatMap((value) => value.split(' ')).filter((scope) => scope !== '');

function fromGet(x: Exchange): Asked {
  const header = x.request.headers.authorization;
  const user = basicUser(x.world, header);
  const scopes = splitScopes(x.query.getAll('scope'));
  return {
    user,
    refused: header !== undefined && user === undefined,
    scopes,
    wantsRefresh: x.query.get('offline_token') === 'true',
  };
}

async function fromPost(x: Exchange): Promise<Asked> {
  const form = new URLSearchParams((await wholeBody(x)).toString());
  const scopes = splitScopes(form.getAll('scope'));
  const { users } = x.world;
  const byRefresh = (): string | undefined =>
    Object.keys(users).find(
      (name) => users[name]?.identityToken !== undefined && users[name].identityToken === form.get('refresh_token'),
    );
  const byPassword = (): string | undefined => {
    const name = form.get('username') ?? '';
    return users[name]?.password === form.get('password') ? name : undefined;
  };
  const user = form.get('grant_type') === 'refresh_token' ? byRefresh() : byPassword();
  return { user, refused: user === undefined, scopes, wantsRefresh: form.get('access_type') === 'offline' };
}

type Scope = Readonly<{ repository: string; actions: string[] }>;

function parseScope(scope: string): Scope | undefined {
  const match = /^repository:(.+):([a-z*,]*)$/.exec(scope);
  return match ? { repository: match[1] as string, actions: (match[2] as string).split(',') } : undefined;
}

/** Everything that the caller may do anywhere: for services whose scopes say nothing. */
function everything(world: World, user: string | undefined): Access {
  const actions = granted(world, user, EVERYTHING, ['pull', 'push', 'delete']);
  return new Map([[EVERYTHING, new Set(actions)]]);
}

/** A refusal has been sent when undefined comes back. */
function accessFor(x: Exchange, asked: Asked): Access | undefined {
  const { switches, storage } = x.world;
  if (['ecrpub', 'gitea', 'realm-only'].includes(switches.challenge)) return everything(x.world, asked.user);
  const access = new Map<string, Set<string>>();
  const parsed = asked.scopes.map(parseScope).filter((scope) => scope !== undefined);
  for (const { repository, actions } of switches.tokenScope === 'first-only' ? parsed.slice(0, 1) : parsed) {
    if (switches.tokenScope === 'no-delete' && actions.includes('delete')) {
      sendError(x, 400, 'INVALID_REQUEST', 'the scope can be pull, push or *');
      return undefined;
    }
    if (switches.tokenPushAnon === '403' && asked.user === undefined && actions.includes('push')) {
      sendError(x, 403, 'DENIED', 'requested access to the resource is denied');
      return undefined;
    }
    if (actions.includes('push') && asked.user !== undefined && switches.repo === 'create-on-token')
      storage.repository(repository);
    const known = storage.find(repository) !== undefined && sees(x.world, asked.user, repository);
    const forPulling = !actions.includes('push');
    if (!known && forPulling && (switches.missing === 'token-401' || switches.missing === 'token-403')) {
      const status = switches.missing === 'token-401' ? 401 : 403;
      sendError(x, status, 'DENIED', 'Unauthenticated requests do not have permission to it (or it may not exist)');
      return undefined;
    }
    const hidden = !known && forPulling && switches.missing === '401-insufficient';
    access.set(repository, new Set(hidden ? [] : granted(x.world, asked.user, repository, actions)));
  }
  return access;
}

/** Answers a request for a token, on whatever host it arrived. */
export async function tokenService(x: Exchange): Promise<void> {
  const { switches, tokens, users } = x.world;
  if (x.method === 'POST' && switches.tokenMethod !== 'any') {
    return sendError(x, switches.tokenMethod === 'get-only' ? 405 : 404, 'UNSUPPORTED', 'no such method here');
  }
  const asked = x.method === 'POST' ? await fromPost(x) : fromGet(x);
  if (asked.refused)
    return sendError(
      x,
      Number(switches.staleCreds),
      switches.staleCreds === '403' ? 'DENIED' : 'UNAUTHORIZED',
      'wrong credentials',
    );
  if (asked.user === undefined && !switches.anonymousPull) return sendError(x, 401, 'UNAUTHORIZED', 'log in first');
  const access = accessFor(x, asked);
  if (access === undefined) return;
  const token = tokens.issue(asked.user, access, switches.tokenLifeMs);
  const field = switches.tokenField;
  const refresh = asked.wantsRefresh && asked.user ? users[asked.user]?.identityToken : undefined;
  const body = {
    ...(field === 'access_token' ? {} : { token }),
    ...(field === 'token' ? {} : { access_token: token }),
    ...(switches.tokenExpiry === 'none' ? {} : { expires_in: switches.tokenExpiry, issued_at: new Date().toISOString() }),
    ...(refresh ? { refresh_token: refresh } : {}),
  };
  const type = field === 'text-type' ? 'text/html; charset=ISO-8859-1' : 'application/json';
  await deliver(x, 200, { 'content-type': type }, contentOf(JSON.stringify(body)));
}
