import { isReading } from './access.ts';
import type { Answer } from './answer.ts';
import type { Exchange, Service, WritingService } from './exchange.ts';
import { deleteBlob, getBlob, ping } from './handle-blobs.ts';
import { listReferrers, listRepositories, listTags } from './handle-discovery.ts';
import { deleteManifest, getManifest, putManifest } from './handle-manifests.ts';
import { deleteUpload, getUpload, patchUpload, postUpload, putUpload } from './handle-uploads.ts';
import { Refusal } from './refusal.ts';
import type { Route } from './route.ts';

const notFound = (): Answer => ({
  status: 404,
  headers: { 'Content-Type': 'text/plain; charset=utf-8' },
  body: Buffer.from('404 page not found\n'),
});

const notAllowed = (allow: string): Refusal =>
  new Refusal(405, 'UNSUPPORTED', 'the operation is not supported here', { headers: { Allow: allow } });

/** One request to one answer. @throws Refusal for everything that distribution-spec has an error code for */
export async function handle(service: Service, exchange: Exchange, route: Route): Promise<Answer> {
  if (isReading(exchange.method)) return read(service, exchange, route);
  if (service.writing === undefined) throw notAllowed('GET, HEAD');
  return change({ ...service, writing: service.writing }, exchange, route);
}

async function read(service: Service, exchange: Exchange, route: Route): Promise<Answer> {
  switch (route.kind) {
    case 'ping':
      return ping();
    case 'blob':
      return getBlob(service, exchange, route);
    case 'manifest':
      return getManifest(service, exchange, route);
    case 'catalog':
      return listRepositories(service, exchange);
    case 'tags':
      return listTags(service, exchange, route.repository);
    case 'referrers':
      return service.referrersApi ? listReferrers(service, exchange, route) : notFound();
    case 'upload':
      if (service.writing === undefined) throw new Refusal(404, 'BLOB_UPLOAD_UNKNOWN', 'nothing can be uploaded here');
      return getUpload({ ...service, writing: service.writing }, route);
    case 'uploads':
      throw notAllowed('POST');
    default:
      return notFound();
  }
}

async function change(service: WritingService, exchange: Exchange, route: Route): Promise<Answer> {
  const { method } = exchange;
  switch (route.kind) {
    case 'none':
      return notFound();
    case 'uploads':
      if (method === 'POST') return postUpload(service, exchange, route.repository);
      throw notAllowed('POST');
    case 'upload':
      if (method === 'PATCH') return patchUpload(service, exchange, route);
      if (method === 'PUT') return putUpload(service, exchange, route);
      if (method === 'DELETE') return deleteUpload(service, route);
      throw notAllowed('GET, PATCH, PUT, DELETE');
    case 'manifest':
      if (method === 'PUT') return putManifest(service, exchange, route);
      if (method === 'DELETE') return deleteManifest(service, route);
      throw notAllowed('GET, HEAD, PUT, DELETE');
    case 'blob':
      if (method === 'DELETE') return deleteBlob(service, route);
      throw notAllowed('GET, HEAD, DELETE');
    default:
      throw notAllowed('GET, HEAD');
  }
}
