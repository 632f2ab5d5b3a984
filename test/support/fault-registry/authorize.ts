/** Who is asking, and may they? */
import { challenge, type Need, refuseToken } from './challenge.ts';
import { type Exchange, sendError, type World } from './exchange.ts';
import { allows } from './token-book.ts';

/** undefined: no or wrong Basic credentials. */
export function basicUser(world: World, header: string | undefined): string | undefined {
  const encoded = /^basic (.*)$/i.exec(header ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const [name = '', ...rest] = Buffer.from(encoded, 'base64').toString().split(':');
  return world.users[name]?.password === rest.join(':') ? name : undefined;
}

/** May this caller see the repository at all? */
export const sees = (world: World, user: string | undefined, repository: string): boolean =>
  user !== undefined || (world.switches.anonymousPull && !world.switches.privateRepositories.includes(repository));

/** The actions of those asked that the caller gets. */
export function granted(world: World, user: string | undefined, repository: string, actions: readonly string[]): string[] {
  const name = user === undefined ? undefined : world.users[user];
  return actions.filter((action) =>
    action === 'pull' ? sees(world, user, repository) : name !== undefined && name.push !== false,
  );
}

function authorizeBasic(x: Exchange, need: Need): boolean {
  const header = x.request.headers.authorization;
  const user = basicUser(x.world, header);
  // A wrong password is refused even where no password is needed: that is what makes stale credentials hurt.
  if (header !== undefined && user === undefined) return refuse(() => challenge(x, need));
  const { repository } = need;
  if (repository === undefined) return user !== undefined || x.world.switches.anonymousPull || refuse(() => challenge(x, need));
  if (granted(x.world, user, repository, need.actions).length === need.actions.length) return true;
  if (user === undefined) return refuse(() => challenge(x, need));
  return refuse(() => sendError(x, 403, 'DENIED', 'requested access to the resource is denied'));
}

function authorizeBearer(x: Exchange, need: Need): boolean {
  const value = /^bearer (.*)$/i.exec(x.request.headers.authorization ?? '')?.[1];
  if (value === undefined) return refuse(() => challenge(x, need));
  const token = x.world.tokens.find(value);
  if (token === undefined) return refuse(() => refuseToken(x, need));
  const { repository } = need;
  if (repository === undefined || need.actions.every((action) => allows(token.access, repository, action))) return true;
  return refuse(() => challenge(x, need, 'insufficient_scope'));
}

const refuse = (answer: () => undefined): false => {
  answer();
  return false;
};

/** True: go on. False: the refusal has been sent. */
export function authorize(x: Exchange, need: Need): boolean {
  const { auth, authLoop, challenge: form } = x.world.switches;
  if (auth === 'none') return true;
  if (authLoop) return refuse(() => challenge(x, need));
  return auth === 'basic' || form === 'nexus' || form === 'ecr' ? authorizeBasic(x, need) : authorizeBearer(x, need);
}
