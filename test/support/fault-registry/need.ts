/** What a route asks of the caller's rights. */
import { basicUser, granted } from './authorize.ts';
import type { Need } from './challenge.ts';
import type { Exchange } from './exchange.ts';
import type { Route } from './route.ts';
import { allows } from './token-book.ts';

export function needOf(x: Exchange, route: Route): Need {
  if (!('repository' in route)) return { actions: [] };
  const { repository } = route;
  if (x.method === 'DELETE' && route.kind !== 'upload') return { repository, actions: ['delete'] };
  const writes = route.kind === 'upload' || x.method === 'PUT';
  const from = x.query.get('from');
  return {
    repository,
    actions: writes ? ['pull', 'push'] : ['pull'],
    ...(from !== null && x.query.has('mount') ? { from } : {}),
  };
}

/** A further right, without a challenge of its own: for the `from` of a mount. */
export function authorizedFor(x: Exchange, repository: string, action: string): boolean {
  const { auth } = x.world.switches;
  if (auth === 'none') return true;
  const header = x.request.headers.authorization;
  if (auth === 'basic') return granted(x.world, basicUser(x.world, header), repository, [action]).length === 1;
  const token = x.world.tokens.find(/^bearer (.*)$/i.exec(header ?? '')?.[1] ?? '');
  return token !== undefined && allows(token.access, repository, action);
}
