/** `bundle serve --writable` as a process: signals, standard input, and what a kill leaves. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, renameSync, symlinkSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { get, type IncomingMessage, request } from 'node:http';
import { join, resolve } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { tempDir } from '../support/temp-dir.ts';

const LAUNCHER = resolve(import.meta.dirname, '../../scripts/bundle');

type Running = Readonly<{ child: ChildProcess; url: string; ended: Promise<number | null>; stderr(): string; stdout(): string }>;

async function start(t: TestContext, directory: string, ...argv: string[]): Promise<Running> {
  const all = ['serve', '--writable', directory, '--listen', '127.0.0.1:0', '--json', ...argv];
  const child = spawn(LAUNCHER, all, {
    env: { PATH: process.env.PATH ?? '', HOME: '/nonexistent' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  const ended = once(child, 'close').then(([code]): number | null => code);
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  t.after(async () => {
    if (child.exitCode === null) child.kill('SIGKILL');
    await ended;
  });
  while (!stdout.includes('\n')) await Promise.race([once(child.stdout, 'data'), ended.then(() => assert.fail(stderr))]);
  return { child, url: JSON.parse(stdout.split('\n')[0] as string).url, ended, stderr: () => stderr, stdout: () => stdout };
}

const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

async function push(url: string, bytes: Buffer): Promise<string> {
  const path = `${url}/v2/x/blobs/uploads/?digest=${digestOf(bytes)}`;
  const reply = await fetch(path, { method: 'POST', body: new Uint8Array(bytes) });
  assert.equal(reply.status, 201, await reply.text());
  return `${url}/v2/x/blobs/${digestOf(bytes)}`;
}

async function open(url: string): Promise<IncomingMessage> {
  const [response] = (await once(get(url, { agent: false }), 'response')) as [IncomingMessage];
  return response;
}

/** Until it takes no more connections, or two seconds have passed. */
async function untilClosed(url: string): Promise<void> {
  const answers = (): Promise<boolean> =>
    fetch(`${url}/healthz`).then(
      () => true,
      () => false,
    );
  for (let i = 0; i < 200 && (await answers()); i++) await setTimeout(10);
}

describe('the process of a registry', () => {
  test('SIGTERM: a running download ends whole, nobody else gets in, the code is 0, the directory is free', async (t) => {
    const directory = join(await tempDir(t), 'store');
    const { child, url, ended, stderr } = await start(t, directory);
    const bytes = randomBytes(48 * 1024 * 1024);
    const response = await open(await push(url, bytes));
    child.kill('SIGTERM');
    await untilClosed(url);
    await assert.rejects(fetch(`${url}/v2/`), 'it takes no more connections');
    assert.equal(child.exitCode, null, 'it waits for the download');
    const hasher = createHash('sha256');
    for await (const chunk of response) hasher.update(chunk as Buffer);
    assert.equal(`sha256:${hasher.digest('hex')}`, digestOf(bytes));
    assert.equal(await ended, 0, stderr());
    const again = await start(t, directory);
    assert.equal((await fetch(`${again.url}/v2/x/blobs/${digestOf(bytes)}`, { method: 'HEAD' })).status, 200);
  });

  test('SIGTERM: what does not end within --grace is cut off, and the code is still 0', async (t) => {
    const { child, url, ended } = await start(t, join(await tempDir(t), 'store'), '--grace', '1s');
    const response = await open(await push(url, randomBytes(48 * 1024 * 1024)));
    response.on('error', () => undefined);
    child.kill('SIGTERM');
    assert.equal(await ended, 0);
  });

  test('a second signal ends it at once', async (t) => {
    const { child, url, ended } = await start(t, join(await tempDir(t), 'store'), '--grace', '10m');
    const response = await open(await push(url, randomBytes(48 * 1024 * 1024)));
    response.on('error', () => undefined);
    child.kill('SIGTERM');
    await untilClosed(url);
    child.kill('SIGTERM');
    assert.equal(await ended, 143);
  });

  test('an upload goes on where it was, over a stop and over a kill', async (t) => {
    const directory = join(await tempDir(t), 'store');
    const bytes = randomBytes(300_000);
    let running = await start(t, directory);
    const { pathname } = new URL(
      (await fetch(`${running.url}/v2/x/blobs/uploads/`, { method: 'POST' })).headers.get('location') ?? '',
      running.url,
    );
    const patch = async (from: number, to: number): Promise<void> => {
      const headers = { 'content-range': `${from}-${to - 1}` };
      const reply = await fetch(running.url + pathname, {
        method: 'PATCH',
        body: new Uint8Array(bytes.subarray(from, to)),
        headers,
      });
      assert.equal(reply.status, 202, await reply.text());
    };
    await patch(0, 100_000);
    running.child.kill('SIGTERM');
    assert.equal(await running.ended, 0, running.stderr());
    running = await start(t, directory);
    await patch(100_000, 200_000);
    running.child.kill('SIGKILL');
    await running.ended;
    running = await start(t, directory);
    const state = await fetch(running.url + pathname);
    assert.equal(state.status, 204);
    const have = Number(/-(\d+)$/.exec(state.headers.get('range') ?? '')?.[1]) + 1;
    await patch(have, 300_000);
    const done = await fetch(`${running.url}${pathname}?digest=${digestOf(bytes)}`, { method: 'PUT' });
    assert.equal(done.status, 201, await done.text());
  });

  test('SIGHUP opens the access log anew; on standard output it does not hold anybody up', async (t) => {
    const dir = await tempDir(t);
    const log = join(dir, 'access.jsonl');
    const { child, url, ended } = await start(t, join(dir, 'store'), '--access-log', log);
    const has = async (path: string, what: string): Promise<void> => {
      for (let i = 0; i < 200; i++) {
        try {
          if (readFileSync(path, 'utf8').includes(what)) return;
        } catch {
          // not made yet
        }
        await setTimeout(10);
      }
      assert.fail(`${path} has no ${what}`);
    };
    await fetch(`${url}/v2/?n=1`);
    await has(log, '/v2/?n=1');
    renameSync(log, `${log}.1`);
    child.kill('SIGHUP');
    await has(log, '');
    await fetch(`${url}/v2/?n=2`);
    await has(log, '/v2/?n=2');
    child.kill('SIGTERM');
    assert.equal(await ended, 0);

    const other = await start(t, join(dir, 'other'), '--access-log', '-');
    other.child.stdout?.pause(); // a collector that sleeps: far more than a pipe holds
    for (let i = 0; i < 100; i++)
      await Promise.all(Array.from({ length: 10 }, () => fetch(`${other.url}/v2/?last=${'x'.repeat(500)}`)));
    assert.equal((await fetch(`${other.url}/healthz`)).status, 200);
    other.child.stdout?.resume();
    other.child.kill('SIGTERM');
    assert.equal(await other.ended, 0, other.stderr());
    assert.ok(other.stdout().includes('"route":"ping"'));
  });

  test('a directory that is a link serves all the same, as systemd makes it for an account of its own', async (t) => {
    const dir = await tempDir(t);
    await mkdir(join(dir, 'private'));
    symlinkSync(join(dir, 'private'), join(dir, 'link'));
    const { url, child, ended } = await start(t, join(dir, 'link'), '--tls', 'self');
    assert.match(url, /^https:/);
    child.kill('SIGTERM');
    assert.equal(await ended, 0);
  });
});

describe('serve --add-user', () => {
  test('reads the password from standard input', async (t) => {
    const file = join(await tempDir(t), 'users');
    const child = spawn(LAUNCHER, ['serve', '--htpasswd', file, '--add-user', 'ann'], {
      env: { PATH: process.env.PATH ?? '' },
      stdio: 'pipe',
    });
    child.stdin.end('s3cret-canary\n');
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        said += chunk;
      });
    const [code] = await once(child, 'close');
    assert.equal(code, 0, said);
    assert.ok(!said.includes('canary'));
    assert.match(readFileSync(file, 'utf8'), /^ann:\$2b\$10\$[^:]{53}\n$/);
    const { url } = await start(t, join(file, '..', 'store'), '--htpasswd', file);
    const sent = request(`${url}/v2/`, { auth: 'ann:s3cret-canary', agent: false }).end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    response.resume();
    assert.equal(response.statusCode, 200);
  });
});
