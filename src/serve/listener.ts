import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { LIMITS } from '../core/limits.ts';
import { readAll } from '../core/verified.ts';
import { isReading, needsOf } from './access.ts';
import { type Outcome, peerOf, type RequestRecord, type ResponseRecord, reportWhenClosed, requestRecord } from './access-log.ts';
import { type Answer, refusalAnswer, sendAnswer } from './answer.ts';
import type { Authenticator } from './authenticator.ts';
import type { Exchange, Service } from './exchange.ts';
import { handle } from './handle.ts';
import { answerHealth, type Health, healthRoute } from './health.ts';
import { createPipeline } from './pipeline.ts';
import { Refusal, refusalOf } from './refusal.ts';
import { parseTarget } from './route.ts';

export type ListenerOptions = Readonly<{
  service: Service;
  authenticator: Authenticator;
  scheme: 'http' | 'https';
  health?: Health | undefined;
  onRequest?: ((record: RequestRecord) => void) | undefined;
  onResponse?: ((record: ResponseRecord) => void) | undefined;
}>;

/** A client that sent `Expect: 100-continue` holds its body back until it is asked for. */
type Waiting = { asked: boolean };

/** Two listeners over the same handlers: for ordinary requests and for those that wait for a 100. */
export function createListeners(options: ListenerOptions): { request: RequestListener; checkContinue: RequestListener } {
  const serve = (request: IncomingMessage, response: ServerResponse, waiting: Waiting): void => {
    const record = requestRecord(request);
    const outcome: Outcome = { route: undefined, user: undefined, received: 0, sent: 0, error: undefined };
    options.onRequest?.(record);
    if (options.onResponse !== undefined) reportWhenClosed(record, response, outcome, options.onResponse);
    response.setHeader('Docker-Distribution-API-Version', 'registry/2.0');
    exchange(options, request, response, waiting, outcome).catch((error: unknown) => {
      outcome.error = error;
      response.destroy(); // cut off rather than padded: the length promised does not come
    });
  };
  const inTurn = createPipeline();
  return {
    request: (request, response) => inTurn(request, response, () => serve(request, response, { asked: true })),
    checkContinue: (request, response) => inTurn(request, response, () => serve(request, response, { asked: false })),
  };
}

async function exchange(
  options: ListenerOptions,
  request: IncomingMessage,
  response: ServerResponse,
  waiting: Waiting,
  outcome: Outcome,
): Promise<void> {
  const refuse = (error: unknown): Answer => {
    const refusal = refusalOf(error);
    if (refusal.status >= 500) outcome.error = error;
    return refusalAnswer(refusal);
  };
  const answer = await answerTo(options, request, response, waiting, outcome).catch(refuse);
  const send = (what: Answer): Promise<void> =>
    sendAnswer(request, response, what, waiting.asked, (bytes) => {
      outcome.sent += bytes;
    });
  try {
    await send(answer);
  } catch (error) {
    if (response.headersSent || response.destroyed) throw error;
    await send(refuse(error));
  }
}

/** What no client of a registry sends. @throws Refusal 414, 431 */
function checkHead(request: IncomingMessage): void {
  if ((request.url ?? '').length > LIMITS.urlChars)
    throw new Refusal(414, 'UNSUPPORTED', `a request target of more than ${LIMITS.urlChars} characters`);
  if (request.rawHeaders.length > 2 * LIMITS.requestHeaders)
    throw new Refusal(431, 'UNSUPPORTED', `more than ${LIMITS.requestHeaders} header lines`);
}

async function answerTo(
  options: ListenerOptions,
  request: IncomingMessage,
  response: ServerResponse,
  waiting: Waiting,
  outcome: Outcome,
): Promise<Answer> {
  const { authenticator, service } = options;
  checkHead(request);
  const method = request.method ?? 'GET';
  // Whoever watches over a server has no login.
  const health = healthRoute(request.url ?? '/');
  if (health !== undefined) {
    outcome.route = health;
    return answerHealth(options.health, health, method);
  }
  const { route, query } = parseTarget(request.url ?? '/');
  outcome.route = route.kind;
  const body = (): AsyncIterable<Uint8Array> => {
    if (!waiting.asked) response.writeContinue();
    waiting.asked = true;
    return counted(request.iterator({ destroyOnReturn: false }), outcome);
  };
  const { authorization, host } = request.headers;
  const peer = peerOf(request);
  if (route.kind === 'token') return answerToken(authenticator, { method, query, authorization, peer, body });
  const { needed, wanted } = needsOf(route, method, query);
  const base = `${options.scheme}://${/^[\w.:[\]-]{1,255}$/.test(host ?? '') ? host : 'localhost'}`;
  const credentials = { authorization, base, peer };
  // Nobody needs to log in to be told that nothing can be written here.
  const readOnly = service.writing === undefined && !isReading(method);
  const grant = await authenticator.authorize(credentials, readOnly ? [] : needed, wanted);
  outcome.user = grant.user;
  const handled: Exchange = { method, query, headers: request.headers, grant, body };
  return handle(service, handled, route);
}

async function* counted(chunks: AsyncIterable<Uint8Array>, outcome: Outcome): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    outcome.received += chunk.length;
    yield chunk;
  }
}

type TokenCall = Readonly<{
  method: string;
  query: URLSearchParams;
  authorization: string | undefined;
  peer: string;
  body: () => AsyncIterable<Uint8Array>;
}>;

async function answerToken({ tokens }: Authenticator, call: TokenCall): Promise<Answer> {
  const { method, query, authorization, peer, body } = call;
  if (tokens === undefined) throw new Refusal(404, 'UNSUPPORTED', 'there is no token service here');
  if (isReading(method)) return tokens.answer({ fields: query, oauth: false, authorization, peer });
  if (method !== 'POST') throw new Refusal(405, 'UNSUPPORTED', 'GET or POST', { headers: { Allow: 'GET, POST' } });
  const form = await readAll(body(), LIMITS.tokenBytes, 'a token request');
  return tokens.answer({ fields: new URLSearchParams(form.toString('utf8')), oauth: true, authorization, peer });
}
