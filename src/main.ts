import { run } from './cli/run.ts';
import { nodeFileSystem } from './files/node-file-system.ts';
import { writeStream } from './files/write-stream.ts';

/** The edge: the only file that knows the process. */
const abort = new AbortController();
// Whatever does not end by itself soon is ended: every write path survives that.
let patienceMs = 3000;
let hangup: (() => void) | undefined;
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  process.on(signal, () => {
    if (signal === 'SIGHUP' && hangup !== undefined) return hangup();
    if (abort.signal.aborted) process.exit(code);
    abort.abort(signal);
    setTimeout(() => process.exit(code), patienceMs).unref();
  });
}
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 7));
// A server outlives whoever read its warnings.
process.stderr.on('error', () => undefined);

process.exitCode = await run(process.argv.slice(2), {
  fs: nodeFileSystem,
  env: process.env,
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  stderrIsTerminal: process.stderr.isTTY === true,
  terminalWidth: () => process.stderr.columns ?? 100,
  now: () => Date.now(),
  signal: abort.signal,
  longRunning: {
    onHangup: (listener) => {
      hangup = listener;
    },
    endWithin: (ms) => {
      patienceMs = ms;
    },
    write: writeStream,
  },
});
