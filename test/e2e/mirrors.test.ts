import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { parse } from 'yaml';
import { type Journey, journey } from '../support/command-journey.ts';
import { randomImage, randomIndex } from '../support/random-image.ts';

/** A bundle of both origins, pulled but not loaded; `yaml` is the file that k3s would read. */
async function pulled(t: TestContext) {
  const j = await journey(t);
  const [one, two] = j.origins;
  await one.put('team/app', '1.0', await randomIndex({ seed: 1 }));
  await two.put('team/app', '1.0', await randomImage({ seed: 2 }));
  await pullBundle(j, 'lumen', [`${one.host}/team/app:1.0`, `${two.host}/team/app:1.0`]);
  mkdirSync(j.path('k3s'));
  const yaml = j.path('k3s/registries.yaml');
  const endpoint = `http://${j.target.host}`;
  const mirrors = (...argv: string[]) =>
    j.run([
      'mirrors',
      ...(argv[0]?.startsWith('/') ? argv : [j.path('lumen'), ...argv]),
      '--trust',
      j.key.pub,
      '--state',
      j.path('state'),
    ]);
  return { j, one, two, yaml, endpoint, mirrors, here: ['--registries-yaml', yaml, '--endpoint', endpoint] };
}

async function pullBundle(j: Journey, name: string, refs: readonly string[]): Promise<void> {
  const ran = await j.pull(await j.manifest(name, `images: [${refs.join(', ')}]`), '-o', j.path(name));
  assert.equal(ran.code, 0, ran.stderr);
}

const endpointsIn = (yaml: string): Record<string, string[]> => {
  const { mirrors } = parse(readFileSync(yaml, 'utf8')) as { mirrors: Record<string, { endpoint: string[] }> };
  return Object.fromEntries(Object.entries(mirrors).map(([name, { endpoint }]) => [name, endpoint]));
};
/** A systemctl first on PATH that shows `state` and refuses every restart. */
function systemctl(t: TestContext, j: Journey, state: string): void {
  mkdirSync(j.path('bin'), { recursive: true });
  const script = `#!/bin/sh\ncase "$1" in show) printf '${state}\\n' ;; restart) echo refused >&2; exit 1 ;; esac\n`;
  writeFileSync(j.path('bin/systemctl'), script, { mode: 0o755 });
  const { PATH = '' } = process.env;
  if (PATH.startsWith(j.path('bin'))) return;
  process.env.PATH = `${j.path('bin')}:${PATH}`;
  t.after(() => {
    process.env.PATH = PATH;
  });
}
const atTarget = (j: Journey, host: string): string => `http://${j.target.host}/v2/${host.replace(':', '_')}`;

describe('mirrors', () => {
  test('load writes an entry for every origin and one for the target itself, readable by root alone', async (t) => {
    const { j, one, two, yaml } = await pulled(t);
    const ran = await j.load(j.path('lumen'), '--registries-yaml', yaml);
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual(endpointsIn(yaml), {
      [one.host]: [atTarget(j, one.host)],
      [two.host]: [atTarget(j, two.host)],
      [j.target.host]: [`http://${j.target.host}`],
    });
    assert.equal(statSync(yaml).mode & 0o777, 0o600);
    assert.match(ran.stderr, /^\+mirrors:/m);
    assert.match(ran.stdout, /systemctl restart k3s/);
  });

  test('several endpoints are tried in the order in which they are given', async (t) => {
    const { one, yaml, mirrors } = await pulled(t);
    const ran = await mirrors(
      '--registries-yaml',
      yaml,
      '--endpoint',
      'https://node-1:5000',
      '--endpoint',
      'https://192.168.2.2:5000',
    );
    assert.equal(ran.code, 0, ran.stderr);
    const origin = one.host.replace(':', '_');
    assert.deepEqual(endpointsIn(yaml)[one.host], [`https://node-1:5000/v2/${origin}`, `https://192.168.2.2:5000/v2/${origin}`]);
  });

  test('the second run changes nothing, neither the file nor its time, and says so', async (t) => {
    const { yaml, mirrors, here } = await pulled(t);
    await mirrors(...here);
    const before = [readFileSync(yaml, 'utf8'), statSync(yaml).mtimeMs];
    const ran = await mirrors(...here, '--json');
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal(ran.json().changed, false);
    assert.deepEqual([readFileSync(yaml, 'utf8'), statSync(yaml).mtimeMs], before);
    assert.deepEqual(readdirSync(yaml.replace('/registries.yaml', '')), ['registries.yaml']);
  });

  test('two bundles keep each other’s origins, whichever runs last', async (t) => {
    const { j, one, two, yaml, mirrors, here } = await pulled(t);
    await pullBundle(j, 'first', [`${one.host}/team/app:1.0`]);
    await pullBundle(j, 'second', [`${two.host}/team/app:1.0`]);
    for (const name of ['first', 'second', 'first']) assert.equal((await mirrors(j.path(name), ...here)).code, 0);
    assert.deepEqual(Object.keys(endpointsIn(yaml)).sort(), [one.host, two.host, j.target.host].sort());
  });

  test('an origin that left the bundle leaves the file; one that another bundle needs stays', async (t) => {
    const { j, one, two, yaml, mirrors, here } = await pulled(t);
    await pullBundle(j, 'second', [`${two.host}/team/app:1.0`]);
    await mirrors(...here);
    await mirrors(j.path('second'), ...here);
    await pullBundle(j, 'lumen', [`${one.host}/team/app:1.0`]);
    await mirrors(...here);
    assert.ok(two.host in endpointsIn(yaml), 'the second bundle needs it');
    await pullBundle(j, 'second', [`${one.host}/team/app:1.0`]);
    await mirrors(j.path('second'), ...here);
    assert.deepEqual(Object.keys(endpointsIn(yaml)).sort(), [one.host, j.target.host].sort());
  });

  test('what others wrote stays, comments too, and the old file is kept beside it', async (t) => {
    const { yaml, mirrors, here } = await pulled(t);
    const theirs = '# ours since 2024\nmirrors:\n  "corp.example": # do not touch\n    endpoint: ["https://corp.example:8443"]\n';
    writeFileSync(yaml, theirs);
    const ran = await mirrors(...here, '--json');
    assert.equal(ran.code, 0, ran.stderr);
    const text = readFileSync(yaml, 'utf8');
    for (const line of theirs.trim().split('\n')) assert.ok(text.includes(line), line);
    assert.equal(readFileSync(ran.json().backup, 'utf8'), theirs);
  });

  test('somebody else’s different entry is a conflict with a diff, and nothing is written; --force takes ours', async (t) => {
    const { j, one, yaml, mirrors, here } = await pulled(t);
    const theirs = `mirrors:\n  "${one.host}":\n    endpoint: ["https://proxy.corp"]\n`;
    writeFileSync(yaml, theirs);
    const ran = await mirrors(...here);
    assert.equal(ran.code, 3);
    assert.match(ran.stderr, /registries\.yaml:2:\d+: .*somebody else/);
    assert.match(ran.stderr, /- .*proxy\.corp/);
    assert.match(ran.stderr, /E_MIRRORS_CONFLICT/);
    assert.equal(readFileSync(yaml, 'utf8'), theirs);
    assert.equal((await mirrors(...here, '--force')).code, 0);
    assert.deepEqual(endpointsIn(yaml)[one.host], [atTarget(j, one.host)]);
  });

  test('a file that is not YAML as k3s reads it is refused, not repaired', async (t) => {
    const { yaml, mirrors, here } = await pulled(t);
    for (const text of ['mirrors: [', 'mirrors:\n  a: {endpoint: x}\n  a: {endpoint: y}\n', 'mirors: {}\n']) {
      writeFileSync(yaml, text);
      const ran = await mirrors(...here);
      assert.equal(ran.code, 3, `${text}\n${ran.stderr}`);
      assert.equal(readFileSync(yaml, 'utf8'), text);
    }
  });

  test('-o - prints the file on standard output and writes nothing', async (t) => {
    const { j, one, mirrors, endpoint } = await pulled(t);
    const ran = await mirrors('--endpoint', endpoint, '-o', '-');
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual((parse(ran.stdout) as { mirrors: Record<string, unknown> }).mirrors[one.host], {
      endpoint: [atTarget(j, one.host)],
    });
    assert.equal(existsSync(j.path('state')), false);
  });

  test('-o FILE writes there; with --dry-run it does not, and prints instead', async (t) => {
    const { j, one, mirrors, endpoint } = await pulled(t);
    const out = j.path('for-node-2.yaml');
    const dry = await mirrors('--endpoint', endpoint, '-o', out, '--dry-run');
    assert.equal(dry.code, 0, dry.stderr);
    assert.equal(existsSync(out), false);
    assert.ok(dry.stdout.includes(one.host));
    assert.equal((await mirrors('--endpoint', endpoint, '-o', out)).code, 0);
    assert.deepEqual(endpointsIn(out)[one.host], [atTarget(j, one.host)]);
  });

  test('--dry-run shows the difference and writes nothing', async (t) => {
    const { j, yaml, mirrors, here } = await pulled(t);
    const ran = await mirrors(...here, '--dry-run');
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stderr, /^\+mirrors:/m);
    assert.match(ran.stdout, /would change/);
    assert.equal(existsSync(yaml) || existsSync(j.path('state')), false);
  });

  test('--hosts-toml prints what k3s derives, one file per origin', async (t) => {
    const { j, one, mirrors, endpoint } = await pulled(t);
    const ran = await mirrors('--endpoint', endpoint, '--hosts-toml');
    assert.equal(ran.code, 0, ran.stderr);
    assert.ok(ran.stdout.includes(`[host."${atTarget(j, one.host)}"]`), ran.stdout);
    assert.match(ran.stdout, /override_path = true/);
  });

  test('--check resolves every origin by tag and digest at the target: fails before the load, passes after', async (t) => {
    const { j, yaml, mirrors, here } = await pulled(t);
    const before = await mirrors(...here, '--check');
    assert.equal(before.code, 4, before.stderr);
    assert.match(before.stderr, /E_MIRROR_CHECK/);
    assert.match(before.stderr, /load the bundle into this target first/);
    assert.equal(existsSync(yaml), false, 'proven before it is put in place');
    assert.equal((await j.load(j.path('lumen'), '--skip-mirrors')).code, 0);
    j.target.clear();
    const after = await mirrors(...here, '--check');
    assert.equal(after.code, 0, after.stderr);
    assert.equal(after.stderr.match(/^ {2}resolves /gm)?.length, 4);
    assert.ok(j.target.requests.length >= 4 && j.target.requests.every((r) => r.startsWith('HEAD ')), 'by HEAD');
    assert.ok(existsSync(yaml));
  });

  test('--check finds a tag that means something else at the target', async (t) => {
    const { j, one, mirrors, here } = await pulled(t);
    await j.load(j.path('lumen'), '--skip-mirrors');
    await j.target.put(j.at(one, 'team/app'), '1.0', await randomImage({ seed: 9 }));
    const ran = await mirrors(...here, '--check');
    assert.equal(ran.code, 4);
    assert.match(ran.stderr, /FAILS .*team\/app:1\.0 by tag .*got sha256:.*want sha256:/);
  });

  test('only a trusted bundle says where the nodes look', async (t) => {
    const { j, yaml, here } = await pulled(t);
    await j.pull(j.path('manifests/lumen.yaml'), '-o', j.path('unsigned'), '--unsigned');
    const ran = await j.run(['mirrors', j.path('unsigned'), '--trust', j.key.pub, '--state', j.path('state'), ...here]);
    assert.equal(ran.code, 6);
    assert.equal(existsSync(yaml), false);
  });

  test('without an endpoint, or where there is no k3s, it says the line to write', async (t) => {
    const { yaml, mirrors, endpoint } = await pulled(t);
    const none = await mirrors('--registries-yaml', yaml);
    assert.equal(none.code, 2);
    assert.match(none.stderr, /--endpoint https:\/\/node-1:5000/);
    const nowhere = await mirrors('--endpoint', endpoint);
    assert.equal(nowhere.code, 2);
    assert.match(nowhere.stderr, /-o -|--registries-yaml/);
  });

  test('load on a machine without k3s says how to get the file for the nodes', async (t) => {
    const { j } = await pulled(t);
    const ran = await j.load(j.path('lumen'), '--endpoint', 'https://node-1:5000');
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stdout, /bundle mirrors .*lumen --endpoint https:\/\/node-1:5000 --trust \S+\.pub -o -/);
  });

  test('what the nodes log in with is written for them and shown to nobody; what pushes is never written', async (t) => {
    const { j, yaml, mirrors, endpoint } = await pulled(t);
    writeFileSync(j.path('node.auth'), 'node:s3cret-of-nodes\n');
    const ran = await mirrors('--registries-yaml', yaml, '--endpoint', endpoint, '--node-auth', j.path('node.auth'));
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual((parse(readFileSync(yaml, 'utf8')) as { configs: Record<string, unknown> }).configs[j.target.host], {
      auth: { username: 'node', password: 's3cret-of-nodes' },
    });
    assert.ok(!`${ran.stdout}${ran.stderr}`.includes('s3cret'));
    for (const name of readdirSync(j.path('state/mirrors')))
      assert.ok(!readFileSync(j.path('state/mirrors', name), 'utf8').includes('s3cret'), 'nor kept in the state');
  });

  test('changed without --restart, then a restart that fails: the old bytes are back, and the next run is no silent success', async (t) => {
    const { j, yaml, mirrors, here } = await pulled(t);
    systemctl(t, j, 'LoadState=loaded\nActiveState=active\nMainPID=7');
    const theirs = '# ours\nmirrors:\n  corp.example: {endpoint: ["https://corp.example:8443"]}\n';
    writeFileSync(yaml, theirs);
    assert.equal((await mirrors(...here)).code, 0);
    assert.notEqual(readFileSync(yaml, 'utf8'), theirs);
    for (const run of ['second', 'third']) {
      const ran = await mirrors(...here, '--restart');
      assert.notEqual(ran.code, 0, `${run}: ${ran.stdout}`);
      assert.match(ran.stderr, /E_RESTART/, run);
      assert.match(ran.stderr, /the old file is back/, run);
      assert.equal(readFileSync(yaml, 'utf8'), theirs, run);
    }
  });

  test('--restart whose old file is gone says that it was NOT put back, again and again', async (t) => {
    const { j, yaml, mirrors, here } = await pulled(t);
    systemctl(t, j, 'LoadState=loaded\nActiveState=failed\nMainPID=0');
    writeFileSync(yaml, '# ours\n');
    assert.equal((await mirrors(...here)).code, 0);
    writeFileSync(`${yaml}.bak-lumen`, '# other\n');
    for (const run of ['second', 'third']) {
      const ran = await mirrors(...here, '--restart');
      assert.notEqual(ran.code, 0, run);
      assert.match(ran.stderr, /the file was NOT put back: .*; backup is .*registries\.yaml\.bak-lumen/, run);
    }
  });

  test('--restart without a k3s service, and with one that is stopped, says which', async (t) => {
    const { j, mirrors, here } = await pulled(t);
    systemctl(t, j, 'LoadState=not-found\nActiveState=inactive\nMainPID=0');
    const none = await mirrors(...here, '--restart');
    assert.equal(none.code, 0, none.stderr);
    assert.match(none.stdout, /there is no k3s or k3s-agent service/);
    systemctl(t, j, 'LoadState=loaded\nActiveState=inactive\nMainPID=0');
    const stopped = await mirrors(...here, '--restart');
    assert.equal(stopped.code, 0, stopped.stderr);
    assert.match(stopped.stdout, /k3s\.service is not running/);
  });

  test('a lock that another host left is taken over with --break-lock', async (t) => {
    const { j, mirrors, here } = await pulled(t);
    mkdirSync(j.path('state/mirrors/.lock'), { recursive: true });
    const owner = {
      pid: 1,
      host: 'gone.invalid',
      bootId: 'b',
      startTime: '1',
      token: '0'.repeat(32),
      command: 'bundle mirrors x',
    };
    writeFileSync(j.path('state/mirrors/.lock/owner.json'), JSON.stringify(owner));
    const ran = await mirrors(...here);
    assert.equal(ran.code, 8);
    assert.match(ran.stderr, /--break-lock/);
    const broken = await mirrors(...here, '--break-lock');
    assert.equal(broken.code, 0, broken.stderr);
  });

  test('a login for the nodes that can not be read is a usage error', async (t) => {
    const { j, yaml, mirrors, endpoint } = await pulled(t);
    writeFileSync(j.path('empty'), '');
    for (const file of [j.path('gone'), j.path('empty')])
      assert.equal((await mirrors('--registries-yaml', yaml, '--endpoint', endpoint, '--node-auth', file)).code, 2);
  });

  test('a registry that speaks plain HTTP is an http endpoint, however its name is written', async (t) => {
    const { j, one } = await pulled(t);
    const argv = ['mirrors', j.path('lumen'), '--trust', j.key.pub, '--state', j.path('state'), '-o', '-'];
    const ran = await j.run([...argv, '--registry', 'node-1:5000', '--plain-http', 'NODE-1:5000']);
    assert.equal(ran.code, 0, ran.stderr);
    assert.ok(ran.stdout.includes(`http://node-1:5000/v2/${one.host.replace(':', '_')}`), ran.stdout);
  });
});
