/** One request from arrival to answer. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { authorize } from './authorize.ts';
import { serveBlob } from './blobs.ts';
import { isSigned, serveElsewhere, serveStorage } from './cdn.ts';
import { idleChallenge } from './challenge.ts';
import { type Exchange, Gone, type HostName, type Recorded, send, sendError, type World } from './exchange.ts';
import { type EarlyAction, takeEarly } from './faults.ts';
import { front } from './front.ts';
import { badName, overRate } from './limits.ts';
import { serveCatalog, serveReferrers, serveTags } from './lists.ts';
import { serveManifest } from './manifests.ts';
import { needOf } from './need.ts';
import { putManifest } from './put-manifest.ts';
import { kindOf, type Route, routeOf } from './route.ts';
import { tokenService } from './token-service.ts';
import { continueUpload, startUpload } from './uploads.ts';

function exchangeOf(world: World, at: HostName, request: IncomingMessage, response: ServerResponse): Exchange {
  const rawUrl = request.url ?? '/';
  const url = new URL(`http://host${rawUrl.startsWith('/') ? rawUrl : `/${rawUrl}`}`);
  const path = decodeURIComponent(url.pathname);
  const storageHost = at === 'cdn' || at === 'cdn2' || at === 'plain';
  const record: Recorded = {
    at,
    kind: storageHost && path !== '/token' ? 'blob' : kindOf(path),
    method: request.method ?? '',
    url: rawUrl,
    path,
    query: url.searchParams,
    headers: request.headers,
    host: request.headers.host ?? '',
    bytesReceived: 0,
    bytesSent: 0,
    status: undefined,
    completed: false,
    startedAt: performance.now(),
  };
  world.requests.push(record);
  response.once('close', () => {
    record.completed = response.writableFinished;
  });
  const state = { loseAnswer: false, cutRequestAfter: Number.POSITIVE_INFINITY };
  return { world, at, request, response, record, method: record.method, path, rawUrl, query: url.searchParams, state };
}

/** True: answered, or never to be. */
function strike(x: Exchange, action: EarlyAction | undefined): boolean {
  switch (action?.kind) {
    case 'answer': {
      const body = typeof action.body === 'number' ? Buffer.alloc(action.body, 'filler ') : (action.body ?? '');
      send(x, action.status, { ...action.headers }, body);
      return true;
    }
    case 'redirect':
      send(x, action.status ?? 307, { location: action.to });
      return true;
    case 'hang':
      return true;
    case 'reset':
      x.request.socket.resetAndDestroy();
      return true;
    case 'cut-request':
      x.state.cutRequestAfter = action.after;
      return false;
    case 'lose':
      x.state.loseAnswer = true;
      return false;
    default:
      return false;
  }
}

async function dispatch(x: Exchange, route: Route): Promise<void> {
  switch (route.kind) {
    case 'ping':
      return send(
        x,
        200,
        { 'docker-distribution-api-version': 'registry/2.0', 'content-type': 'application/json', ...idleChallenge(x) },
        '{}',
      );
    case 'manifest':
      return x.method === 'PUT'
        ? putManifest(x, route.repository, route.reference)
        : serveManifest(x, route.repository, route.reference);
    case 'blob':
      return serveBlob(x, route.repository, route.reference);
    case 'upload':
      if (route.session !== undefined) return continueUpload(x, route.repository, route.session);
      return x.method === 'POST' ? startUpload(x, route.repository) : sendError(x, 405, 'UNSUPPORTED');
    case 'tags':
      return serveTags(x, route.repository);
    case 'referrers':
      return serveReferrers(x, route.repository, route.reference);
    case 'catalog':
      return serveCatalog(x);
    default:
      return send(x, 404, { 'content-type': 'text/plain' }, '404 page not found\n');
  }
}

async function serveRegistry(x: Exchange): Promise<void> {
  const route = routeOf(x.path);
  if (isSigned(x)) return serveStorage(x);
  if (route.kind === 'token') return tokenService(x);
  if (await front(x, route)) return;
  if (!authorize(x, needOf(x, route))) return;
  if (badName(x, route) || overRate(x, route)) return;
  await dispatch(x, route);
}

async function serveAt(x: Exchange): Promise<void> {
  if (strike(x, takeEarly(x))) return;
  if (x.at === 'registry') return serveRegistry(x);
  if (x.at === 'token') return x.record.kind === 'token' ? tokenService(x) : send(x, 404);
  if (x.at === 'plain' && x.record.kind === 'token') return tokenService(x);
  // With `other-host-works` the uploads go on there, as they would at a registry behind two names.
  const elsewhereUpload = x.at === 'elsewhere' && x.record.kind === 'upload' && x.world.switches.location === 'other-host-works';
  if (elsewhereUpload) return dispatch(x, routeOf(x.path));
  return x.at === 'elsewhere' ? serveElsewhere(x) : serveStorage(x);
}

/** Never rejects: a fault of the stand-in itself is answered as 500 with its stack, so that a test shows it. */
export async function serve(world: World, at: HostName, request: IncomingMessage, response: ServerResponse): Promise<void> {
  request.on('error', () => undefined);
  response.on('error', () => undefined);
  const x = exchangeOf(world, at, request, response);
  try {
    await world.onRequest?.(x.record);
    await serveAt(x);
  } catch (error) {
    if (error instanceof Gone) return;
    if (response.headersSent) return void request.socket.destroy();
    await delay(0);
    send(x, 500, { 'content-type': 'text/plain' }, `the stand-in failed: ${(error as Error).stack}`);
  }
}
