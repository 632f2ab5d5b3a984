import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Headers, Refusal } from './refusal.ts';

/** A body whose length is known before it is read. */
export type StreamBody = Readonly<{ length: number; chunks: () => AsyncIterable<Uint8Array> }>;

export type Answer = Readonly<{ status: number; headers?: Headers; body?: Uint8Array | StreamBody }>;

export const jsonAnswer = (value: unknown, headers: Headers = {}, type = 'application/json'): Answer => ({
  status: 200,
  headers: { 'Content-Type': type, ...headers },
  body: Buffer.from(JSON.stringify(value)),
});

export const refusalAnswer = (refusal: Refusal): Answer => ({
  status: refusal.status,
  headers: { 'Content-Type': 'application/json', ...refusal.headers },
  body: refusal.body,
});

const lengthOf = (body: Answer['body']): number => body?.length ?? 0;

const headersOf = (answer: Answer): Record<string, string | string[]> => ({
  ...(answer.headers as Record<string, string | string[]>),
  // RFC 9110 section 8.6: no length on 204, and on 304 only the one that 200 would have. Everywhere else always, on HEAD too; never a chunked answer, never compressed.
  ...(answer.status === 204 || answer.status === 304 ? {} : { 'Content-Length': String(lengthOf(answer.body)) }),
});

/** What of an unwanted request body is read and thrown away, so that the client, busy sending, gets to see the answer. */
const DRAIN_BYTES = 16 * 1024 * 1024;

/**
 * Sends the answer; what is left of the request's body is drained before the answer counts as ended, because ending closes a connection that
 * has bytes unread, and that can take the answer with it.
 * @param asked whether the client may be sending a body at all (false: it waits for a 100 that never came)
 * @param onSent body bytes as they are handed to the connection, which may be closed by the time that this returns
 * @throws whatever the body's source throws, before or in the middle of the answer
 */
export async function sendAnswer(
  request: IncomingMessage,
  response: ServerResponse,
  answer: Answer,
  asked: boolean,
  onSent: (bytes: number) => void,
): Promise<void> {
  const { body } = answer;
  const isHead = request.method === 'HEAD';
  if (!(body === undefined || body instanceof Uint8Array || isHead)) return pump(response, answer, body, onSent);
  if (!asked) response.setHeader('Connection', 'close');
  response.writeHead(answer.status, headersOf(answer));
  const bytes = isHead || !(body instanceof Uint8Array) ? undefined : body;
  onSent(bytes?.length ?? 0);
  if (request.complete || !asked) {
    response.end(bytes);
  } else {
    if (bytes === undefined) response.flushHeaders();
    else response.write(bytes);
    const whole = await drain(request);
    response.end();
    if (!whole) response.destroy();
  }
}

/** False when the body was longer than is reasonable to read for nothing. */
function drain(request: IncomingMessage): Promise<boolean> {
  return new Promise((resolve) => {
    let left = DRAIN_BYTES;
    request.on('data', (chunk: Uint8Array) => {
      left -= chunk.length;
      if (left < 0) {
        request.pause();
        resolve(false);
      }
    });
    for (const event of ['end', 'close', 'error']) request.once(event, () => resolve(true));
    if (request.readableEnded || request.destroyed) resolve(true);
  });
}

/**
 * Sends chunk by chunk: the next is read when the connection has taken the last, so memory stays flat and the source may use its memory again.
 * The status goes out with the first chunk, so a source that can't be opened is still a 500; the end goes out with the last one, so that a small body
 * is one packet.
 */
async function pump(response: ServerResponse, answer: Answer, body: StreamBody, onSent: (bytes: number) => void): Promise<void> {
  let sent = 0;
  for await (const chunk of body.chunks()) {
    if (!response.headersSent) response.writeHead(answer.status, headersOf(answer));
    sent += chunk.length;
    if (sent > body.length) throw new Error(`the body is longer than the promised ${body.length} bytes`);
    onSent(chunk.length);
    await send(response, chunk, sent === body.length);
  }
  if (sent < body.length) throw new Error(`the body ended after ${sent} of ${body.length} bytes`);
  if (!response.headersSent) response.writeHead(answer.status, headersOf(answer)); // an empty body
  if (!response.writableEnded) response.end();
}

/** Until the connection has taken the chunk. */
function send(response: ServerResponse, chunk: Uint8Array, last: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const gone = (): void => reject(new Error('the client went away'));
    if (response.closed || response.destroyed) return gone();
    response.once('close', gone);
    const taken = (error?: Error | null): void => {
      response.off('close', gone);
      if (error) reject(error);
      else resolve();
    };
    if (last) response.end(chunk, () => taken(response.errored));
    else response.write(chunk, taken);
  });
}
