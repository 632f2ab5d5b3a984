/** Rate limits and rules about names, which stand before the work itself. */
import { type Exchange, send, sendError, sendJson } from './exchange.ts';
import type { Route } from './route.ts';

const HUB_MESSAGE = 'You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit';

/** True: refused, and answered. */
export function overRate(x: Exchange, route: Route): boolean {
  const { switches } = x.world;
  if (switches.rate === 'none' || route.kind !== 'manifest') return false;
  // Docker Hub counts GET, not HEAD, and tells the figures on both.
  if (x.method === 'GET') x.world.manifestGets++;
  const remaining = Math.max(0, switches.rateLimit - x.world.manifestGets);
  if (switches.rate.startsWith('hub')) {
    x.response.setHeader('ratelimit-limit', `${switches.rateLimit};w=21600`);
    x.response.setHeader('ratelimit-remaining', `${remaining};w=21600`);
    x.response.setHeader('docker-ratelimit-source', '192.0.2.1');
  }
  if (x.method !== 'GET' || x.world.manifestGets <= switches.rateLimit) return false;
  refuse(x);
  return true;
}

function refuse(x: Exchange): undefined {
  const { rate, retryAfter } = x.world.switches;
  if (rate === 'hub-429-json') return sendJson(x, 429, { errors: [{ code: 'TOOMANYREQUESTS', message: HUB_MESSAGE }] });
  if (rate === 'hub-429-text') return send(x, 429, { 'content-type': 'text/plain' }, HUB_MESSAGE);
  if (rate === '429-retry-after') return sendError(x, 429, 'TOOMANYREQUESTS', 'slow down', { 'retry-after': retryAfter });
  if (rate === '503-egress') return send(x, 503, { 'content-type': 'text/plain' }, 'Egress is over the account limit.');
  send(x, 429, { 'content-type': 'text/plain' }, 'Too Many Requests\n');
}

/** True: the name is not one that this registry has, and that was said. */
export function badName(x: Exchange, route: Route): boolean {
  if (!('repository' in route)) return false;
  const { repo } = x.world.switches;
  const { repository } = route;
  const segments = repository.split('/').length;
  const refused = (repo === 'two-segments' && segments !== 2) || (repo === 'no-nested' && segments > 2);
  if (refused) sendError(x, 400, 'NAME_INVALID', `invalid repository name ${repository}`);
  else if (repo === 'must-exist' && x.world.storage.find(repository) === undefined) {
    const message = `The repository with name '${repository}' does not exist in the registry with id '123456789012'`;
    sendError(x, 404, 'NAME_UNKNOWN', message);
  } else return false;
  return true;
}
