/** Tags, referrers, catalogue: lists with pages. */
import { digestOfBytes } from '../random-image.ts';
import { contentOf, deliver } from './deliver.ts';
import { type Exchange, send, sendError, sendJson } from './exchange.ts';
import type { Repository } from './storage.ts';

const link = (target: string): Record<string, string> => ({ link: `<${target}>; rel="next"` });

const json = (x: Exchange, value: unknown, headers: Record<string, string>, type = 'application/json'): Promise<void> =>
  deliver(x, 200, { 'content-type': type, ...headers }, contentOf(JSON.stringify(value)));

function tagNames(x: Exchange, found: Repository): (string | null)[] {
  const names = [...found.tags.keys()].sort();
  if (x.world.switches.tags === 'nulls') return [null, '', ...names];
  return x.world.switches.tags === 'digests' ? [...names, ...found.manifests.keys()] : names;
}

export async function serveTags(x: Exchange, repository: string): Promise<void> {
  const { switches, storage, urls } = x.world;
  const found = storage.find(repository);
  if (found === undefined) return sendError(x, 404, 'NAME_UNKNOWN');
  const n = x.query.has('n') ? Number(x.query.get('n')) : Number.POSITIVE_INFINITY;
  if (switches.tags === 'n-max-1000' && n > 1000) return sendError(x, 400, 'UNSUPPORTED', 'n must be 1000 or less');
  if (switches.tags === 'self-link') return json(x, { name: repository, tags: ['one'] }, link(x.rawUrl));
  const last = x.query.get('last') ?? '';
  if (switches.tags === 'endless') {
    const at = Number(last.slice(1) || 0);
    const tags = Array.from({ length: 100 }, (_, i) => `t${at + i + 1}`);
    return json(x, { name: repository, tags }, link(`${x.path}?n=100&last=t${at + 100}`));
  }
  const size = Math.min(n, switches.tags === 'cap-100' ? 100 : Number.POSITIVE_INFINITY);
  const rest = tagNames(x, found).filter((tag) => tag === null || tag > last || (tag === '' && last === ''));
  const page = rest.slice(0, size);
  const next = `${x.path}?n=${size}&last=${encodeURIComponent(String(page.at(-1)))}`;
  const base = switches.tags === 'link-absolute' ? urls.registry : switches.tags === 'link-other-host' ? urls.elsewhere : '';
  await json(x, { name: repository, tags: page }, page.length < rest.length ? link(base + next) : {});
}

type Referrer = Readonly<{
  mediaType: string;
  digest: string;
  size: number;
  artifactType?: string;
  annotations?: Record<string, string>;
}>;

export function referrersOf(found: Repository | undefined, subject: string): Referrer[] {
  return [...(found?.manifests.values() ?? [])].flatMap(({ bytes, digest, mediaType }) => {
    const body = JSON.parse(bytes.toString()) as {
      subject?: { digest: string };
      artifactType?: string;
      config?: { mediaType: string };
      annotations?: Record<string, string>;
    };
    if (body.subject?.digest !== subject) return [];
    const artifactType = body.artifactType ?? body.config?.mediaType;
    return [
      {
        mediaType,
        digest,
        size: bytes.length,
        ...(artifactType ? { artifactType } : {}),
        ...(body.annotations ? { annotations: body.annotations } : {}),
      },
    ];
  });
}

const INDEX = 'application/vnd.oci.image.index.v1+json';
const indexOf = (manifests: readonly Referrer[]) => ({ schemaVersion: 2, mediaType: INDEX, manifests });

const invented = (from: number, count: number): Referrer[] =>
  Array.from({ length: count }, (_, i) => ({
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: digestOfBytes(Buffer.from(`referrer ${from + i}`)),
    size: 500,
    artifactType: 'application/vnd.example.invented',
  }));

const HTML = '<!DOCTYPE html><html><body>Not found</body></html>';

export async function serveReferrers(x: Exchange, repository: string, subject: string): Promise<void> {
  const form = x.world.switches.referrers;
  switch (form) {
    case '404-json':
      return sendError(x, 404, 'MANIFEST_UNKNOWN');
    case '404-html':
      return send(x, 404, { 'content-type': 'text/html' }, HTML);
    case '200-html':
      return send(x, 200, { 'content-type': 'text/html' }, HTML);
    case '400':
    case '405':
    case '406':
    case '503':
      return sendError(x, Number(form), 'UNSUPPORTED');
    case 'self-link':
      return json(x, indexOf(invented(0, 1)), link(x.rawUrl), INDEX);
    case 'endless': {
      const page = Number(x.query.get('page') ?? 0);
      return json(x, indexOf(invented(page * 10, 10)), link(`${x.path}?page=${page + 1}`), INDEX);
    }
    case 'empty':
      return json(x, indexOf([]), {}, INDEX);
    case '404-unknown':
      if (x.world.storage.manifest(repository, subject) === undefined) return sendError(x, 404, 'MANIFEST_UNKNOWN');
      break;
    case 'many':
      return json(x, indexOf(invented(0, 100_000)), {}, INDEX);
  }
  const type = x.query.get('artifactType');
  const all = referrersOf(x.world.storage.find(repository), subject);
  const filtered = type !== null && form === 'api';
  const entries = filtered ? all.filter((entry) => entry.artifactType === type) : all;
  await json(x, indexOf(entries), filtered ? { 'oci-filters-applied': 'artifactType' } : {}, INDEX);
}

export const serveCatalog = (x: Exchange): undefined =>
  sendJson(x, 200, { repositories: [...x.world.storage.repositories.keys()].sort() });
