/** Sends content (blobs, manifests, lists, tokens), with the faults that strike content. */
import { once } from 'node:events';
import type { OutgoingHttpHeaders } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { type Exchange, Gone, writeHead } from './exchange.ts';
import { type ContentAction, takeContent } from './faults.ts';

export type Content = Readonly<{ size: number; read(start: number, end: number): Iterable<Buffer> }>;

const filler = (length: number): Buffer => Buffer.alloc(length, 'filler ');

function* flipped(chunks: Iterable<Buffer>, at: number): Iterable<Buffer> {
  let offset = 0;
  for (const chunk of chunks) {
    const local = at - offset;
    offset += chunk.length;
    if (local < 0 || local >= chunk.length) yield chunk;
    else {
      const copy = Buffer.from(chunk);
      copy[local] = (copy[local] as number) ^ 1;
      yield copy;
    }
  }
}

function* endless(chunks: Iterable<Buffer>): Iterable<Buffer> {
  yield* chunks;
  for (;;) yield filler(64 * 1024);
}

function* appended(chunks: Iterable<Buffer>, bytes: number): Iterable<Buffer> {
  yield* chunks;
  yield filler(bytes);
}

function* sliced(chunks: Iterable<Buffer>, size: number): Iterable<Buffer> {
  for (const chunk of chunks) for (let i = 0; i < chunk.length; i += size) yield chunk.subarray(i, i + size);
}

type Plan = { length: number | undefined; chunks: Iterable<Buffer>; cutAfter: number; everyMs: number };

function planOf(content: Content, fault: ContentAction | undefined): Plan {
  const { size } = content;
  const plan: Plan = { length: size, chunks: content.read(0, size), cutAfter: Number.POSITIVE_INFINITY, everyMs: 0 };
  switch (fault?.kind) {
    case 'cut':
      return { ...plan, cutAfter: Math.min(fault.after, size) };
    case 'short':
      return { ...plan, length: Math.min(fault.bytes, size), chunks: content.read(0, Math.min(fault.bytes, size)) };
    case 'drip':
      return { ...plan, chunks: sliced(plan.chunks, fault.bytes), everyMs: fault.everyMs };
    case 'flip':
      return { ...plan, chunks: flipped(plan.chunks, fault.at) };
    case 'append':
      return {
        ...plan,
        length: fault.length === 'hidden' ? undefined : size + fault.bytes,
        chunks: appended(plan.chunks, fault.bytes),
      };
    case 'endless':
      return { ...plan, length: undefined, chunks: endless(plan.chunks) };
    default:
      return plan;
  }
}

async function pump(x: Exchange, plan: Plan): Promise<void> {
  const { response, record } = x;
  const closed = new AbortController();
  response.once('close', () => closed.abort());
  for (const chunk of plan.chunks) {
    if (closed.signal.aborted) throw new Gone();
    const room = plan.cutAfter - record.bytesSent;
    const part = chunk.length < room ? chunk : chunk.subarray(0, room);
    record.bytesSent += part.length;
    if (chunk.length >= room) return cut(x, part);
    const more = response.write(part);
    if (record.bytesSent === plan.length) break; // ended at once, so that nobody counts it as still under way
    if (plan.everyMs > 0) await delay(plan.everyMs, undefined, { signal: closed.signal });
    else if (!more) await once(response, 'drain', { signal: closed.signal });
  }
  response.end();
}

/** All bytes so far reach the caller, then the connection ends. */
function cut(x: Exchange, last: Buffer): undefined {
  const { socket } = x.request;
  if (last.length === 0) x.response.flushHeaders();
  x.response.write(last.length === 0 ? '' : last, () => socket.destroySoon());
  if (last.length === 0) socket.destroySoon();
}

/** @throws Gone when the caller leaves before the end */
export async function deliver(x: Exchange, status: number, headers: OutgoingHttpHeaders, content: Content): Promise<void> {
  if (x.method === 'HEAD') {
    writeHead(x, status, { 'content-length': content.size, ...headers });
    x.response.end();
    return;
  }
  const plan = planOf(content, takeContent(x));
  const length = plan.length === undefined ? {} : { 'content-length': plan.length };
  writeHead(x, status, { ...headers, ...length });
  try {
    await pump(x, plan);
  } catch (error) {
    throw error instanceof Gone || (error as Error).name === 'AbortError' ? new Gone() : error;
  }
}

export const contentOf = (body: string | Buffer): Content => {
  const bytes = Buffer.from(body as string);
  return {
    size: bytes.length,
    *read(start, end) {
      if (end > start) yield bytes.subarray(start, end);
    },
  };
};
