import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestOf } from '../../../src/core/digest.ts';
import { nodeFileSystem } from '../../../src/files/node-file-system.ts';
import { type MirrorsState, readMirrorsState, writeMirrorsState } from '../../../src/k3s/mirrors-state.ts';
import type { Written } from '../../../src/k3s/written.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { tempDir } from '../../support/temp-dir.ts';

const FILE = '/etc/rancher/k3s/registries.yaml';
const WRITTEN: Written = {
  mirrors: { 'docker.io': { endpoint: ['https://node-1:5000/v2/docker.io'], rewrite: { a: 'b' } } },
  configs: { 'node-1:5000': { auth: 'sha256:0', tls: { ca_file: '/ca.crt', insecure_skip_verify: false } } },
};
const STATE: MirrorsState = {
  written: { lumen: WRITTEN },
  restartOwed: true,
  wayBack: { text: 'absent', written: {} },
  pending: { text: digestOf(Buffer.from('x')), written: { lumen: WRITTEN } },
};

test('what is written is read, and a file that is not there is nothing written', async (t) => {
  const path = join(await tempDir(t), 'state.json');
  assert.deepEqual(await readMirrorsState(nodeFileSystem, path), { written: {} });
  await writeMirrorsState(nodeFileSystem, path, FILE, STATE);
  assert.deepEqual(await readMirrorsState(nodeFileSystem, path), { stateVersion: 1, file: FILE, ...STATE });
});

test('a state or a record in it of the wrong shape is refused with the place', async (t) => {
  const path = join(await tempDir(t), 'state.json');
  const none = { mirrors: {}, configs: {} };
  const records: readonly (readonly [unknown, RegExp])[] = [
    [null, /written\.lumen/],
    [[], /written\.lumen/],
    [{ mirrors: {} }, /written\.lumen\.configs/],
    [{ ...none, more: {} }, /more/],
    [{ ...none, mirrors: { a: 1 } }, /written\.lumen\.mirrors\.a/],
    [{ ...none, mirrors: { a: {} } }, /mirrors\.a\.endpoint/],
    [{ ...none, mirrors: { a: { endpoint: [1] } } }, /mirrors\.a\.endpoint\.0/],
    [{ ...none, configs: { a: { auth: {} } } }, /configs\.a\.auth/],
    [{ ...none, configs: { a: { tls: { ca_file: 1 } } } }, /configs\.a\.tls\.ca_file/],
  ];
  const refused = async (state: object, message: RegExp): Promise<void> => {
    await writeFile(path, JSON.stringify({ stateVersion: 1, file: FILE, written: {}, ...state }));
    await rejectsWith(readMirrorsState(nodeFileSystem, path), 'E_MIRRORS', message);
  };
  for (const [record, message] of records) await refused({ written: { lumen: record } }, message);
  await refused({ stateVersion: 2 }, /stateVersion/);
  await refused({ pending: { text: 'some text', written: {} } }, /pending\.text/);
  await refused({ wayBack: { text: 'sha256:0', written: {} } }, /wayBack\.text/);
});
