/** Against a systemctl of our own: a shell script on PATH that plays units whose start depends on registries.yaml. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { type RestartRequest, restartK3s } from '../../../src/k3s/restart.ts';
import { createSpawn } from '../../../src/k3s/spawn.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { type Ending, tempDir } from '../../support/temp-dir.ts';

// registries.yaml says how the unit takes it: good, refused (restart fails), failed (dies later), loop (restarted for ever), slow (up at the 5th look).
const SYSTEMCTL = `#!/bin/sh
cd "$DIR" || exit 9
echo "$*" >> calls
unit=\${2%.service}
state() { printf 'LoadState=%s\\nActiveState=%s\\nMainPID=%s\\n' "$3" "$1" "$2"; }
case "$1" in
show)
  [ -f "$unit.state" ] || { state inactive 0 not-found; exit 0; }
  looks=$(($(cat looks 2>/dev/null || echo 0) + 1)); echo $looks > looks
  case "$(cat "$unit.state")" in
  up) state active 100 loaded ;;
  stopped) state inactive 0 loaded ;;
  dead) state failed 0 loaded ;;
  failed) [ $looks -lt 4 ] && state active 7 || state failed 0 ;;
  loop) [ $((looks % 3)) = 0 ] && state activating 0 || state active $looks ;;
  slow) [ $looks -lt 5 ] && state activating 0 || state active 55 ;;
  esac ;;
restart)
  rm -f looks
  case "$(cat registries.yaml)" in
  good*) echo up > "$unit.state" ;;
  refused*) echo "Warning: first line" >&2; echo "Job for $unit.service failed" >&2; exit 1 ;;
  *) cut -d' ' -f1 registries.yaml > "$unit.state" ;;
  esac ;;
esac
`;

async function createHost(t: Ending, file: string, running: string | undefined, state = 'up') {
  const directory = await tempDir(t);
  await writeFile(`${directory}/systemctl`, SYSTEMCTL, { mode: 0o755 });
  await writeFile(`${directory}/registries.yaml`, file);
  await writeFile(`${directory}/calls`, '');
  if (running !== undefined) await writeFile(`${directory}/${running}.state`, state);
  let now = 0;
  const sleeps: number[] = [];
  const request = (more: Partial<RestartRequest> = {}): RestartRequest => ({
    spawn: createSpawn({ DIR: directory, PATH: `${directory}:/usr/bin:/bin` }),
    changed: true,
    restore: async () => {
      await writeFile(`${directory}/registries.yaml`, 'good old');
      return { done: true };
    },
    clock: {
      now: () => now,
      sleep: async (ms) => {
        sleeps.push(ms);
        now += ms;
      },
    },
    ...more,
  });
  const calls = async (): Promise<string[]> =>
    (await readFile(`${directory}/calls`, 'utf8')).split('\n').filter((line) => /^(restart|reset)/.test(line));
  return { request, calls, file: () => readFile(`${directory}/registries.yaml`, 'utf8'), elapsed: () => now };
}

test('nothing changed: systemctl is not even asked', async (t) => {
  const host = await createHost(t, 'good new', 'k3s');
  assert.deepEqual(await restartK3s(host.request({ changed: false })), { restarted: false, unit: undefined, why: 'unchanged' });
  assert.deepEqual(await host.calls(), []);
});

for (const unit of ['k3s', 'k3s-agent']) {
  test(`the running ${unit} is restarted, and the call ends when it has stayed up`, async (t) => {
    const host = await createHost(t, 'good new', unit);
    assert.deepEqual(await restartK3s(host.request()), { restarted: true, unit, why: 'changed' });
    assert.deepEqual(await host.calls(), [`restart ${unit}.service`]);
    assert.equal(host.elapsed(), 10_000);
  });
}

test('no k3s service at all is told from one that is stopped; neither is started', async (t) => {
  const none = await createHost(t, 'good new', undefined);
  assert.deepEqual(await restartK3s(none.request()), { restarted: false, unit: undefined, why: 'absent' });
  const stopped = await createHost(t, 'good new', 'k3s-agent', 'stopped');
  assert.deepEqual(await restartK3s(stopped.request()), { restarted: false, unit: 'k3s-agent', why: 'not running' });
  for (const host of [none, stopped]) assert.deepEqual(await host.calls(), []);
});

test('a k3s that failed is started with the new file', async (t) => {
  const host = await createHost(t, 'good new', 'k3s-agent', 'dead');
  assert.deepEqual(await restartK3s(host.request()), { restarted: true, unit: 'k3s-agent', why: 'changed' });
  assert.deepEqual(await host.calls(), ['reset-failed k3s-agent.service', 'restart k3s-agent.service']);
});

test('a k3s that failed and does not take the new file either is an error', async (t) => {
  const host = await createHost(t, 'refused new', 'k3s', 'dead');
  await rejectsWith(restartK3s(host.request()), 'E_RESTART', /the old file is back/);
});

test('an old file that could not be put back is not claimed to be, and k3s is not restarted for nothing', async (t) => {
  const host = await createHost(t, 'refused new', 'k3s');
  const restore = async () => ({ done: false as const, why: 'reason', backup: '/kept/here' });
  const error = await rejectsWith(
    restartK3s(host.request({ restore })),
    'E_RESTART',
    /NOT put back: reason; backup is \/kept\/here/,
  );
  assert.deepEqual([error.detail.restored, error.detail.running], [false, false]);
  assert.deepEqual(await host.calls(), ['restart k3s.service']);
  const broken = async () => Promise.reject(new Error('disk gone'));
  await rejectsWith(restartK3s(host.request({ restore: broken })), 'E_RESTART', /NOT put back: disk gone/);
});

test('a k3s that needs time to come up is waited for', async (t) => {
  const host = await createHost(t, 'slow new', 'k3s');
  assert.equal((await restartK3s(host.request())).restarted, true);
  assert.equal(await host.file(), 'slow new');
});

const BROKEN: readonly (readonly [kind: string, message: RegExp])[] = [
  ['refused', /Job for k3s\.service failed/],
  ['failed', /its state is failed/],
  ['loop', /its state is (?:active|activating)/],
];
for (const [kind, message] of BROKEN) {
  test(`k3s does not come back (${kind}): the old file is put back, k3s restarted again, and the error says both`, async (t) => {
    const host = await createHost(t, `${kind} new`, 'k3s');
    const error = await rejectsWith(restartK3s(host.request()), 'E_RESTART', message);
    assert.match(error.message, /the old file is back and it runs again/);
    assert.match(error.hint ?? '', /journalctl -u k3s/);
    assert.equal(await host.file(), 'good old');
    assert.deepEqual(await host.calls(), ['restart k3s.service', 'reset-failed k3s.service', 'restart k3s.service']);
  });
}

test('the wait is bounded', async (t) => {
  const host = await createHost(t, 'loop new', 'k3s');
  await rejectsWith(restartK3s(host.request({ timeoutMs: 30_000 })), 'E_RESTART');
  assert.ok(host.elapsed() <= 30_000 + 1000 + 10_000);
});

test('the old file does not help either: said so', async (t) => {
  const host = await createHost(t, 'refused new', 'k3s');
  const error = await rejectsWith(
    restartK3s(host.request({ restore: async () => ({ done: true }) })),
    'E_RESTART',
    /does not run either/,
  );
  assert.equal(error.detail.running, false);
});

test('without systemctl it is a plain error', async (t) => {
  const host = await createHost(t, 'good new', 'k3s');
  const directory = await tempDir(t);
  await rejectsWith(restartK3s(host.request({ spawn: createSpawn({ PATH: directory }) })), 'E_NOT_FOUND', /systemctl/);
});

test('a program that prints without end, or does not end, is stopped', async () => {
  const spawn = createSpawn();
  await rejectsWith(
    spawn(['sh', '-c', 'while :; do echo xxxxxxxxxxxxxxxx; done'], { timeoutMs: 20_000, maxBytes: 1000 }),
    'E_LIMIT',
  );
  assert.equal((await spawn(['sh', '-c', 'exec sleep 60'], { timeoutMs: 100 })).status, undefined);
  const long = await spawn(
    ['sh', '-c', 'i=0; while [ $i -lt 3000 ]; do echo 0123456789 >&2; i=$((i+1)); done; echo end >&2; exit 3'],
    { timeoutMs: 20_000 },
  );
  assert.equal(long.status, 3);
  assert.ok(long.stderr.length <= 16 * 1024 && long.stderr.endsWith('end\n'));
});

test('no shell reads the arguments of a program', async () => {
  assert.equal(
    (await createSpawn()(['printf', '%s', '$(id) `id` ; *'], { timeoutMs: 5000 })).stdout.toString(),
    '$(id) `id` ; *',
  );
});
