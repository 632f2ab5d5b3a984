import assert from 'node:assert/strict';
import { createHash, createPublicKey, X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { AuthorityKeyIdentifierExtension, X509Certificate as Parsed } from '@peculiar/x509';
import { generate } from 'selfsigned';
import { nodeFileSystem } from '../../../src/files/node-file-system.ts';
import { ownCertificate } from '../../../src/serve/own-ca.ts';
import { serverNames } from '../../../src/serve/server-names.ts';
import { rejectsWith, throwsWith } from '../../support/assert-code.ts';
import { tempDir } from '../../support/temp-dir.ts';

const DAY = 86_400_000;
const START = Date.UTC(2027, 0, 1);
const NAMES = ['node-1', 'localhost', '127.0.0.1', '::1', '192.0.2.7'];

async function bench(t: TestContext) {
  const directory = join(await tempDir(t), 'tls');
  return {
    path: (name: string) => join(directory, name),
    at: (now: number, names: readonly string[] = NAMES) => ownCertificate(nodeFileSystem, directory, names, now),
  };
}

/** A CA as `selfsigned` made them until key identifiers came. */
async function writeEarlierCa({ path }: Awaited<ReturnType<typeof bench>>): Promise<X509Certificate> {
  const { private: key, public: spki } = await generate([], { keyType: 'ec', curve: 'P-256' });
  const id = createHash('sha256')
    .update(createPublicKey(spki).export({ format: 'der', type: 'spki' }))
    .digest('hex');
  const { cert } = await generate([{ name: 'commonName', value: `bundle registry CA ${id.slice(0, 16)}` }], {
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    keyPair: { privateKey: key, publicKey: spki },
    notBeforeDate: new Date(START - DAY),
    notAfterDate: new Date(START + 3650 * DAY),
    extensions: [
      { name: 'basicConstraints', cA: true, pathLenConstraint: 0, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  mkdirSync(path('.'), { recursive: true });
  writeFileSync(path('ca.key'), key, { mode: 0o600 });
  writeFileSync(path('ca.crt'), cert);
  return new X509Certificate(cert);
}

const authorityKeyOf = (pem: string) => new Parsed(pem).getExtension(AuthorityKeyIdentifierExtension)?.keyId;

describe('a CA of our own', () => {
  test('makes a certificate for every name that is asked for, for less than 398 days, under a CA for ten years', async (t) => {
    const { at, path } = await bench(t);
    const own = await at(START);
    const [leaf, ca] = [new X509Certificate(own.cert), new X509Certificate(readFileSync(path('ca.crt')))];
    assert.ok(leaf.verify(ca.publicKey) && leaf.checkIssued(ca) && ca.ca && !leaf.ca);
    for (const name of ['node-1', 'localhost']) assert.equal(leaf.checkHost(name), name);
    for (const address of ['127.0.0.1', '::1', '192.0.2.7']) assert.ok(leaf.checkIP(address), address);
    assert.ok(own.expires - leaf.validFromDate.getTime() <= 398 * DAY);
    assert.equal(Math.round((own.caExpires - START) / DAY), 3650);
    for (const each of [leaf, ca])
      assert.equal(START - each.validFromDate.getTime(), 86_400_000, 'for nodes whose clocks are behind');
    for (const key of ['ca.key', 'server.key']) assert.equal(statSync(path(key)).mode & 0o777, 0o600, key);
  });

  test('stays as it is until 30 days are left, then only the server certificate is made anew', async (t) => {
    const { at } = await bench(t);
    const first = await at(START);
    const later = await at(first.expires - 31 * DAY);
    assert.deepEqual([later.renewed, later.cert], [false, first.cert]);
    const renewed = await at(first.expires - 29 * DAY);
    assert.ok(renewed.renewed && renewed.expires > first.expires);
    assert.equal(renewed.caSha256, first.caSha256);
  });

  test('a name that is missing makes it anew under the same CA; one that went away does not', async (t) => {
    const { at } = await bench(t);
    const first = await at(START);
    const more = await at(START, [...NAMES, '2001:db8::5', 'reg.example']);
    assert.ok(more.renewed);
    assert.equal(more.caSha256, first.caSha256);
    assert.equal((await at(START, ['node-1'])).renewed, false);
  });

  test('a key that others may read is closed again; a pair that does not fit is made anew', async (t) => {
    const { at, path } = await bench(t);
    await at(START);
    chmodSync(path('ca.key'), 0o644);
    await at(START);
    assert.equal(statSync(path('ca.key')).mode & 0o777, 0o600);
    writeFileSync(path('server.key'), readFileSync(path('ca.key')));
    assert.ok((await at(START)).renewed);
    writeFileSync(path('server.crt'), 'cut off');
    assert.ok((await at(START)).renewed);
  });

  test('a kill between the key of the CA and its certificate: the same key makes a CA that the nodes still trust', async (t) => {
    const { at, path } = await bench(t);
    const first = await at(START);
    const before = new X509Certificate(readFileSync(path('ca.crt')));
    rmSync(path('ca.crt'));
    const leaf = new X509Certificate((await at(START + DAY, [...NAMES, 'new'])).cert);
    assert.ok(leaf.checkIssued(before) && leaf.verify(before.publicKey));
    assert.ok(first.renewed);
  });

  test('a CA from before key identifiers stays, and what it issues names no identifier that it does not have', async (t) => {
    const own = await bench(t);
    const earlier = await writeEarlierCa(own);
    const before = [readFileSync(own.path('ca.key')), readFileSync(own.path('ca.crt'))];
    const { cert } = await own.at(START);
    const leaf = new X509Certificate(cert);
    assert.ok(leaf.checkIssued(earlier) && leaf.verify(earlier.publicKey));
    assert.equal(authorityKeyOf(cert), undefined);
    assert.equal((await own.at(START)).renewed, false);
    assert.deepEqual([readFileSync(own.path('ca.key')), readFileSync(own.path('ca.crt'))], before);
  });

  test('its key without its certificate makes a CA with an identifier, and nodes that know the old one take what that issues', async (t) => {
    const own = await bench(t);
    const earlier = await writeEarlierCa(own);
    rmSync(own.path('ca.crt'));
    const { cert } = await own.at(START);
    const leaf = new X509Certificate(cert);
    assert.match(authorityKeyOf(cert) ?? '', /^[0-9a-f]{40}$/);
    assert.ok(leaf.checkIssued(earlier) && leaf.verify(earlier.publicKey));
  });

  test('never outlives its CA, and says what to do when that has ended', async (t) => {
    const { at } = await bench(t);
    const { caExpires } = await at(START);
    const last = await at(caExpires - 100 * DAY);
    assert.equal(last.expires, caExpires);
    const error = await rejectsWith(at(caExpires + 1), 'E_TLS', /expired/);
    assert.match(error.hint ?? '', /move .* away/);
  });

  test('a lost key, a foreign key, or a clock that was never set is an error, not a new CA', async (t) => {
    const { at, path } = await bench(t);
    await rejectsWith(at(0), 'E_TLS', /clock says 1970/);
    await at(START);
    const other = await bench(t);
    await other.at(START);
    writeFileSync(path('ca.key'), readFileSync(other.path('ca.key')), { mode: 0o600 });
    await rejectsWith(at(START), 'E_TLS', /do not belong together/);
    rmSync(path('ca.key'));
    await rejectsWith(at(START), 'E_TLS', /without/);
  });

  test('a key without its certificate that cannot be read is an error, and stays for somebody to look at', async (t) => {
    const { at, path } = await bench(t);
    mkdirSync(path('.'), { recursive: true });
    writeFileSync(path('ca.key'), 'cut off', { mode: 0o600 });
    await rejectsWith(at(START), 'E_TLS', /can't be read/);
    assert.equal(readFileSync(path('ca.key'), 'utf8'), 'cut off');
  });
});

test('the names of a machine: those asked for, its own with and without domain, its addresses but link-local ones', () => {
  const address = (text: string) => ({ address: text }) as never;
  const machine = {
    hostname: 'Node-1.site.example',
    interfaces: {
      lo: [address('127.0.0.1'), address('::1')],
      eth0: [address('192.0.2.7'), address('fe80::1'), address('fd00::7')],
    },
  };
  const own = ['node-1.site.example', 'node-1', 'localhost', '127.0.0.1', '::1', '192.0.2.7', 'fd00::7'];
  assert.deepEqual(serverNames(['reg.lan'], machine), ['reg.lan', ...own]);
  assert.deepEqual(serverNames([], { ...machine, hostname: 'ümlaut' }), own.slice(2));
  for (const bad of ['', 'a b', 'https://x', 'x:5000', '*.example', `${'x'.repeat(64)}.y`, '1.2.3.4/8'])
    throwsWith(() => serverNames([bad], machine), 'E_USAGE', /--tls-name/);
});
