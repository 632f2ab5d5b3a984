import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createLoginCheck } from '../../../src/serve/login-check.ts';
import type { Login } from '../../../src/serve/passwords.ts';
import { Refusal } from '../../../src/serve/refusal.ts';

/** Hashes are the passwords themselves here; what matters is when they are looked at. */
function bench(users: Record<string, string> = { ann: 'right', bob: 'right' }) {
  const compared: string[] = [];
  const rests: number[] = [];
  let time = 0;
  let table = new Map(Object.entries(users));
  let hold: Promise<void> | undefined;
  const check = createLoginCheck({
    users: () => table,
    compare: async (password, hash) => {
      compared.push(hash);
      await hold;
      return password === hash;
    },
    now: () => time,
    rest: async (ms) => void rests.push(ms),
    rememberMs: 1000,
  });
  return {
    compared,
    rests,
    check: (login: Login, peer = '192.0.2.1') => check(login, peer),
    after: (ms: number) => {
      time += ms;
    },
    change: (next: Record<string, string>) => {
      table = new Map(Object.entries(next));
    },
    holdUntil: (until: Promise<void>) => {
      hold = until;
    },
  };
}
const ANN = { user: 'ann', password: 'right' };

describe('logins', () => {
  test('a verdict is remembered for a while, right or wrong', async () => {
    const { check, compared, after } = bench();
    for (let i = 0; i < 3; i++) assert.equal(await check(ANN), true);
    for (let i = 0; i < 3; i++) assert.equal(await check({ ...ANN, password: 'wrong' }), false);
    assert.equal(compared.length, 2);
    after(1000);
    assert.equal(await check(ANN), true);
    assert.equal(compared.length, 3);
  });

  test('a right verdict is remembered as long as it is used, a wrong one is not', async () => {
    const { check, compared, after } = bench();
    const wrong = { ...ANN, password: 'wrong' };
    assert.deepEqual([await check(ANN), await check(wrong)], [true, false]);
    after(900);
    assert.deepEqual([await check(ANN), await check(wrong)], [true, false]);
    assert.equal(compared.length, 2);
    after(900);
    assert.deepEqual([await check(ANN), await check(wrong)], [true, false]);
    assert.equal(compared.length, 3, 'only the wrong one was looked at again');
  });

  test('of too many right ones the one that was not used for longest is forgotten', async () => {
    const logins = Array.from({ length: 1001 }, (_, i) => ({ user: `user-${i}`, password: 'right' }));
    const { check, compared } = bench(Object.fromEntries(logins.map(({ user, password }) => [user, password])));
    const [first, second] = logins as [Login, Login];
    for (const login of logins.slice(0, 1000)) assert.equal(await check(login), true);
    await check(first);
    await check(logins[1000] as Login);
    assert.equal(compared.length, 1001);
    await check(first);
    assert.equal(compared.length, 1001);
    await check(second);
    assert.equal(compared.length, 1002);
  });

  test('a changed or removed password counts at once', async () => {
    const { check, change } = bench();
    assert.equal(await check(ANN), true);
    change({ ann: 'other' });
    assert.equal(await check(ANN), false);
    assert.equal(await check({ user: 'ann', password: 'other' }), true);
    change({});
    assert.equal(await check({ user: 'ann', password: 'other' }), false);
  });

  test('an unknown user costs a comparison with a hash as costly as the costliest, and never gets in', async () => {
    const hash = (cost: string) => `$2b$${cost}$xzDhnDCAYtn4J2o60ONFGOcJNNqLTdxy26IvKGTdi1hk.gqojYshm`;
    const { check, compared } = bench({ ann: hash('05'), bob: hash('12') });
    for (const user of ['eve', '__proto__', 'constructor', ''])
      assert.equal(await check({ user, password: hash('12') }), false, user);
    assert.deepEqual(compared, Array(4).fill(hash('12')));
  });

  test('name, hash and password are not mixed up in what is remembered', async () => {
    const { check } = bench({ a: 'bc', ab: 'x' });
    assert.equal(await check({ user: 'a', password: 'bc' }), true);
    assert.equal(await check({ user: 'ab', password: 'c' }), false);
  });

  test('each run is followed by a rest, twice as long as it took', async () => {
    const { check, compared, rests, holdUntil } = bench();
    holdUntil(new Promise((resolve) => setTimeout(resolve, 30)));
    for (const password of ['a', 'b', 'c']) await check({ user: 'ann', password });
    assert.equal(compared.length, 3);
    assert.ok(rests.length >= 2 && (rests[0] as number) > 30, String(rests));
  });

  test('equal logins at one time are one run', async () => {
    const { check, compared } = bench();
    assert.deepEqual(await Promise.all([check(ANN), check(ANN, '192.0.2.2'), check(ANN)]), [true, true, true]);
    assert.equal(compared.length, 1);
  });

  test('few wait, fewer of one address; the others get 429, and one who is known already does not wait', async () => {
    const { check, compared, holdUntil } = bench();
    assert.equal(await check(ANN), true);
    const { promise, resolve } = Promise.withResolvers<void>();
    holdUntil(promise);
    const outcome = (login: Login, peer: string): Promise<boolean | number> =>
      check(login, peer).catch((error: unknown) => (error instanceof Refusal ? error.status : assert.fail(String(error))));
    const guesses: Promise<boolean | number>[] = [];
    for (let i = 0; i < 6; i++) guesses.push(outcome({ user: 'bob', password: `one ${i}` }, '192.0.2.66'));
    for (let i = 0; i < 30; i++) guesses.push(outcome({ user: 'bob', password: `many ${i}` }, `192.0.2.${100 + i}`));
    assert.equal(await check(ANN), true);
    assert.ok(compared.length <= 2, 'one at a time');
    resolve();
    const outcomes = await Promise.all(guesses);
    assert.deepEqual(outcomes.slice(0, 6), [false, false, false, false, 429, 429]);
    assert.equal(outcomes.filter((each) => each === false).length, 16);
    assert.equal(outcomes.filter((each) => each === 429).length, 20);
    assert.equal(await check({ user: 'bob', password: 'right' }, '192.0.2.66'), true, 'it goes on afterwards');
  });

  test('a thousand wrong guesses do not push out a right one', async () => {
    const { check, compared } = bench();
    assert.equal(await check(ANN), true);
    for (let i = 0; i < 1100; i++) await check({ user: 'eve', password: String(i) });
    const before = compared.length;
    assert.equal(await check(ANN), true);
    assert.equal(compared.length, before);
    await check({ user: 'eve', password: '0' });
    assert.equal(compared.length, before + 1, 'nor is every guess kept');
  });
});
