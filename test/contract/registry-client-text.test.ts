/** How the client reads lists behind URLs, and how it leaves answers that it does not read. */

import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { createRegistryClient } from '../../src/registry/client.ts';
import { rejectsWith } from '../support/assert-code.ts';
import { blobOf } from '../support/random-image.ts';
import type { Ending } from '../support/temp-dir.ts';
import { fakeClock } from './registry-client-harness.ts';

type Answer = (request: IncomingMessage, response: ServerResponse, n: number) => void;

async function site(t: Ending, answer: Answer, plain = true) {
  const closed: Promise<void>[] = [];
  let asked = 0;
  const server = createServer((request, response) => {
    closed.push(new Promise((resolve) => response.once('close', resolve)));
    answer(request, response, ++asked);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const clock = fakeClock();
  const client = createRegistryClient({
    credentials: { find: async () => undefined },
    clock,
    environment: {},
    plainHttp: plain ? [host] : [],
  });
  t.after(() => client.close());
  return { host, client, clock, closed, asked: () => asked, text: () => client.fetchText(`http://${host}/list`, 1000) };
}

describe('a list behind a URL', () => {
  it('is not asked for by plain http unless its host is named', async (t) => {
    const { text, asked, host } = await site(t, (_, response) => response.end('a'), false);
    const error = await rejectsWith(text(), 'E_USAGE', /plain http/);
    assert.ok(error.hint?.includes(`--plain-http ${host}`));
    assert.equal(asked(), 0);
  });

  it('is asked for again after 429, 503 and a broken connection', async (t) => {
    const { text, clock } = await site(t, (request, response, n) => {
      if (n === 1) response.writeHead(429, { 'retry-after': '7' }).end();
      else if (n === 2) response.writeHead(503).end();
      else if (n === 3) request.socket.destroy();
      else if (n === 4) response.writeHead(200, { 'content-length': '10' }).write('abc', () => request.socket.destroy());
      else response.end('the list');
    });
    assert.equal(await text(), 'the list');
    assert.equal(clock.slept.length, 4);
    assert.equal(clock.slept[0], 7000);
  });

  it('is not asked for again after 403 and 404, and not for ever after 503', async (t) => {
    for (const [status, code, times] of [
      [403, 'E_NETWORK', 1],
      [404, 'E_NOT_FOUND', 1],
      [503, 'E_NETWORK', 6],
      [429, 'E_RATE_LIMIT', 6],
    ] as const) {
      const { text, asked } = await site(t, (_, response) => response.writeHead(status).end());
      await rejectsWith(text(), code, new RegExp(String(status)));
      assert.equal(asked(), times);
    }
  });

  it('that redirects to no URL at all is told by name', async (t) => {
    const { text } = await site(t, (_, response) => response.writeHead(302, { location: 'https://[' }).end());
    await rejectsWith(text(), 'E_REDIRECT', /not a URL/);
  });

  it('that redirects to plain http elsewhere is refused', async (t) => {
    const { text } = await site(t, (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/x' }).end());
    await rejectsWith(text(), 'E_USAGE', /127\.0\.0\.1:1/);
  });
});

describe('an answer that is refused for its headers', () => {
  const blob = { ...blobOf('x'.repeat(200_000)), size: 200_000 };
  const cases = {
    'an encoded 200': [200, { 'content-encoding': 'gzip' }, 0],
    'an encoded 206': [206, { 'content-encoding': 'gzip' }, 10],
    'a 206 with the wrong range': [206, { 'content-range': 'bytes 50-60/70' }, 10],
  } as const;
  for (const [name, [status, headers, from]] of Object.entries(cases)) {
    it(`${name} does not hold its connection`, { timeout: 10_000 }, async (t) => {
      const { client, host, closed } = await site(t, (_, response) => {
        response.writeHead(status, { ...headers, 'content-length': '200000' }).write('x'); // and the rest never comes
      });
      const read = async (): Promise<void> => {
        for await (const _ of client.readBlob(host, 'a/b', blob, from)) assert.fail('bytes were handed on');
      };
      await rejectsWith(read(), 'E_REGISTRY');
      await closed[0];
    });
  }
});
