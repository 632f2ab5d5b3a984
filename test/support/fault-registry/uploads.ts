/** Blob uploads: sessions, chunks, mounts (distribution-spec "Pushing Blobs"). */

import type { OutgoingHttpHeaders } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { type Exchange, Gone, requestBody, send, sendError, wholeBody } from './exchange.ts';
import { mount } from './mount.ts';
import { digestWith, type Session, storedBlob } from './storage.ts';

const CAP = 4 * 1024 * 1024;

function rangeText(x: Exchange, session: Session): string {
  if (x.world.switches.upload !== 'range-quay') return `0-${Math.max(0, session.size - 1)}`;
  // Quay counts each answer in its own way.
  if (x.method === 'POST') return 'bytes=0--1';
  return x.method === 'GET' ? `bytes=0-${session.size}` : `0-${session.size - 1}`;
}

/** Where to go on. A new one each time; the query is needed, as it is at CNCF distribution. */
function sessionHeaders(x: Exchange, session: Session): OutgoingHttpHeaders {
  const { location, chunkMinLength } = x.world.switches;
  const path = `/v2/${session.repository}/blobs/uploads/${session.id}?_state=${++session.state}%2F%3D&keep=a%2Bb`;
  const base = location === 'relative' ? '' : location.startsWith('other-host') ? x.world.urls.elsewhere : x.world.urls.registry;
  return {
    ...(location === 'missing' ? {} : { location: `${base}${path}` }),
    range: rangeText(x, session),
    'docker-upload-uuid': session.id,
    ...(chunkMinLength > 0 ? { 'oci-chunk-min-length': chunkMinLength } : {}),
  };
}

export const openSession = (x: Exchange, repository: string): undefined =>
  send(x, 202, sessionHeaders(x, x.world.storage.openSession(repository)));

/** Puts the bytes under the digest that was asked, if they have it. */
function finish(x: Exchange, repository: string, digest: string, bytes: Buffer): undefined {
  const { switches, storage } = x.world;
  if (digest.startsWith('sha512:') && switches.sha512 === 'refused')
    return sendError(x, 400, 'DIGEST_INVALID', 'unsupported digest algorithm');
  if (!/^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(digest) || digestWith(digest.slice(0, 6), bytes) !== digest) {
    return sendError(x, 400, 'DIGEST_INVALID', 'provided digest did not match uploaded content');
  }
  const told = digest.startsWith('sha512:') && switches.sha512 === 'downgraded' ? digestWith('sha256', bytes) : digest;
  const kept = switches.upload === 'stores-other-bytes' ? Buffer.from(bytes.map((byte) => byte ^ 1)) : bytes;
  if (switches.upload !== 'loses-after-201') storage.repository(repository).blobs.set(told, storedBlob(kept, told));
  send(x, 201, { location: `/v2/${repository}/blobs/${told}`, 'docker-content-digest': told });
}

export async function startUpload(x: Exchange, repository: string): Promise<void> {
  const wanted = x.query.get('mount');
  if (wanted !== null) return mount(x, repository, wanted);
  const digest = x.query.get('digest');
  if (digest !== null && x.world.switches.upload !== 'post-digest-202') return finish(x, repository, digest, await wholeBody(x));
  openSession(x, repository);
}

function sessionOf(x: Exchange, repository: string, id: string): Session | undefined {
  const session = x.world.storage.sessions.get(id);
  if (session?.repository !== repository) return undefined;
  // A client that rebuilds the URL, or goes on with an old one, has lost the session.
  return x.method === 'DELETE' || (x.query.get('_state') === `${session.state}/=` && x.query.get('keep') === 'a+b')
    ? session
    : undefined;
}

/** Adds the request's body to the session; undefined when a refusal was sent. */
async function append(x: Exchange, session: Session): Promise<true | undefined> {
  const { switches, storage } = x.world;
  const start = /^(?:bytes[ =])?(\d+)-\d+/.exec(x.request.headers['content-range'] ?? '')?.[1];
  if (start !== undefined && Number(start) !== session.size) return refuseChunk(x, session);
  const length = Number(x.request.headers['content-length'] ?? Number.NaN);
  if (x.method === 'PATCH' && switches.upload === 'patch-max-4MiB' && length > CAP) {
    const message = `Uploaded blob size of ${((length / CAP) * 4).toFixed(2)}MiB exceeds the maximum permissible limit of 4.00MiB`;
    sendError(x, 416, 'REQUESTED_RANGE_NOT_SATISFIABLE', message);
    return undefined;
  }
  for await (const chunk of timed(x)) {
    if (x.method === 'PATCH' && switches.upload === 'patch-drops-2nd' && session.patches > 0) continue;
    session.chunks.push(chunk);
    session.size += chunk.length;
  }
  if (switches.sessionLosses > 0) {
    switches.sessionLosses--;
    storage.sessions.delete(session.id);
    sendError(x, 404, 'BLOB_UPLOAD_UNKNOWN');
    return undefined;
  }
  return true;
}

async function* timed(x: Exchange): AsyncGenerator<Buffer> {
  const { upload, uploadTimeLimitMs } = x.world.switches;
  if (upload !== '10min') return yield* requestBody(x);
  const done = new AbortController();
  void delay(uploadTimeLimitMs, undefined, { signal: done.signal }).then(
    () => x.request.socket.destroy(),
    () => undefined,
  );
  try {
    yield* requestBody(x);
  } finally {
    done.abort();
  }
}

function refuseChunk(x: Exchange, session: Session): undefined {
  x.request.resume();
  sendError(x, 416, 'BLOB_UPLOAD_INVALID', 'chunk out of order', sessionHeaders(x, session));
}

async function patch(x: Exchange, session: Session): Promise<void> {
  const before = session.size;
  if ((await append(x, session)) === undefined) return;
  const { chunkMinLength } = x.world.switches;
  session.patches++;
  // Only the last chunk may be shorter, and only the next one shows that this was not the last.
  if (session.patches > 1 && session.size - before > 0 && before % Math.max(1, chunkMinLength) !== 0 && chunkMinLength > 0) {
    return sendError(x, 416, 'BLOB_UPLOAD_INVALID', 'chunk below the minimum');
  }
  send(x, 202, sessionHeaders(x, session));
}

async function put(x: Exchange, session: Session): Promise<void> {
  const { storage, switches } = x.world;
  const length = Number(x.request.headers['content-length'] ?? 0);
  if (length > switches.putMaxBytes) {
    x.request.resume();
    return send(x, 413, { 'content-type': 'text/html' }, '<html><h1>413 Request Entity Too Large</h1></html>');
  }
  const digest = x.query.get('digest');
  if (digest === null) return sendError(x, 400, 'DIGEST_INVALID', 'no digest');
  if ((await append(x, session)) === undefined) return;
  storage.sessions.delete(session.id);
  finish(x, session.repository, digest, Buffer.concat(session.chunks));
}

export async function continueUpload(x: Exchange, repository: string, id: string): Promise<void> {
  const session = sessionOf(x, repository, id);
  if (session === undefined) {
    x.request.resume();
    return sendError(x, 404, 'BLOB_UPLOAD_UNKNOWN', 'blob upload unknown to registry');
  }
  if (x.method === 'PATCH') return patch(x, session);
  if (x.method === 'PUT') return put(x, session);
  if (x.method === 'GET') return send(x, 204, sessionHeaders(x, session));
  if (x.method !== 'DELETE') return sendError(x, 405, 'UNSUPPORTED');
  x.world.storage.sessions.delete(id);
  send(x, 204);
}

export { Gone };
