import type { IncomingMessage, ServerResponse } from 'node:http';

/** What came in. Credentials never appear, only their kind. */
export type RequestRecord = Readonly<{
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
    /** Body bytes handed to the connection. */
    sent: number;
    milliseconds: number;
    /** False when the connection ended before the answer did. */
    whole: boolean;
    /** Why the answer failed or says that it did; undefined for what the client got wrong. */
    error: unknown;
  }>;

export function requestRecord(request: IncomingMessage): RequestRecord {
  const { headers } = request;
  return {
    method: request.method ?? '',
    url: request.url ?? '',
    authorization: headers.authorization?.split(' ')[0],
    range: headers.range,
    userAgent: headers['user-agent'],
  };
}

/** Calls `report` when the response is over, however it ends. `outcome` is read then. */
export function reportWhenClosed(
  record: RequestRecord,
  response: ServerResponse,
  outcome: Readonly<{ sent: number; error: unknown }>,
  report: (record: ResponseRecord) => void,
): void {
  const started = performance.now();
  response.once('close', () => {
    report({
      ...record,
      status: response.headersSent ? response.statusCode : 0,
      sent: outcome.sent,
      milliseconds: performance.now() - started,
      whole: response.writableFinished,
      error: outcome.error,
    });
  });
}
