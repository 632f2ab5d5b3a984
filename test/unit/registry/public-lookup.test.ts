import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { createServer } from 'node:http';
import { type AddressInfo, isIP } from 'node:net';
import { describe, it } from 'node:test';
import { createRegistryClient } from '../../../src/registry/client.ts';
import type { Resolve } from '../../../src/registry/public-lookup.ts';
import { createTransport, type HttpRequest, type HttpResponse } from '../../../src/registry/transport.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import type { Ending } from '../../support/temp-dir.ts';

const NAMES: Readonly<Record<string, string>> = {
  'registry.example': '8.8.8.8',
  'registry.corp': '10.0.0.5',
  'storage.test': '127.0.0.1',
  'metadata.test': '169.254.169.254',
};
const resolve: Resolve = async (name): Promise<LookupAddress[]> => {
  const address = NAMES[name];
  if (address === undefined) throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
  return [{ address, family: isIP(address) }];
};

async function site(t: Ending) {
  let asked = 0;
  const server = createServer((_, response) => {
    asked++;
    response.end('{}');
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const transport = createTransport({ environment: {}, resolve });
  t.after(() => transport.close());
  const { port } = server.address() as AddressInfo;
  const get = (name: string, from: string) =>
    transport.send({ method: 'GET', url: new URL(`http://${name}:${port}/`), from: new URL(`https://${from}/`) });
  return { get, asked: () => asked };
}

describe('a host that another host named', () => {
  it('is not connected to when its name means a private address and the other one is public', async (t) => {
    const { get, asked } = await site(t);
    await rejectsWith(get('storage.test', 'registry.example'), 'E_REDIRECT', /storage\.test, which is at 127\.0\.0\.1/);
    await rejectsWith(get('storage.test', 'nobody.knows'), 'E_REDIRECT');
    await rejectsWith(get('storage.test', '8.8.4.4'), 'E_REDIRECT');
    assert.equal(asked(), 0);
  });

  it('is connected to when the other one is inside too', async (t) => {
    const { get, asked } = await site(t);
    for (const from of ['registry.corp', '10.0.0.5', 'localhost']) {
      const response = await get('storage.test', from);
      await response.discard();
      assert.equal(response.status, 200);
    }
    assert.equal(asked(), 3);
  });

  it('is never connected to at a link-local address', async (t) => {
    const { get } = await site(t);
    await rejectsWith(get('metadata.test', 'registry.corp'), 'E_REDIRECT', /link-local/);
  });

  it('that does not exist is a network error as always', async (t) => {
    const { get } = await site(t);
    await rejectsWith(get('gone.test', 'registry.corp'), 'E_NETWORK', /ENOTFOUND/);
  });
});

describe('the client says who named a host', () => {
  it('for redirects and token services away from the registry, not for the registry itself', async () => {
    const seen: [string, string | undefined][] = [];
    const answer = (request: HttpRequest, status: number, headers: Record<string, string>, text: string): HttpResponse => ({
      status,
      url: request.url,
      header: (name) => headers[name],
      headerLines: (name) => (headers[name] === undefined ? [] : [headers[name]]),
      body: (async function* () {
        yield Buffer.from(text);
      })(),
      discard: async () => undefined,
    });
    const transport = {
      async send(request: HttpRequest) {
        seen.push([request.url.hostname, request.from?.hostname]);
        if (request.url.hostname === 'auth.test') return answer(request, 200, {}, '{"token":"t"}');
        if (request.url.hostname === 'storage.test') return answer(request, 404, {}, '');
        if (request.headers?.authorization !== undefined) return answer(request, 307, { location: 'https://storage.test/x' }, '');
        return answer(request, 401, { 'www-authenticate': 'Bearer realm="https://auth.test/token"' }, '');
      },
      close: async () => undefined,
    };
    const client = createRegistryClient({ credentials: { find: async () => undefined }, transport });
    await rejectsWith(client.getManifest('registry.example', 'a/b', 'v1'), 'E_NOT_FOUND');
    assert.deepEqual(seen, [
      ['registry.example', undefined],
      ['auth.test', 'registry.example'],
      ['registry.example', undefined],
      ['storage.test', 'registry.example'],
    ]);
  });
});
