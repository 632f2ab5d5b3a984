import assert from 'node:assert/strict';
import { readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { BundleError } from '../../../src/core/errors.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { nodeFileSystem } from '../../../src/files/node-file-system.ts';
import type { ResponseRecord } from '../../../src/serve/access-log.ts';
import { logLine } from '../../../src/serve/log-line.ts';
import { createLogSink, type LogTarget } from '../../../src/serve/log-sink.ts';
import { fileTarget } from '../../../src/serve/log-target.ts';
import { tempDir } from '../../support/temp-dir.ts';

const RECORD: ResponseRecord = {
  id: 'x',
  peer: '192.0.2.1',
  method: 'GET',
  url: '/v2/',
  authorization: 'Basic',
  range: undefined,
  userAgent: 'test/1',
  status: 200,
  route: 'ping',
  user: 'ann',
  received: 0,
  sent: 2,
  milliseconds: 1.26,
  whole: true,
  error: undefined,
};
const lineOf = (record: Partial<ResponseRecord>) => JSON.parse(logLine({ ...RECORD, ...record }, 0));

describe('a line of the access log', () => {
  test('says who, what, how much and how long', () => {
    assert.deepEqual(lineOf({}), {
      time: '1970-01-01T00:00:00.000Z',
      ...{ id: 'x', peer: '192.0.2.1', user: 'ann', authorization: 'Basic', method: 'GET', url: '/v2/', route: 'ping' },
      ...{ status: 200, received: 0, sent: 2, ms: 1.3, userAgent: 'test/1' },
    });
  });

  test('queries show the values that are known to be harmless, and of others not even odd names', () => {
    const urlOf = (url: string): string => lineOf({ url }).url;
    assert.equal(urlOf('/v2/x/tags/list?n=5&last=b'), '/v2/x/tags/list?n=5&last=b');
    assert.equal(urlOf('/token?account=canary&password=canary&n=1'), '/token?account=…&password=…&n=1');
    assert.equal(urlOf('/v2/?canary'), '/v2/?…');
    assert.equal(urlOf('http://ann:canary@x/v2/'), 'http://x/v2/');
  });

  test('is one line of printable text, whatever a client sends', () => {
    const text = logLine({ ...RECORD, userAgent: 'a\u001b[31m\n\u0085\u2028\u202e\u007f', url: `/v2/${'x'.repeat(9000)}` }, 0);
    assert.equal(text.indexOf('\n'), text.length - 1);
    assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u202e]/);
    assert.ok(text.length < 2500, String(text.length));
  });

  test('an answer that failed says why, one that was cut off says that', () => {
    const error = new BundleError('E_DISK', 'reading /x: EIO');
    assert.equal(lineOf({ error }).error, 'E_DISK: reading /x: EIO');
    assert.equal(lineOf({ whole: false }).whole, false);
  });
});

describe('the access log', () => {
  const memory = (write: LogTarget['write']): LogTarget => ({
    write,
    reopen: async () => undefined,
    close: async () => undefined,
  });

  test('what comes while a slow disk writes waits up to a bound; the rest is dropped and counted in the log itself', async () => {
    const written: string[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const sink = createLogSink(
      memory(async (bytes) => {
        await promise;
        written.push(Buffer.from(bytes).toString());
      }),
      (error) => assert.fail(String(error)),
    );
    const line = `${'x'.repeat(1023)}\n`;
    for (let i = 0; i < 100; i++) sink.line(line);
    await Promise.resolve();
    await Promise.resolve();
    for (let i = 0; i < 2000; i++) sink.line(line);
    assert.equal(sink.dropped(), 2000 - LIMITS.accessLogBytes / 1024);
    resolve();
    await sink.close();
    const text = written.join('');
    assert.equal(text.split(line).length - 1, 100 + LIMITS.accessLogBytes / 1024);
    assert.ok(text.endsWith(`${JSON.stringify({ dropped: sink.dropped() })}\n`));
  });

  test('a full disk is told once, counted, and does not end the log', async () => {
    let [full, complaints] = [true, 0];
    const written: string[] = [];
    const write = async (bytes: Uint8Array): Promise<void> => {
      if (full) throw new Error('ENOSPC');
      written.push(Buffer.from(bytes).toString());
    };
    const sink = createLogSink(memory(write), () => complaints++);
    const settled = () => new Promise((resolve) => setImmediate(resolve));
    for (let i = 0; i < 3; i++) {
      sink.line('lost\n');
      await settled();
    }
    full = false;
    sink.line('kept\n');
    await sink.close();
    assert.equal(complaints, 1);
    assert.match(written.join(''), /^kept\n{"dropped":\d+}\n$/);
  });

  test('a file that logrotate moved away is opened anew', async (t) => {
    const path = join(await tempDir(t), 'log', 'access.jsonl');
    const sink = createLogSink(await fileTarget(nodeFileSystem, path), (error) => assert.fail(String(error)));
    sink.line('first\n');
    await new Promise((resolve) => setTimeout(resolve, 20));
    renameSync(path, `${path}.1`);
    sink.reopen();
    sink.line('second\n');
    await sink.close();
    assert.equal(readFileSync(`${path}.1`, 'utf8'), 'first\n');
    assert.equal(readFileSync(path, 'utf8'), 'second\n');
    assert.equal(statSync(path).mode & 0o777 & ~0o640, 0);
  });
});
