/** One request and its answer, and what all parts of the stand-in share. */
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Injected } from './faults.ts';
import { takeHeaders } from './faults.ts';
import type { Storage } from './storage.ts';
import type { Switches } from './switches.ts';
import type { TokenBook } from './token-book.ts';

/** Each is a listener on a port of its own, so another host to any client. `elsewhere` serves nothing and only collects. */
export type HostName = 'registry' | 'cdn' | 'cdn2' | 'token' | 'elsewhere' | 'plain';
export const HOST_NAMES: readonly HostName[] = ['registry', 'cdn', 'cdn2', 'token', 'elsewhere', 'plain'];

export type RequestKind = 'ping' | 'token' | 'manifest' | 'blob' | 'upload' | 'tags' | 'referrers' | 'catalog' | 'other';

/** What arrived; kept for assertions. */
export type Recorded = {
  at: HostName;
  kind: RequestKind;
  method: string;
  /** as sent, with the query */
  url: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  /** the Host header */
  host: string;
  bytesReceived: number;
  bytesSent: number;
  status: number | undefined;
  /** the whole answer left this process */
  completed: boolean;
  /** milliseconds, performance.now() */
  startedAt: number;
};

export type User = Readonly<{ password: string; push?: boolean; identityToken?: string }>;

export type World = {
  readonly switches: Switches;
  readonly storage: Storage;
  readonly tokens: TokenBook;
  readonly users: Readonly<Record<string, User>>;
  /** Base URLs as told to callers, without a slash at the end. */
  readonly urls: Record<HostName, string>;
  readonly injected: Injected[];
  readonly requests: Recorded[];
  /** Signed URLs: what a CDN host honours, by host name and exact request target. */
  readonly signed: Map<string, SignedUrl>;
  /** Called, and waited for, before a request is looked at: a test may change anything here. */
  onRequest: ((record: Recorded) => void | Promise<void>) | undefined;
  manifestGets: number;
  serial: number;
};

export type SignedUrl = Readonly<{ repository: string; digest: string; dialect: 's3' | 'azure' | 'open'; until: number }>;

export type Exchange = Readonly<{
  world: World;
  at: HostName;
  request: IncomingMessage;
  response: ServerResponse;
  record: Recorded;
  method: string;
  /** decoded path */
  path: string;
  rawUrl: string;
  query: URLSearchParams;
  state: { loseAnswer: boolean; cutRequestAfter: number };
}>;

/** The caller went away, or was sent away: nothing more to do for this request. */
export class Gone extends Error {}

/** Reads the request's body as it comes. */
export async function* requestBody(x: Exchange): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of x.request as AsyncIterable<Buffer>) {
      x.record.bytesReceived += chunk.length;
      if (x.record.bytesReceived > x.state.cutRequestAfter) {
        x.request.socket.destroy();
        throw new Gone();
      }
      yield chunk;
    }
  } catch (error) {
    if (error instanceof Gone) throw error;
    throw new Gone(); // the caller broke off
  }
}

export async function wholeBody(x: Exchange): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of requestBody(x)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Writes the head; every answer passes here. */
export function writeHead(x: Exchange, status: number, headers: OutgoingHttpHeaders): undefined {
  if (x.state.loseAnswer) {
    x.request.socket.destroy();
    throw new Gone();
  }
  const { warning } = x.world.switches;
  const all: OutgoingHttpHeaders = { ...(warning === '' ? {} : { warning }), ...headers };
  for (const [name, value] of Object.entries(takeHeaders(x)?.set ?? {})) {
    if (value === undefined) delete all[name.toLowerCase()];
    else all[name.toLowerCase()] = value;
  }
  x.record.status = status;
  x.response.writeHead(status, all);
}

/** A short answer with its length. */
export function send(x: Exchange, status: number, headers: OutgoingHttpHeaders = {}, body: string | Buffer = ''): undefined {
  const bytes = Buffer.from(body as string);
  writeHead(x, status, { 'content-length': bytes.length, ...headers });
  x.record.bytesSent += x.method === 'HEAD' ? 0 : bytes.length;
  x.response.end(x.method === 'HEAD' ? undefined : bytes);
}

const JSON_TYPE = { 'content-type': 'application/json' };

export const sendJson = (x: Exchange, status: number, value: unknown, headers: OutgoingHttpHeaders = {}): undefined =>
  send(x, status, { ...JSON_TYPE, ...headers }, JSON.stringify(value));

/** The error form of distribution-spec "Error Codes". */
export const sendError = (
  x: Exchange,
  status: number,
  code: string,
  message = code.toLowerCase().replaceAll('_', ' '),
  headers: OutgoingHttpHeaders = {},
): undefined => sendJson(x, status, { errors: [{ code, message }] }, headers);
