import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { LIMITS } from '../core/limits.ts';

/**
 * One exchange at a time per connection: requests that are sent without waiting for answers (RFC 9112 section 9.3.2) would otherwise all be begun at
 * once, each with a file and memory of its own, however few connections there are. Who sends too many ahead is cut off.
 */
export function createPipeline(): (request: IncomingMessage, response: ServerResponse, begin: () => void) => void {
  const waiting = new WeakMap<Socket, (() => void)[]>();
  return ({ socket }, response, begin) => {
    const queue = waiting.get(socket) ?? [];
    const next = (): void => {
      const following = queue.shift();
      if (following === undefined) waiting.delete(socket);
      else if (!socket.destroyed) following();
    };
    const start = (): void => {
      response.once('close', next);
      begin();
    };
    if (!waiting.has(socket)) {
      waiting.set(socket, queue);
      start();
    } else if (queue.length < LIMITS.pipelinedRequests) queue.push(start);
    else socket.destroy();
  };
}
