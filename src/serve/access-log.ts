import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Route } from './route.ts';

/** What came in. Credentials never appear, only their kind. */
export type RequestRecord = Readonly<{
  /** Of our own making: what a client sends is no name for anything here. */
  id: string;
  /** Address of the client. */
  peer: string;
  method: string;
  /** Path and query. */
  url: string;
  /** `Basic`, `Bearer`, …: the scheme alone. */
  authorization: string | undefined;
  range: string | undefined;
  userAgent: string | undefined;
}>;

/** The same once it is over. */
export type ResponseRecord = RequestRecord &
  Readonly<{
    status: number;
    /** What kind of thing was asked for; undefined when it never came to that. */
    route: Route['kind'] | HealthRoute | undefined;
    /** Who had logged in. */
    user: string | undefined;
    /** Body bytes taken from the connection. */
    received: number;
    /** Body bytes handed to the connection. */
    sent: number;
    milliseconds: number;
    /** False when the connection ended before the answer did. */
    whole: boolean;
    /** Why the answer failed or says that it did; undefined for what the client got wrong. */
    error: unknown;
  }>;

export type HealthRoute = 'healthz' | 'readyz';

/** What becomes known of an exchange while it goes on. */
export type Outcome = {
  route: ResponseRecord['route'];
  user: string | undefined;
  received: number;
  sent: number;
  error: unknown;
};

/** Schemes that mean something; whatever else stands there may be a secret that lost its scheme. */
const SCHEMES = new Set(['basic', 'bearer', 'digest', 'negotiate', 'ntlm']);

export function requestRecord(request: IncomingMessage): RequestRecord {
  const { headers } = request;
  const scheme = headers.authorization?.split(' ')[0];
  return {
    id: randomUUID(),
    peer: peerOf(request),
    method: request.method ?? '',
    url: request.url ?? '',
    authorization: scheme === undefined || SCHEMES.has(scheme.toLowerCase()) ? scheme : 'other',
    range: headers.range,
    userAgent: headers['user-agent'],
  };
}

/** IPv4 as people write it, also on a socket that takes both families. */
export const peerOf = (request: IncomingMessage): string => (request.socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, '');

/** Calls `report` when the response is over, however it ends. `outcome` is read then. */
export function reportWhenClosed(
  record: RequestRecord,
  response: ServerResponse,
  outcome: Outcome,
  report: (record: ResponseRecord) => void,
): void {
  const started = performance.now();
  response.once('close', () => {
    report({
      ...record,
      ...outcome,
      status: response.headersSent ? response.statusCode : 0,
      milliseconds: performance.now() - started,
      whole: response.writableFinished,
    });
  });
}
