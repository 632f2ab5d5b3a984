/** The 401 in its many forms. */
import type { OutgoingHttpHeaders } from 'node:http';
import { type Exchange, send, sendError, sendJson } from './exchange.ts';

/** What a request needs: none of it for `/v2/`. */
export type Need = Readonly<{ repository?: string; actions: readonly string[]; from?: string }>;

export function realmOf(x: Exchange): string {
  const { urls, switches } = x.world;
  switch (switches.realmHost) {
    case 'same':
      return `${urls.registry}/token`;
    case 'other':
      return `${urls.token}/token`;
    case 'elsewhere':
      return `${urls.elsewhere}/token`;
    case 'private-ip':
      return `${new URL(urls.registry).protocol}//169.254.169.254/latest/token`;
    case 'http':
      return `${urls.plain}/token`;
    case 'file':
      return 'file:///etc/passwd';
  }
}

export const serviceOf = (x: Exchange): string => new URL(x.world.urls.registry).host;

const scopeText = ({ repository, actions }: Need): string => `repository:${repository}:${actions.join(',')}`;

function scopesOf(x: Exchange, need: Need): string | undefined {
  const { challenge, tokenScope } = x.world.switches;
  if (challenge === 'ecrpub') return 'aws';
  if (challenge === 'gitea') return '*';
  if (challenge === 'realm-only') return undefined;
  if (need.repository === undefined) return challenge === 'ghcr' ? 'repository:user/image:pull' : undefined;
  const more = need.from !== undefined && tokenScope === 'space' ? ` repository:${need.from}:pull` : '';
  return scopeText(need) + more;
}

function bearer(x: Exchange, need: Need, error: string | undefined, realm = realmOf(x)): string {
  const { challenge } = x.world.switches;
  const scope = scopesOf(x, need);
  const service = challenge === 'realm-only' || (challenge === 'gar' && need.repository === undefined) ? undefined : serviceOf(x);
  if (challenge === 'escaped') {
    const parts = [
      'odd="a, b=\\"c\\", Basic realm=\\"no\\""',
      `realm="${realm}"`,
      `service="${service}"`,
      ...(scope ? [`scope="${scope}"`] : []),
    ];
    return `bEaReR   ${parts.join(' ,  ')}`;
  }
  const scopePart = scope === undefined ? [] : [challenge === 'unquoted-scope' ? `scope=${scope}` : `scope="${scope}"`];
  const parts = [`realm="${realm}"`, ...(service ? [`service="${service}"`] : []), ...scopePart];
  return `Bearer ${[...parts, ...(error ? [`error="${error}"`] : [])].join(',')}`;
}

/** The WWW-Authenticate lines; undefined: none is sent. */
function challengeLines(x: Exchange, need: Need, error: string | undefined): string[] | undefined {
  const { switches, urls } = x.world;
  const authorization = x.request.headers.authorization;
  if (switches.waMissingOnRepo && need.repository !== undefined) return undefined;
  switch (switches.challenge) {
    case 'nexus':
      return ['BASIC realm="Sonatype Nexus Repository Manager"'];
    case 'ecr':
      return [`Basic realm="${urls.registry}/",service="ecr.amazonaws.com"`];
    case 'harbor-wrong':
      return authorization === undefined ? [bearer(x, need, error)] : ['Basic realm="harbor"'];
    case 'harbor-noproject':
      return authorization === undefined ? [bearer(x, need, error)] : [''];
    case 'gitea':
      return [bearer(x, need, error), 'Basic realm="Gitea Container Registry"'];
    case 'one-line':
      return [`Basic realm="both, really", ${bearer(x, need, error)}`];
    default:
      return [switches.auth === 'basic' ? 'Basic realm="stand-in"' : bearer(x, need, error)];
  }
}

/** 401 with the challenge that this personality has. */
export function challenge(x: Exchange, need: Need, error?: string): undefined {
  const lines = challengeLines(x, need, error);
  const headers: OutgoingHttpHeaders = lines === undefined ? {} : { 'www-authenticate': lines };
  if (x.world.switches.challenge === 'ecr') return send(x, 401, { ...headers, 'content-type': 'text/plain' }, 'Not Authorized\n');
  if (x.world.switches.challenge === 'hub' && need.repository !== undefined) {
    const detail = need.actions.map((Action) => ({ Type: 'repository', Class: '', Name: need.repository, Action }));
    return sendJson(x, 401, { errors: [{ code: 'UNAUTHORIZED', message: 'authentication required', detail }] }, headers);
  }
  sendError(x, 401, 'UNAUTHORIZED', 'authentication required', headers);
}

/** The answer to a token that is not honoured any more, or never was. */
export function refuseToken(x: Exchange, need: Need): undefined {
  switch (x.world.switches.expired) {
    case '400-nowa':
      return sendError(x, 400, 'DENIED', 'Your authorization token has expired. Reauthenticate and try again.');
    case '401-nowa':
      return sendError(x, 401, 'UNAUTHORIZED', 'authentication required');
    case '401-other-realm':
      return sendError(x, 401, 'UNAUTHORIZED', 'authentication required', {
        'www-authenticate': bearer(x, need, 'invalid_token', `${x.world.urls.elsewhere}/token`),
      });
    case '401':
      return challenge(x, need, 'invalid_token');
  }
}

/** For `wa-on-200`: the header that is no challenge. */
export const idleChallenge = (x: Exchange): OutgoingHttpHeaders =>
  x.world.switches.waOn200 ? { 'www-authenticate': bearer(x, { actions: [] }, undefined) } : {};
