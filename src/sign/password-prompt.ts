import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { BundleError } from '../core/errors.ts';
import type { PasswordPrompt } from './password.ts';

type Terminal = NodeJS.ReadableStream & { isTTY?: boolean };

/**
 * A prompt that shows nothing of what is typed; undefined when `input` is no terminal (a pipe, cron).
 * The prompt itself throws BundleError E_INTERRUPTED on Ctrl-C and E_KEY_PASSWORD when the terminal closes.
 */
export function terminalPrompt(input: Terminal, output: NodeJS.WritableStream): PasswordPrompt | undefined {
  if (input.isTTY !== true) return undefined;
  return (question) =>
    new Promise((resolve, reject) => {
      // readline echoes what is typed to its output: it gets one that swallows everything.
      const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
      const lines = createInterface({ input, output: nowhere, terminal: true, historySize: 0 });
      const finish = (settle: () => void) => {
        settle(); // before close(), whose event would settle it otherwise
        lines.close();
        output.write('\n');
      };
      output.write(question);
      lines.once('line', (line) => finish(() => resolve(line)));
      lines.once('SIGINT', () =>
        finish(() => reject(new BundleError('E_INTERRUPTED', 'interrupted while asking for the password'))),
      );
      lines.once('close', () => reject(new BundleError('E_KEY_PASSWORD', 'the terminal closed before a password was typed')));
    });
}
