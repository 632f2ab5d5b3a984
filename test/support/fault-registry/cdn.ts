/** Storage behind the redirect: signed URLs, and hosts that answer 400 to a header of ours (public-registries.md section 2). */
import { randomBytes } from 'node:crypto';
import { shownContent } from './blobs.ts';
import { type Exchange, type HostName, type SignedUrl, send, sendError } from './exchange.ts';
import { deliverRange } from './range.ts';

const HTML = '<html><body>You are being redirected. <a href="#">click here</a></body></html>\n';

/** Signs a target on `host`; the storage honours exactly this spelling of it, and nowhere else. */
function sign(x: Exchange, host: HostName, target: Omit<SignedUrl, 'until'>): string {
  const { world } = x;
  const nonce = randomBytes(12).toString('hex');
  const hex = target.digest.slice(7);
  // Doubled slashes and upper- and lower-case escapes are as found in the field: a client that tidies up breaks the signature.
  const path =
    target.dialect === 'azure'
      ? `/ghcr1//docker/registry/v2/blobs/${hex}?se=2030-01-01T00%3a00%3A00Z&sig=${nonce}%2F%2b%3D&sp=r&spr=https&sr=b&sv=2019-12-12`
      : target.dialect === 's3'
        ? `/containers/images/${target.digest}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=1200&X-Amz-SignedHeaders=host&X-Amz-Signature=${nonce}`
        : `/artifacts-downloads/namespaces/p/repositories/r/downloads/${nonce}${'A'.repeat(900)}==`;
  world.signed.set(`${host} ${path}`, { ...target, until: performance.now() + world.switches.urlTtlMs });
  return path;
}

/** Answers a blob request with the redirect that this personality uses. */
export function redirectToStorage(x: Exchange, repository: string, digest: string): undefined {
  const { world } = x;
  const { blob, cdn } = world.switches;
  const host: HostName = cdn === 'alternate' && ++world.serial % 2 === 0 ? 'cdn2' : 'cdn';
  const to = (name: HostName, dialect: SignedUrl['dialect']): string =>
    `${world.urls[name]}${sign(x, name, { repository, digest, dialect })}`;
  const redirect = (status: number, location: string, more: Record<string, string> = {}, body = ''): undefined =>
    send(x, status, { location, 'docker-content-digest': digest, ...more }, body);
  switch (blob) {
    case '307-azure':
      return redirect(307, to(host, 'azure'));
    case '302-relative':
      return redirect(302, sign(x, 'registry', { repository, digest, dialect: 'open' }));
    case '302-html-cached':
      return redirect(302, to(host, 's3'), { 'cache-control': 'max-age=31536000', 'content-type': 'text/html' }, HTML);
    case '307-http':
      return redirect(307, to('plain', 's3'));
    case '307-private-ip':
      return redirect(307, `${new URL(world.urls.registry).protocol}//169.254.169.254/latest/meta-data/`);
    case '307-foreign-401':
      return redirect(307, `${world.urls.elsewhere}/challenge/${digest}`);
    case '307-there-and-back':
      return redirect(307, `${world.urls.elsewhere}/back${x.rawUrl}`);
    case 'ring':
      return redirect(307, x.rawUrl);
    case 'ring-hosts':
      return redirect(307, `${world.urls.elsewhere}/ring${x.rawUrl}`);
    default:
      return redirect(307, to(host, 's3'));
  }
}

const xml = (x: Exchange, status: number, code: string, message: string, more = ''): undefined =>
  send(
    x,
    status,
    { 'content-type': 'application/xml' },
    `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message>${more}</Error>`,
  );

function refuseHeader(x: Exchange, dialect: SignedUrl['dialect']): undefined {
  if (dialect === 'azure') {
    return xml(x, 400, 'InvalidAuthenticationInfo', 'Authentication information is not given in the correct format.');
  }
  xml(
    x,
    400,
    'InvalidArgument',
    'Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter should be specified',
    '<ArgumentName>Authorization</ArgumentName>',
  );
}

export const isSigned = (x: Exchange): boolean => x.world.signed.has(`${x.at} ${x.rawUrl}`);

/** A storage host: knows signed URLs and nothing else. */
export async function serveStorage(x: Exchange): Promise<void> {
  const signed = x.world.signed.get(`${x.at} ${x.rawUrl}`);
  if (signed === undefined) return xml(x, 403, 'SignatureDoesNotMatch', 'The request signature does not match');
  if (x.request.headers.authorization !== undefined && signed.dialect !== 'open') return refuseHeader(x, signed.dialect);
  if (x.method !== 'GET') return xml(x, 403, 'AccessDenied', 'Signed for GET only');
  if (signed.until <= performance.now()) return xml(x, 403, 'AccessDenied', 'Request has expired');
  const blob = x.world.storage.blob(signed.repository, signed.digest);
  if (blob === undefined) return xml(x, 404, 'NoSuchKey', 'The specified key does not exist.');
  const encoding = x.world.switches.contentEncoding === 'gzip' ? { 'content-encoding': 'gzip' } : {};
  await deliverRange(x, { 'content-type': 'binary/octet-stream', etag: '"0"', ...encoding }, shownContent(x, blob));
}

/** The host that nobody should trust: sends callers back, round, or asks them for a password. */
export function serveElsewhere(x: Exchange): undefined {
  const { urls } = x.world;
  if (x.path.startsWith('/back/')) return send(x, 302, { location: `${urls.registry}${x.rawUrl.slice('/back'.length)}` });
  if (x.path.startsWith('/ring/')) return send(x, 307, { location: `${urls.registry}${x.rawUrl.slice('/ring'.length)}` });
  if (x.path === '/token') return sendError(x, 403, 'DENIED', 'anonymous access is not possible');
  sendError(x, 401, 'UNAUTHORIZED', 'tell me your password', {
    'www-authenticate': [
      `Bearer realm="${urls.elsewhere}/token",service="elsewhere",scope="repository:x:pull"`,
      'Basic realm="elsewhere"',
    ],
  });
}
