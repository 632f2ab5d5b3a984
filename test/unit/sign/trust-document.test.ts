/** The full form of trust: who counts when and for what, and every way in which the document can be wrong. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { nodeFileSystem as fs } from '../../../src/files/node-file-system.ts';
import { loadTrust } from '../../../src/sign/trust.ts';
import {
  encodeTrustDocument,
  parseTrustDocument,
  type TrustDocument,
  trustedKeysOf,
  trustFingerprint,
} from '../../../src/sign/trust-document.ts';
import { countingKeyids, whyNotCounted } from '../../../src/sign/trust-key.ts';
import { countTrustedSignatures, requireThreshold } from '../../../src/sign/verify-statement.ts';
import { rejectsWith, throwsWith } from '../../support/assert-code.ts';
import { changed, freshKey, STATEMENT, signWith, temporaryDirectory } from './test-keys.ts';

const [a, b, c] = [freshKey(), freshKey(), freshKey()];
type Terms = Partial<Omit<TrustDocument['keys'][number], 'name' | 'keyid' | 'pem'>>;
const entry = (name: string, key: typeof a, terms: Terms = {}) => ({
  name,
  keyid: key.publicKey.keyid,
  pem: key.publicKey.pem,
  ...terms,
});
const trustOf = (threshold: number, ...keys: TrustDocument['keys']): TrustDocument => ({
  trustVersion: 1,
  version: 1,
  threshold,
  keys,
});
const parse = (json: unknown) => parseTrustDocument(Buffer.from(JSON.stringify(json)), 'trust.json');
const at = (time: string): number => Date.parse(time);
const fileOf = async (key: typeof a) => ({ name: `${key.publicKey.keyid}.sigstore.json`, bytes: await signWith(key) });

async function count(document: TrustDocument, now: number, name: string | undefined, ...signers: (typeof a)[]) {
  const trust = { keys: trustedKeysOf(parse(document)), threshold: document.threshold };
  const signatures = await Promise.all(signers.map(fileOf));
  return { check: () => requireThreshold({ statementBytes: STATEMENT, signatures, trust, name, now }), trust, signatures };
}

describe('a key of a trust document', () => {
  const NOW = at('2026-11-21T08:00:00Z');

  it('counts from its first moment to just before its end, whatever the clock says else', () => {
    const terms = { from: '2026-01-01T00:00:00Z', until: '2027-01-01T00:00:00Z' };
    const on = (now: number) => whyNotCounted(terms, { name: 'lumen', now });
    assert.equal(on(at(terms.from)), undefined);
    assert.equal(on(at(terms.until) - 1), undefined);
    assert.match(on(at(terms.from) - 1) ?? '', /not valid before 2026-01-01/);
    assert.match(on(at(terms.until)) ?? '', /expired since 2027-01-01/);
    assert.match(on(0) ?? '', /not valid before/);
    assert.match(on(at('2099-01-01T00:00:00Z')) ?? '', /expired/);
    assert.match(on(Number.NaN) ?? '', /not valid/);
    assert.match(whyNotCounted({ until: terms.until }, { name: 'lumen', now: Number.NaN }) ?? '', /expired/);
  });

  it('that is revoked never counts, not even with a clock before the revocation', () => {
    for (const now of [0, NOW, at('2099-01-01T00:00:00Z')])
      assert.match(whyNotCounted({ revoked: '2098-01-01T00:00:00Z' }, { name: 'lumen', now }) ?? '', /revoked since 2098/);
  });

  it('that is bound to bundles counts for these names alone, and never about trust itself', () => {
    const on = (name: string | undefined) => whyNotCounted({ bundles: ['lab', 'lumen'] }, { name, now: NOW });
    assert.equal(on('lumen'), undefined);
    assert.match(on('lumen2') ?? '', /bound to the bundles lab, lumen, and this is "lumen2"/);
    assert.match(on('Lumen') ?? '', /bound/);
    assert.match(on('') ?? '', /bound/);
    assert.match(on(undefined) ?? '', /does not decide about trust/);
  });

  it('that does not count is told by name and reason; its good signature is not "broken"', async () => {
    const document = trustOf(
      1,
      entry('anna', a, { until: '2026-06-01T00:00:00Z' }),
      entry('ben', b, { bundles: ['lab'] }),
      entry('carla', c),
    );
    for (const [key, why] of [
      [a, /anna \(.*does not count: expired since 2026-06-01T00:00:00Z/],
      [b, /ben \(.*does not count: bound to the bundle lab, and this is "lumen"/],
    ] as const) {
      const error = await rejectsWith((await count(document, NOW, 'lumen', key)).check(), 'E_UNTRUSTED', why);
      assert.match(error.message, /trusted key \(carla/);
    }
    const revoked = trustOf(1, entry('anna', a, { revoked: '2026-06-01T00:00:00Z' }), entry('carla', c));
    await rejectsWith((await count(revoked, NOW, 'lumen', a)).check(), 'E_UNTRUSTED', /anna .*revoked since/);
    // Beside one that counts it does no harm, and does not help.
    assert.deepEqual((await (await count(revoked, NOW, 'lumen', a, c)).check()).signers, [c.publicKey.keyid]);
    await rejectsWith((await count({ ...document, threshold: 2 }, NOW, 'lumen', a, c)).check(), 'E_THRESHOLD', /anna .*expired/);
    assert.equal((await (await count(document, NOW, 'lab', b)).check()).signers.length, 1);
  });

  it('whose signature is broken refuses all, revoked and expired ones too', async () => {
    for (const terms of [{ revoked: '2026-06-01T00:00:00Z' }, { until: '2026-06-01T00:00:00Z' }, { bundles: ['lab'] }]) {
      const { trust, signatures } = await count(trustOf(1, entry('anna', a, terms), entry('carla', c)), NOW, 'lumen', c);
      const broken = changed(await signWith(a), ({ dsseEnvelope }) => {
        dsseEnvelope.signatures[0] = { sig: Buffer.alloc(70, 1).toString('base64') };
      });
      const all = [...signatures, { name: `${a.publicKey.keyid}.sigstore.json`, bytes: broken }];
      const signed = { statementBytes: STATEMENT, signatures: all, trust, name: 'lumen', now: NOW };
      await rejectsWith(requireThreshold(signed), 'E_SIGNATURE');
    }
  });

  it('counts once, signed twice, and the threshold wants distinct ones that count', async () => {
    const document = trustOf(2, entry('anna', a), entry('ben', b, { until: '2026-06-01T00:00:00Z' }));
    await rejectsWith((await count(document, NOW, 'lumen', a, a, b)).check(), 'E_THRESHOLD', /1 .*want 2.*ben .*expired/);
    assert.equal((await (await count(document, at('2026-05-01T00:00:00Z'), 'lumen', a, b)).check()).signers.length, 2);
  });
});

describe('a trust directory of the full form', () => {
  async function directory(t: Parameters<typeof temporaryDirectory>[0], files: Record<string, string>): Promise<string> {
    const root = await temporaryDirectory(t);
    for (const [name, text] of Object.entries(files)) {
      await mkdir(`${root}/${name}`.replace(/\/[^/]*$/, ''), { recursive: true });
      await writeFile(`${root}/${name}`, text);
    }
    return root;
  }
  const text = (document: TrustDocument): string => Buffer.from(encodeTrustDocument(document)).toString();

  it('is read with names and terms, and says the threshold', async (t) => {
    const root = await directory(t, {
      'd/trust.json': text(trustOf(2, entry('anna', a), entry('ben', b, { bundles: ['lab'] }))),
    });
    const trust = await loadTrust(fs, [`${root}/d`]);
    assert.deepEqual(
      trust.keys.map(({ name, keyid, bundles }) => [name, keyid, bundles]),
      [
        ['anna', a.publicKey.keyid, undefined],
        ['ben', b.publicKey.keyid, ['lab']],
      ],
    );
    assert.equal(trust.threshold, 2);
  });

  it('with a loose key file beside it is an error; hidden files and folders below are not', async (t) => {
    const json = text(trustOf(1, entry('anna', a)));
    const root = await directory(t, {
      'loose/trust.json': json,
      'loose/ben.pub': b.publicKey.pem,
      'same/trust.json': json,
      'same/anna.pub': a.publicKey.pem,
      'fine/trust.json': json,
      'fine/._anna.pub': '\0',
      'fine/upstream/argo.pub': b.publicKey.pem,
    });
    await rejectsWith(loadTrust(fs, [`${root}/loose`]), 'E_TRUST_FILE', /ben\.pub: a key file beside/);
    await rejectsWith(loadTrust(fs, [`${root}/same`]), 'E_TRUST_FILE', /anna\.pub: a key file beside/);
    assert.equal((await loadTrust(fs, [`${root}/fine`])).keys.length, 1);
  });

  it('that revokes a key revokes it for every other path too', async (t) => {
    const revoking = trustOf(1, entry('anna', a, { revoked: '2026-06-01T00:00:00Z' }), entry('ben', b, { bundles: ['lab'] }));
    const root = await directory(t, { 'd/trust.json': text(revoking), 'a.pub': a.publicKey.pem, 'b.pub': b.publicKey.pem });
    const check = async (paths: string[], key: typeof a) => {
      const trust = await loadTrust(fs, paths);
      const signatures = [await fileOf(key)];
      return countTrustedSignatures({ statementBytes: STATEMENT, signatures, trust, name: 'lumen', now: 0 });
    };
    for (const paths of [
      [`${root}/d`, `${root}/a.pub`],
      [`${root}/a.pub`, `${root}/d`],
    ]) {
      const { signers, refused } = await check(paths, a);
      assert.deepEqual(signers, []);
      assert.match(refused[0]?.reason ?? '', /revoked/);
    }
    await rejectsWith(check([`${root}/a.pub`, `${root}/gone`], a), 'E_TRUST_FILE');
  });

  it('says when and for what its keys count, also where one of them is named by itself too; other keys add up', async (t) => {
    const ended = { until: '2026-06-01T00:00:00Z' };
    const limited = trustOf(1, entry('anna', a, ended), entry('ben', b, { bundles: ['lab'] }));
    const root = await directory(t, {
      'd/trust.json': text(limited),
      'other/trust.json': text(trustOf(1, entry('ben', b))),
      'a.pub': a.publicKey.pem,
      'keys/a.pub': a.publicKey.pem,
      'keys/b.pub': b.publicKey.pem,
      'keys/c.pub': c.publicKey.pem,
    });
    const counting = async (...names: string[]): Promise<string[]> => {
      const { keys } = await loadTrust(
        fs,
        names.map((name) => `${root}/${name}`),
      );
      return [...countingKeyids(keys, { name: 'lumen', now: Date.parse('2026-06-01T00:00:00Z') })];
    };
    assert.deepEqual(await counting('d'), []);
    assert.deepEqual(await counting('d', 'a.pub'), []);
    assert.deepEqual(await counting('keys', 'd'), [c.publicKey.keyid]);
    assert.deepEqual(await counting('d', 'other'), [b.publicKey.keyid], 'of two documents either may let a key count');
  });
});

describe('a trust document', () => {
  it('has one spelling, and so one fingerprint, whatever the order and the white space it came in', () => {
    const one = trustOf(2, entry('anna', a), entry('ben', b, { bundles: ['lab', 'lumen'] }));
    const other = trustOf(2, entry('ben', b, { bundles: ['lumen', 'lab', 'lab'] }), entry('anna', a));
    assert.equal(trustFingerprint(one), trustFingerprint(other));
    assert.equal(trustFingerprint(parseTrustDocument(Buffer.from(JSON.stringify(one, null, 7)), 'x')), trustFingerprint(one));
    for (const different of [
      { ...one, version: 2 },
      { ...one, threshold: 1 },
      trustOf(2, entry('anna', a), entry('ben', b)),
      trustOf(2, entry('Anna', a), entry('ben', b, { bundles: ['lab', 'lumen'] })),
    ])
      assert.notEqual(trustFingerprint(different), trustFingerprint(one));
  });

  it('that is wrong in any way is refused, with the reason', () => {
    const good = trustOf(1, entry('anna', a), entry('ben', b));
    const withKey = (key: unknown) => ({ ...good, keys: [entry('anna', a), key] });
    const bad: [unknown, RegExp][] = [
      [{ ...good, trustVersion: 2 }, /trustVersion/],
      [{ ...good, trustVersion: '1' }, /trustVersion/],
      [{ ...good, extra: 1 }, /extra/],
      [{ ...good, keys: [] }, /keys/],
      [{ ...good, keys: {} }, /keys/],
      ...[0, -1, 1.5, null, '1', 257].map((threshold): [unknown, RegExp] => [{ ...good, threshold }, /threshold/]),
      [{ ...good, threshold: 3 }, /threshold is 3, want a whole number from 1 to 2/],
      ...[0, -1, 1.5, 2 ** 53, 1e300, '1'].map((version): [unknown, RegExp] => [{ ...good, version }, /version/]),
      [withKey(entry('anna', b)), /anna has the name of another/],
      [withKey(entry('ANNA', b)), /ANNA has the name of another/],
      [withKey(entry('also', a)), /also is the same key as anna/],
      [withKey({ ...entry('ben', b), keyid: a.publicKey.keyid }), /its pem is that of/],
      [withKey({ ...entry('ben', b), keyid: b.publicKey.keyid.toUpperCase() }), /keyid/],
      [withKey({ ...entry('ben', b), pem: b.publicKey.pem.replaceAll('\n', '\r\n') }), /not in canonical PEM/],
      [withKey({ ...entry('ben', b), pem: `${b.publicKey.pem}\n` }), /not in canonical PEM/],
      [withKey({ ...entry('ben', b), pem: `# ben\n${b.publicKey.pem}` }), /not in canonical PEM/],
      [withKey({ ...entry('ben', b), pem: b.publicKey.pem + c.publicKey.pem }), /several keys/],
      [withKey({ ...entry('ben', b), pem: '' }), /no PEM/],
      [withKey(entry('b en', b)), /name/],
      [withKey(entry('', b)), /name/],
      [withKey(entry('b\u0435n', b)), /name/],
      [withKey(entry('ben', b, { bundles: [] })), /bundles/],
      [withKey(entry('ben', b, { bundles: ['../x'] })), /bundles/],
      [withKey(entry('ben', b, { until: '2027-01-01' })), /until/],
      [withKey(entry('ben', b, { until: '2027-13-01T00:00:00Z' })), /until/],
      [withKey(entry('ben', b, { from: '2027-01-01T00:00:00Z', until: '2027-01-01T00:00:00Z' })), /before it becomes valid/],
      [withKey({ ...entry('ben', b), revoked: true }), /revoked/],
      [withKey({ ...entry('ben', b), unitl: '2027-01-01T00:00:00Z' }), /unitl/],
      [trustOf(2, entry('anna', a), entry('ben', b, { revoked: '2026-01-01T00:00:00Z' })), /from 1 to 1 .*not revoked/],
      [trustOf(1, entry('anna', a, { revoked: '2026-01-01T00:00:00Z' })), /from 1 to 0/],
    ];
    for (const [json, why] of bad) throwsWith(() => parse(json), 'E_TRUST_FILE', why);
    const duplicate = JSON.stringify(good).replace('"threshold":1', '"threshold":2,"threshold":1');
    throwsWith(() => parseTrustDocument(Buffer.from(duplicate), 'x'), 'E_TRUST_FILE', /twice/);
    throwsWith(() => parseTrustDocument(Buffer.alloc(600_000, 32), 'x'), 'E_TRUST_FILE', /limit/);
    assert.doesNotThrow(() => parse(good));
  });
});
