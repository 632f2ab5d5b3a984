import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fetchToken } from '../../../src/registry/token.ts';
import type { HttpResponse } from '../../../src/registry/transport.ts';

const realm = new URL('https://auth.lab/token');
const clock = { now: () => 0, sleep: async () => undefined };

/** How many seconds a token is used for, given what the service says. */
async function lifeOf(expiresIn: unknown): Promise<number> {
  const answer: HttpResponse = {
    status: 200,
    url: realm,
    header: () => undefined,
    headerLines: () => [],
    body: (async function* () {
      yield Buffer.from(JSON.stringify({ token: 'x', expires_in: expiresIn }));
    })(),
    discard: async () => undefined,
  };
  const transport = { send: async () => answer, close: async () => undefined };
  const request = { realm, from: undefined, service: undefined, scopes: [], credential: undefined };
  return (await fetchToken(transport, clock, request)).expiresAt / 1000;
}

test('a lifetime that is no number of seconds means the minute that is usual', async () => {
  for (const odd of [undefined, null, 'soon', -1, 0, [300], {}, { toString: 1, valueOf: 1 }, true])
    assert.equal(await lifeOf(odd), 55);
  assert.equal(await lifeOf(300), 295);
  assert.equal(await lifeOf('300'), 295);
});
