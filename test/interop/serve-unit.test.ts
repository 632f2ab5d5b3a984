/** The unit file of the registry, by systemd's own judgement. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { must, run } from '../support/real/programs.ts';
import { tempDir } from '../support/temp-dir.ts';
import { tool } from '../support/tools.ts';

const UNIT = resolve(import.meta.dirname, '../../scripts/systemd/bundle-registry.service');
/** docs/registry.md says 1.1. */
const MOST_EXPOSURE = 1.2;

test('the unit file has no fault', async (t) => {
  // Nothing but the program's path is looked for on this machine.
  const copy = join(await tempDir(t), 'bundle-registry.service');
  writeFileSync(copy, readFileSync(UNIT, 'utf8').replace('/usr/local/bin/bundle', '/bin/true'));
  const { code, stderr } = await run(tool('systemd-analyze'), ['verify', copy]);
  assert.deepEqual([code, stderr], [0, '']);
});

test('its exposure stays as low as it is', async () => {
  const out = (await must(tool('systemd-analyze'), ['security', '--offline=true', '--no-pager', UNIT])).toString();
  const score = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(out)?.[1]);
  assert.ok(score > 0 && score <= MOST_EXPOSURE, `${score}\n${out}`);
});

test('the flags in it are flags that there are', async () => {
  const { OPTIONS } = await import('../../src/cli/options.ts');
  const { serveCommand } = await import('../../src/cli/commands/serve.ts');
  const text = readFileSync(UNIT, 'utf8');
  const line = /^ExecStart=(.*)$/m.exec(text)?.[1] ?? '';
  const flags = [...line.matchAll(/--([a-z-]+)/g)].map((match) => match[1] as string);
  const variables = [...text.matchAll(/^Environment=BUNDLE_([A-Z_]+)=/gm)].map((match) =>
    (match[1] as string).toLowerCase().replaceAll('_', '-'),
  );
  assert.ok(flags.length > 3 && variables.length > 0);
  for (const flag of [...flags, ...variables]) {
    assert.ok(Object.hasOwn(OPTIONS, flag), flag);
    assert.ok((serveCommand.options as readonly string[]).includes(flag), flag);
  }
});
