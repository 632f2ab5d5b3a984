import type { IncomingHttpHeaders } from 'node:http';
import type { Grant } from './access.ts';
import type { RegistryContent, WritableContent } from './content.ts';
import { Refusal } from './refusal.ts';
import type { Uploads } from './uploads.ts';

/** One request as the handlers see it. */
export type Exchange = Readonly<{
  method: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  grant: Grant;
  /** Asks the client to go on (100-continue) and gives the body; leaving the loop early keeps the connection. */
  body(): AsyncIterable<Uint8Array>;
}>;

/** What one server offers. */
export type Service = Readonly<{
  content: RegistryContent;
  /** Absent: read-only. */
  writing?: Readonly<{ content: WritableContent; uploads: Uploads }>;
  acceptSparse: boolean;
  referrersApi: boolean;
}>;

export type WritingService = Service & Required<Pick<Service, 'writing'>>;

/** undefined without the header. @throws Refusal 400 SIZE_INVALID */
export function contentLength(headers: IncomingHttpHeaders): number | undefined {
  const text = headers['content-length'];
  if (text === undefined) return undefined;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new Refusal(400, 'SIZE_INVALID', 'Content-Length is not a number of bytes');
}
