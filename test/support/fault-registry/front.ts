/** Hosts that stand before another registry: registry.k8s.io, Scarf's, Harbor's project redirect. */
import { type Exchange, send, sendError, wholeBody } from './exchange.ts';
import type { Route } from './route.ts';

const HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'content-length', 'content-encoding', 'host']);

/** lscr.io: everything is asked over there, challenges and redirects come back unchanged. */
async function proxy(x: Exchange): Promise<void> {
  const headers = Object.entries(x.request.headers).flatMap(([name, value]) =>
    HOP.has(name) || value === undefined ? [] : [[name, String(value)] as [string, string]],
  );
  const body = x.method === 'GET' || x.method === 'HEAD' ? null : await wholeBody(x);
  const answer = await fetch(x.world.switches.frontTo + x.rawUrl, { method: x.method, headers, redirect: 'manual', body });
  const back = [...answer.headers].filter(([name]) => !HOP.has(name));
  const length = x.method === 'HEAD' ? { 'content-length': answer.headers.get('content-length') ?? 0 } : {};
  send(x, answer.status, { ...Object.fromEntries(back), ...length }, Buffer.from(await answer.arrayBuffer()));
}

/** True: answered here. */
export async function front(x: Exchange, route: Route): Promise<boolean> {
  const { front: form, frontTo, harborLibrary } = x.world.switches;
  if (harborLibrary === '301' && 'repository' in route && route.repository.split('/').length === 2) {
    const [project, name] = route.repository.split('/') as [string, string];
    send(x, 301, { location: x.rawUrl.replace(`/v2/${project}/${name}/`, `/v2/${project}/library/${name}/`) });
    return true;
  }
  if (form === 'off') return false;
  if (form === 'foreign-realm') await proxy(x);
  else if (form === '307-all') send(x, 307, { location: frontTo + x.rawUrl });
  else if (route.kind === 'ping') send(x, 200, { 'docker-distribution-api-version': 'registry/2.0' });
  else if (x.method !== 'GET' && x.method !== 'HEAD')
    send(x, 405, { 'content-type': 'text/plain' }, 'Only GET and HEAD are allowed.\n');
  else if (route.kind === 'catalog') sendError(x, 404, 'UNSUPPORTED');
  else send(x, 307, { location: frontTo + x.rawUrl.split('?')[0] }, 'Temporary Redirect');
  return true;
}
