import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Cuts connections on which the peer has been silent for `ms`. A server that is busy itself, hashing a large upload before it answers, is not
 * silence of the peer.
 */
export function cutSilentPeers(server: Server, ms: number): void {
  const current = new WeakMap<Socket, IncomingMessage>();
  onExchange(server, (request, response) => {
    const { socket } = request;
    current.set(socket, request);
    response.once('close', () => current.delete(socket));
  });
  server.setTimeout(ms, (socket) => {
    // While it is being answered, `cutSlowPeers` says how long a reader may take.
    const isAnswered = current.get(socket)?.complete === true;
    if (isAnswered) socket.setTimeout(ms);
    else socket.destroy();
  });
}

/**
 * A stop that lets running answers end and then closes their connections, which keep-alive would hold open.
 * @returns stop(graceMs): after that time what still runs is cut
 */
export function stoppable(server: Server): (graceMs: number) => Promise<void> {
  let stopping = false;
  onExchange(server, (_, response) => {
    if (stopping) response.setHeader('Connection', 'close');
    response.once('close', () => {
      if (stopping) setImmediate(() => server.closeIdleConnections());
    });
  });
  return (graceMs) =>
    new Promise((resolve) => {
      stopping = true;
      const cut = setTimeout(() => server.closeAllConnections(), graceMs);
      // This closes the connections that are idle now.
      server.close(() => {
        clearTimeout(cut);
        resolve();
      });
      if (graceMs === 0) server.closeAllConnections();
    });
}

/** Before the listeners that answer: both kinds of request, and nothing is sent yet. */
function onExchange(server: Server, listener: (request: IncomingMessage, response: ServerResponse) => void): void {
  server.on('request', listener);
  server.on('checkContinue', listener);
}
