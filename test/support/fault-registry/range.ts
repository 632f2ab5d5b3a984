/** Range requests (RFC 9110 section 14), done right and wrong. */
import type { OutgoingHttpHeaders } from 'node:http';
import { type Content, deliver } from './deliver.ts';
import { type Exchange, send } from './exchange.ts';

/** undefined: no usable Range header; 'bad': can't be satisfied. */
export function parseRange(header: string | undefined, size: number): { start: number; end: number } | 'bad' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (match === null || (match[1] === '' && match[2] === '')) return undefined;
  if (match[1] === '') return { start: Math.max(0, size - Number(match[2])), end: size };
  const start = Number(match[1]);
  const last = match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1);
  return start >= size || last < start ? 'bad' : { start, end: last + 1 };
}

const window = (content: Content, start: number, end: number): Content => ({
  size: end - start,
  read: (from, to) => content.read(start + from, Math.min(start + to, end)),
});

const refuse = (x: Exchange, size: number): undefined => send(x, 416, { 'content-range': `bytes */${size}` });

/** Sends the content, or the part of it that was asked for. */
export async function deliverRange(x: Exchange, headers: OutgoingHttpHeaders, content: Content): Promise<void> {
  const form = x.world.switches.range;
  const { size } = content;
  const ranges = form === 'ignored-200' ? headers : { ...headers, 'accept-ranges': 'bytes' };
  const range = parseRange(x.request.headers.range, size);
  if (range === undefined || form === 'ignored-200' || x.method === 'HEAD') return deliver(x, 200, ranges, content);
  if (form === '416-empty') return send(x, 416, { 'content-range': 'bytes */0' });
  if (range === 'bad' || form === '416') return refuse(x, size);
  const { start, end } = range;
  if (form === '206-wrong-offset') {
    // The whole blob, as if nothing had been asked, under a status that says otherwise.
    return deliver(x, 206, { ...ranges, 'content-range': `bytes 0-${size - 1}/${size}` }, content);
  }
  const told = `bytes ${start}-${end - 1}/${form === '206-wrong-total' ? size + 1 : size}`;
  const header = form === '206-no-header' ? {} : { 'content-range': told };
  await deliver(x, 206, { ...ranges, ...header }, window(content, start, end));
}
