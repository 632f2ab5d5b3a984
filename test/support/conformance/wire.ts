/** HTTP as Go's client speaks it: the same headers on the same requests, one connection kept alive, redirects followed, gzip undone. */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { gunzipSync } from 'node:zlib';

export type Sent = Readonly<{
  method: string;
  url: URL;
  /** In order, and one line each: a name may come twice. */
  headers?: readonly (readonly [name: string, value: string])[];
  body?: Uint8Array;
  /** Transfer-Encoding: chunked, which is what Go does with a body of unknown length. */
  chunked?: boolean;
}>;

export type Got = Readonly<{
  status: number;
  body: Buffer;
  /** Every line of that name. */
  values(name: string): readonly string[];
  /** The first, or ''. */
  value(name: string): string;
}>;

export type Wire = Readonly<{ base: URL; send(sent: Sent): Promise<Got>; close(): void }>;

const REDIRECTS = 10;

export type WireOptions = Readonly<{
  /** `http://127.0.0.1:5000` */
  base: string;
  /** PEM of the authority to trust, for https. */
  ca?: string | undefined;
  /** Answers a challenge, Basic or Bearer; without it a 401 is an answer like any other. */
  login?: Readonly<{ user: string; password: string }> | undefined;
}>;

export function createWire({ base, ca, login }: WireOptions): Wire {
  const secure = base.startsWith('https:');
  const agent = secure
    ? new HttpsAgent({ keepAlive: true, maxSockets: 1, ca })
    : new HttpAgent({ keepAlive: true, maxSockets: 1 });
  const request = secure ? httpsRequest : httpRequest;

  const once = (sent: Sent): Promise<Got> =>
    new Promise((resolve, reject) => {
      const headers = headersOf(sent);
      const outgoing = request(sent.url, { method: sent.method, agent, headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => resolve(received(response, Buffer.concat(chunks), headers.includes('gzip'))));
      });
      outgoing.on('error', reject);
      outgoing.end(sent.body);
    });

  const send = async (sent: Sent, left = REDIRECTS): Promise<Got> => {
    const got = await once(sent);
    const location = got.value('location');
    if (![301, 302, 303, 307, 308].includes(got.status) || location === '') return got;
    if (left === 0) throw new Error(`${REDIRECTS} redirects`);
    const url = new URL(location, sent.url);
    if (got.status >= 307 || sent.method === 'HEAD') return send({ ...sent, url }, left - 1);
    return send({ method: 'GET', url, headers: sent.headers ?? [] }, left - 1);
  };

  const basic = (): string => `Basic ${Buffer.from(`${login?.user}:${login?.password}`).toString('base64')}`;
  /** What to say to a challenge. The whole of the scope is asked for, and the token is not kept for the next request. */
  const authorize = async (challenge: string): Promise<string> => {
    if (!/^bearer /i.test(challenge)) return basic();
    const parameters = Object.fromEntries([...challenge.matchAll(/(\w+)="(.+?)"/g)].map(([, name, value]) => [name, value]));
    const url = new URL(parameters.realm ?? '');
    for (const name of ['service', 'scope']) if (parameters[name] !== undefined) url.searchParams.set(name, parameters[name]);
    const got = await send({ method: 'GET', url, headers: [['Authorization', basic()]] });
    expectAnswer(got, { status: [200] });
    return `Bearer ${(JSON.parse(got.body.toString()) as { token: string }).token}`;
  };
  const sendAs = async (sent: Sent): Promise<Got> => {
    const got = await send(sent);
    if (got.status !== 401 || login === undefined) return got;
    const authorization = await authorize(got.value('www-authenticate'));
    return send({ ...sent, headers: [...(sent.headers ?? []), ['Authorization', authorization]] });
  };
  return { base: new URL(base), send: sendAs, close: () => agent.destroy() };
}

/** Names and values in turn. */
function headersOf({ method, url, headers = [], body, chunked = false }: Sent): string[] {
  const takesBody = method === 'POST' || method === 'PUT' || method === 'PATCH';
  const length = chunked
    ? ['Transfer-Encoding', 'chunked']
    : body !== undefined || takesBody
      ? ['Content-Length', String(body?.length ?? 0)]
      : [];
  const isRange = headers.some(([name]) => name.toLowerCase() === 'range');
  const gzip = isRange || method === 'HEAD' ? [] : ['Accept-Encoding', 'gzip'];
  return ['Host', url.host, 'User-Agent', 'Go-http-client/1.1', ...length, ...headers.flat(), ...gzip];
}

/** Go's transport undoes the gzip that it asked for, and then neither length nor coding is known any more. */
function received(response: IncomingMessage, raw: Buffer, askedForGzip: boolean): Got {
  const lines = response.rawHeaders.flatMap((name, i, all) =>
    i % 2 === 0 ? [[name.toLowerCase(), all[i + 1] ?? ''] as const] : [],
  );
  const zipped = askedForGzip && lines.some(([name, value]) => name === 'content-encoding' && value === 'gzip');
  const kept = zipped ? lines.filter(([name]) => name !== 'content-encoding' && name !== 'content-length') : lines;
  const values = (name: string) => kept.filter(([known]) => known === name.toLowerCase()).map(([, value]) => value);
  return {
    status: response.statusCode ?? 0,
    body: zipped ? gunzipSync(raw) : raw,
    values,
    value: (name) => values(name)[0] ?? '',
  };
}

export type Want = Readonly<{
  status: readonly number[];
  /** Exactly this value in one of the lines of that name; '' for any. */
  headers?: Readonly<Record<string, string>>;
  body?: Uint8Array;
}>;

/** Throws an Error that names everything that is not as wanted. */
export function expectAnswer(got: Got, want: Want): void {
  const faults: string[] = [];
  if (!want.status.includes(got.status)) faults.push(`status ${got.status}, not ${want.status.join(' or ')}`);
  for (const [name, value] of Object.entries(want.headers ?? {})) {
    const values = got.values(name);
    if (value === '' ? values.length === 0 : !values.includes(value))
      faults.push(`${name} is ${JSON.stringify(values)}, not ${JSON.stringify(value || 'there')}`);
  }
  if (want.body !== undefined && !got.body.equals(want.body))
    faults.push(`a body of ${got.body.length} bytes, not the ${want.body.length} expected: ${got.body.subarray(0, 300)}`);
  if (faults.length > 0) throw new Error(faults.join('; '));
}

/** Docker-Content-Digest may be absent unless `required`, but never another than the client's own. */
export function expectDigest(got: Got, digest: string, required: boolean): void {
  const value = got.value('docker-content-digest');
  if (value === '' && required) throw new Error('no Docker-Content-Digest');
  if (value !== '' && digest !== '' && value !== digest) throw new Error(`Docker-Content-Digest ${value}, not ${digest}`);
}

/** The place that an answer names, relative to where it came from. */
export function locationOf(got: Got, from: URL): URL {
  const location = got.value('location');
  if (location === '') throw new Error('no Location');
  return new URL(location, from);
}

/** Go's `Query`, `Set` and `Encode`: parsed, keys sorted, written again with `:` as `%3A`. */
export function withParameter(url: URL, name: string, value: string): URL {
  const copy = new URL(url);
  copy.searchParams.set(name, value);
  copy.searchParams.sort();
  return copy;
}
