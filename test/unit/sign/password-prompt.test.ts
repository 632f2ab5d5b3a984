import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, it } from 'node:test';
import { terminalPrompt } from '../../../src/sign/password-prompt.ts';
import { rejectsWith } from '../../support/assert-code.ts';

function terminal() {
  const input = Object.assign(new PassThrough(), { isTTY: true });
  const output = new PassThrough();
  let shown = '';
  output.on('data', (chunk) => {
    shown += chunk;
  });
  const prompt = terminalPrompt(input, output) ?? assert.fail('no prompt');
  return { input, prompt, shown: () => shown };
}

describe('the password prompt', () => {
  it('is not there without a terminal', () => {
    assert.equal(terminalPrompt(new PassThrough(), new PassThrough()), undefined);
  });

  it('shows the question and nothing of what is typed, and understands backspace', async () => {
    const { input, prompt, shown } = terminal();
    const answer = prompt('Password: ');
    input.write('secretX\x7f\r');
    assert.equal(await answer, 'secret');
    assert.equal(shown(), 'Password: \n');
  });

  it('can ask again', async () => {
    const { input, prompt } = terminal();
    const first = prompt('1: ');
    input.write('one\r');
    assert.equal(await first, 'one');
    const second = prompt('2: ');
    input.write('two\r');
    assert.equal(await second, 'two');
  });

  it('ends on Ctrl-C and when the terminal goes away', async () => {
    const first = terminal();
    const interrupted = first.prompt('Password: ');
    first.input.write('abc\x03');
    await rejectsWith(interrupted, 'E_INTERRUPTED');
    const second = terminal();
    const closed = second.prompt('Password: ');
    second.input.end();
    await rejectsWith(closed, 'E_KEY_PASSWORD');
  });
});
