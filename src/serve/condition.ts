import type { IncomingHttpHeaders } from 'node:http';
import type { Digest } from '../core/digest.ts';
import type { Answer } from './answer.ts';

/** Strong: under one digest there is only ever one sequence of bytes. */
export const etagOf = (digest: Digest): string => `"${digest}"`;

/**
 * `If-None-Match` of a GET or HEAD (RFC 9110 section 13.1.2: weak comparison, a list, or `*`). A digest without quotes counts too, because
 * CNCF distribution takes it and clients were written against that.
 * @returns 304 when the client has these bytes already
 */
export function notModified(headers: IncomingHttpHeaders, digest: Digest): Answer | undefined {
  const etag = etagOf(digest);
  const held = ['*', etag, `W/${etag}`, digest];
  const tags = headers['if-none-match']?.split(',') ?? [];
  if (!tags.some((tag) => held.includes(tag.trim()))) return undefined;
  return { status: 304, headers: { ETag: etag, 'Docker-Content-Digest': digest } };
}
