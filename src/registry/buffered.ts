import { once } from '../core/once.ts';
import { readAll } from '../core/verified.ts';
import type { HttpResponse } from './transport.ts';

/** The same answer with its body read whole: it can be looked at more than once, and a body that breaks off is part of the try that failed. */
export async function buffered(response: HttpResponse, maxBytes: number, what: string): Promise<HttpResponse> {
  const bytes = await readAll(response.body, maxBytes, what);
  return { ...response, body: { [Symbol.asyncIterator]: () => once(bytes) }, discard: async () => undefined };
}
