/** The blob requests of a conformance run. Each function throws when the answer is wrong, `Unsupported` when it says "not here". */
import type { Digest } from '../../../src/core/digest.ts';
import { Unsupported } from './verdicts.ts';
import { expectAnswer, expectDigest, type Got, locationOf, type Sent, type Wire, withParameter } from './wire.ts';

/** One blob on its way. `bytes` are not those of `digest` where a refusal is expected. */
export type Push = Readonly<{
  wire: Wire;
  repository: string;
  digest: Digest;
  bytes: Buffer;
  /** 400 is wanted from whatever closes the upload. */
  refused?: boolean;
  /** `Docker-Content-Digest` must be there. */
  digestHeader: boolean;
}>;

const OCTETS = ['Content-Type', 'application/octet-stream'] as const;
const CHUNK = 1024;
const NOTHING = Buffer.alloc(0);

const uploads = ({ wire, repository }: Push): URL => new URL(`/v2/${repository}/blobs/uploads/`, wire.base);
export const blobUrl = ({ wire, repository, digest }: Pick<Push, 'wire' | 'repository' | 'digest'>): URL =>
  new URL(`/v2/${repository}/blobs/${digest}`, wire.base);

/** Go sends a body of zero bytes as one of unknown length. */
const whole = (bytes: Buffer): Pick<Sent, 'body' | 'chunked' | 'headers'> => ({
  body: bytes,
  chunked: bytes.length === 0,
  headers: [OCTETS],
});

/** A session, and where it is. */
async function open(push: Push): Promise<URL> {
  const url = uploads(push);
  const got = await push.wire.send({ method: 'POST', url });
  expectAnswer(got, { status: [202] });
  return locationOf(got, url);
}

/** The answer that ends an upload: 201 and the blob at its Location, or 400. */
async function expectEnd(push: Push, got: Got, from: URL): Promise<void> {
  if (push.refused) return expectAnswer(got, { status: [400] });
  expectAnswer(got, { status: [201] });
  expectDigest(got, push.digest, push.digestHeader);
  await expectStored(push, got, from);
}

async function expectStored({ wire, bytes }: Push, got: Got, from: URL): Promise<void> {
  expectAnswer(await wire.send({ method: 'GET', url: locationOf(got, from) }), { status: [200], body: bytes });
}

async function put(push: Push, location: URL, sent: Pick<Sent, 'body' | 'chunked' | 'headers'>): Promise<void> {
  const url = withParameter(location, 'digest', push.digest);
  await expectEnd(push, await push.wire.send({ method: 'PUT', url, ...sent }), url);
}

const nothingMore = { headers: [OCTETS] } as const;

export async function postOnly(push: Push): Promise<void> {
  const url = withParameter(uploads(push), 'digest', push.digest);
  const got = await push.wire.send({ method: 'POST', url, ...whole(push.bytes) });
  if (got.status !== 202) return expectEnd(push, got, url);
  const next = withParameter(locationOf(got, url), 'digest', push.digest);
  const second = await push.wire.send({ method: 'PUT', url: next, ...whole(push.bytes) });
  expectAnswer(second, { status: [push.refused ? 400 : 201] });
  throw new Unsupported('the POST did not take the content');
}

export async function postPut(push: Push): Promise<void> {
  await put(push, await open(push), whole(push.bytes));
}

export async function stream(push: Push): Promise<void> {
  const location = await open(push);
  const got = await push.wire.send({ method: 'PATCH', url: location, body: push.bytes, chunked: true, headers: [OCTETS] });
  expectAnswer(got, { status: [202] });
  await put(push, locationOf(got, location), nothingMore);
}

export type Chunking = Readonly<{ lastInPut?: boolean; outOfOrder?: boolean }>;

export async function chunked(push: Push, { lastInPut = false, outOfOrder = false }: Chunking = {}): Promise<void> {
  const { wire, bytes, digest } = push;
  const size = Math.min(Math.max(Math.floor(bytes.length / 3) + 1, CHUNK), bytes.length);
  const part = (start: number): Pick<Sent, 'body' | 'headers'> => {
    const end = Math.min(start + size, bytes.length);
    return { body: bytes.subarray(start, end), headers: [OCTETS, ['Content-Range', `${start}-${end - 1}`]] };
  };
  let location = await open(push);
  for (let at = 0; at < bytes.length; at += size) {
    if (outOfOrder) {
      const bad = at + size >= bytes.length ? 0 : at + size;
      const closes = lastInPut && bad + size >= bytes.length;
      const url = closes ? withParameter(location, 'digest', digest) : location;
      expectAnswer(await wire.send({ method: closes ? 'PUT' : 'PATCH', url, ...part(bad) }), { status: [416] });
      location = await expectHeld(wire, url, at);
    }
    if (lastInPut && at + size >= bytes.length) return put(push, location, part(at));
    const got = await wire.send({ method: 'PATCH', url: location, ...part(at) });
    expectAnswer(got, { status: [202] });
    location = locationOf(got, location);
  }
  await put(push, location, nothingMore);
}

/** The state of a session that holds `held` bytes; of an empty one any number is good. */
async function expectHeld(wire: Wire, url: URL, held: number): Promise<URL> {
  const got = await wire.send({ method: 'GET', url });
  expectAnswer(got, { status: [204], headers: { Location: '' } });
  const range = got.value('range');
  if (!/^0-[+-]?\d+$/.test(range) || (held > 0 && range !== `0-${held - 1}`)) {
    throw new Error(`Range is ${JSON.stringify(range)} after ${held} bytes`);
  }
  return locationOf(got, url);
}

/** @param from undefined: from wherever it is */
export async function mount(push: Push, from: string | undefined): Promise<void> {
  const target = withParameter(uploads(push), 'mount', push.digest);
  const url = from === undefined ? target : withParameter(target, 'from', from);
  const got = await push.wire.send({ method: 'POST', url });
  expectAnswer(got, { status: [201, 202] });
  if (got.status === 202) {
    await put({ ...push, digestHeader: false }, locationOf(got, url), whole(push.bytes));
    throw new Unsupported('not mounted, but taken as an upload');
  }
  expectDigest(got, push.digest, false);
  await expectStored(push, got, url);
}

/** A mount of what is nowhere has to become an upload. */
export async function mountMissing(push: Push, from: string): Promise<void> {
  try {
    await mount(push, from);
  } catch (error) {
    if (error instanceof Unsupported) return;
    throw error;
  }
  throw new Error('a blob that is nowhere was mounted');
}

export async function cancel(push: Push): Promise<void> {
  expectAnswer(await push.wire.send({ method: 'DELETE', url: await open(push) }), { status: [204] });
}

export type Known = Readonly<{ wire: Wire; repository: string; digest: Digest /** Absent: not known. */; bytes?: Buffer }>;

export async function readBlob(method: 'GET' | 'HEAD', known: Known, digestHeader: boolean): Promise<void> {
  const { wire, bytes, digest } = known;
  const got = await wire.send({ method, url: blobUrl(known) });
  const body = method === 'HEAD' ? NOTHING : bytes;
  expectAnswer(got, {
    status: [200],
    ...(body === undefined ? {} : { body }),
    ...(bytes === undefined ? {} : { headers: { 'Content-Length': String(bytes.length) } }),
  });
  expectDigest(got, digest, digestHeader);
}

export type RangeCase = Readonly<{ range: string /** Absent: nothing there. */; part?: readonly [start: number, end: number] }>;

/** Of 2 048 bytes; `end` exclusive. */
export const RANGES: readonly RangeCase[] = [
  { range: '500-1499', part: [500, 1500] },
  { range: '500-', part: [500, 2048] },
  { range: '-500', part: [1548, 2048] },
  { range: '2000-5000', part: [2000, 2048] },
  { range: '500-0' },
  { range: '5000-10000' },
];

export async function readRange(known: Known & { bytes: Buffer }, { range, part }: RangeCase): Promise<void> {
  const { wire, bytes } = known;
  const got = await wire.send({ method: 'GET', url: blobUrl(known), headers: [['Range', `bytes=${range}`]] });
  if (got.status === 200) {
    expectAnswer(got, { status: [200], body: bytes, headers: { 'Content-Length': String(bytes.length) } });
    throw new Unsupported('the whole instead of a range');
  }
  if (part === undefined) return expectAnswer(got, { status: [416] });
  const [start, end] = part;
  expectAnswer(got, { status: [206], body: bytes.subarray(start, end), headers: { 'Content-Length': String(end - start) } });
  const said = got.values('content-range');
  const good = [`bytes ${start}-${end - 1}/${bytes.length}`, `bytes ${start}-${end - 1}/*`];
  if (!said.some((value) => good.includes(value))) throw new Error(`Content-Range is ${JSON.stringify(said)}`);
}

export async function expectNoBlob(method: 'GET' | 'HEAD', known: Known): Promise<void> {
  expectAnswer(await known.wire.send({ method, url: blobUrl(known) }), { status: [404] });
}

export async function deleteBlob(known: Known): Promise<void> {
  const got = await known.wire.send({ method: 'DELETE', url: blobUrl(known) });
  expectAnswer(got, { status: [202, 404, 405] });
  if (got.status === 405) throw new Unsupported('deletes are 405');
}
