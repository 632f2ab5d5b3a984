import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { LIMITS } from '../core/limits.ts';

export type Patience = Readonly<{
  /** No byte for this long ends a connection. Milliseconds, all of them. */
  idleMs: number;
  /** A body of which fewer than `slowBytes` come in `slowMs` is not waited for. */
  slowMs: number;
  slowBytes: number;
  /** An answer of which the client takes nothing for this long is given up. */
  slowReaderMs: number;
}>;

export const PATIENCE: Patience = {
  idleMs: LIMITS.bodyIdleMs,
  slowMs: LIMITS.slowWindowMs,
  slowBytes: LIMITS.slowBytesPerWindow,
  slowReaderMs: LIMITS.slowReaderMs,
};

type Watched = { read: number; taken: number; takenAt: number };

/**
 * Ends exchanges that drip: a byte now and then keeps a connection from being idle, and would hold its slot for ever. A body that comes too slowly
 * is answered 408 where nothing has been answered yet; what came of an upload stays. Waiting for ourselves does not count against the peer.
 */
export function cutSlowPeers(server: Server, patience: Patience): void {
  const watched = new Map<ServerResponse, { request: IncomingMessage; seen: Watched }>();
  const watch = (request: IncomingMessage, response: ServerResponse): void => {
    const { socket } = request;
    watched.set(response, { request, seen: { read: socket.bytesRead, taken: takenBy(socket), takenAt: Date.now() } });
    response.once('close', () => watched.delete(response));
  };
  server.on('request', watch);
  server.on('checkContinue', watch);
  const timer = setInterval(() => {
    const now = Date.now();
    for (const [response, { request, seen }] of watched) {
      if (isDrip(request, seen, patience)) refuse(request, response);
      else if (isStuck(request.socket, seen, patience, now)) request.socket.destroy();
    }
  }, patience.slowMs);
  timer.unref();
  server.once('close', () => clearInterval(timer));
}

function isDrip(request: IncomingMessage, seen: Watched, { slowBytes }: Patience): boolean {
  const came = request.socket.bytesRead - seen.read;
  seen.read = request.socket.bytesRead;
  // Bytes that wait for us say that we are the slow one.
  return !request.complete && request.readableLength === 0 && came < slowBytes;
}

function isStuck(socket: Socket, seen: Watched, { slowReaderMs }: Patience, now: number): boolean {
  const taken = takenBy(socket);
  if (taken !== seen.taken || socket.writableLength === 0) {
    seen.taken = taken;
    seen.takenAt = now;
  }
  return now - seen.takenAt >= slowReaderMs;
}

/** bytesWritten counts what is queued too. */
const takenBy = (socket: Socket): number => socket.bytesWritten - socket.writableLength;

function refuse({ socket }: IncomingMessage, response: ServerResponse): void {
  if (response.headersSent) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify({ errors: [{ code: 'UNKNOWN', message: 'the request body comes too slowly' }] });
  const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body), Connection: 'close' };
  response.writeHead(408, headers).end(body, () => socket.destroy());
}
