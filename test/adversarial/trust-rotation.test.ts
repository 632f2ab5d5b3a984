/** Trust changes by a file only when those who were trusted before say so: every other file leaves it as it was. */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { nodeFileSystem as fs } from '../../src/files/node-file-system.ts';
import { encodeRotation, makeRotation, mergeRotations, parseRotation, type Rotation } from '../../src/sign/rotation.ts';
import { followRotations, requireRotatable, rotationStatus, signRotation } from '../../src/sign/rotation-check.ts';
import { signStatement } from '../../src/sign/statement-signature.ts';
import { changedTrust, firstTrust, type KeyToAdd } from '../../src/sign/trust-change.ts';
import { type TrustDocument, trustFingerprint } from '../../src/sign/trust-document.ts';
import { changeTrust, createTrust, readTrustDocument } from '../../src/sign/trust-store.ts';
import { rejectsWith, throwsWith } from '../support/assert-code.ts';
import { buryOwners, createFaultFileSystem, faultName, killsOf, withoutSync } from '../support/fault-file-system.ts';
import { tempDir, withTempDir } from '../support/temp-dir.ts';
import { changed, freshKey } from '../unit/sign/test-keys.ts';

const NOW = Date.parse('2026-11-21T08:00:00Z');
const [anna, ben, carla, dora, emil, stranger, other] = Array.from({ length: 7 }, freshKey) as [
  Key,
  Key,
  Key,
  Key,
  Key,
  Key,
  Key,
];
type Key = ReturnType<typeof freshKey>;
const named = (name: string, key: Key, terms: Partial<KeyToAdd> = {}): KeyToAdd => ({ name, key: key.publicKey, ...terms });
const v1 = firstTrust([named('anna', anna), named('ben', ben), named('carla', carla)], 2, NOW);
const next = (from: TrustDocument, remove: string[], add: KeyToAdd[], threshold?: number) =>
  changedTrust(from, { add, remove, revoke: false, threshold }, NOW);
const v2 = next(v1, ['carla'], [named('dora', dora)]);
const v3 = next(v2, ['ben'], [named('emil', emil)]);

/** Signs as an attacker may: with any key, asked for or not. */
async function signed(rotation: Rotation, ...keys: Key[]): Promise<Rotation> {
  const signatures = await Promise.all(keys.map((key) => signStatement(key.signer, rotation.statementBytes)));
  return parseRotation(encodeRotation({ ...rotation, signatures }), 'rotation.json');
}
const to2 = makeRotation(v1, v2);
const to3 = makeRotation(v2, v3);
const follow = (current: TrustDocument, ...rotations: Rotation[]) => followRotations(current, rotations, NOW);

describe('a rotation', () => {
  it('signed by the old threshold, which is the new threshold too, takes effect', async () => {
    assert.equal(trustFingerprint(await follow(v1, await signed(to2, anna, ben))), trustFingerprint(v2));
  });

  it('needs the old threshold by old keys and the new one by new keys, each key once', async () => {
    await rejectsWith(follow(v1, to2), 'E_UNSIGNED');
    await rejectsWith(follow(v1, await signed(to2, stranger, other)), 'E_UNTRUSTED', /0 of the keys trusted before it, want 2/);
    await rejectsWith(follow(v1, await signed(to2, dora)), 'E_UNTRUSTED', /before it/);
    await rejectsWith(follow(v1, await signed(to2, anna)), 'E_THRESHOLD', /1 of the keys trusted before it, want 2/);
    await rejectsWith(follow(v1, await signed(to2, anna, dora)), 'E_THRESHOLD', /1 of the keys trusted before it, want 2/);
    await rejectsWith(follow(v1, await signed(to2, anna, stranger, other)), 'E_THRESHOLD', /before it/);
    await rejectsWith(follow(v1, await signed(to2, anna, anna, anna)), 'E_THRESHOLD', /before it/);
    // Old keys alone: nobody has shown to hold the new ones.
    const all = makeRotation(v1, next(v1, ['anna', 'ben', 'carla'], [named('dora', dora), named('emil', emil)]));
    await rejectsWith(follow(v1, await signed(all, anna, ben)), 'E_UNTRUSTED', /0 of the keys it leads to, want 2/);
    await rejectsWith(follow(v1, await signed(all, anna, ben, dora)), 'E_THRESHOLD', /1 of the keys it leads to, want 2/);
    await rejectsWith(follow(v1, await signed(all, dora, emil)), 'E_UNTRUSTED', /before it/);
    assert.equal((await follow(v1, await signed(all, anna, ben, dora, emil))).version, 2);
    // A threshold that goes up counts too.
    const higher = makeRotation(v1, next(v1, [], [], 3));
    await rejectsWith(follow(v1, await signed(higher, anna, ben)), 'E_THRESHOLD', /2 of the keys it leads to, want 3/);
  });

  it('with one signature that is broken is refused, even beside enough good ones', async () => {
    const good = await signed(to2, anna, ben, dora);
    const broken = changed(good.signatures[2] as Uint8Array, ({ dsseEnvelope }) => {
      dsseEnvelope.signatures[0] = { sig: Buffer.alloc(70, 1).toString('base64') };
    });
    const file = { ...good, signatures: [...good.signatures.slice(0, 2), broken] };
    await rejectsWith(follow(v1, file), 'E_SIGNATURE', /rotation to version 2/);
  });

  it('can not borrow the signatures of another statement: of another rotation, or of a bundle', async () => {
    const elsewhere = await signed(makeRotation(v1, next(v1, [], [named('stranger', stranger)])), anna, ben);
    await rejectsWith(follow(v1, { ...to2, signatures: elsewhere.signatures }), 'E_SIGNATURE', /other bytes/);
    const bundle = Buffer.from(
      '{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"https://bundle.dev/generation/v1"}',
    );
    const signatures = await Promise.all([anna, ben].map((key) => signStatement(key.signer, bundle)));
    await rejectsWith(follow(v1, { ...to2, signatures }), 'E_SIGNATURE', /other bytes/);
    const file = {
      rotationVersion: 1,
      statement: bundle.toString('base64'),
      signatures: signatures.map((s) => JSON.parse(Buffer.from(s).toString())),
    };
    throwsWith(() => parseRotation(Buffer.from(JSON.stringify(file)), 'r.json'), 'E_TRUST_FILE', /no rotation/);
  });

  it('by keys that are revoked, expired, not valid yet or bound to a bundle does not count', async () => {
    const end = '2026-11-01T00:00:00Z';
    for (const [terms, why] of [
      [{ until: end }, /ben .*expired since/],
      [{ from: '2026-12-01T00:00:00Z' }, /ben .*not valid before/],
      [{ bundles: ['lumen'] }, /ben .*does not decide about trust/],
    ] as const) {
      const from = firstTrust([named('anna', anna), named('ben', ben, terms), named('carla', carla)], 2, NOW);
      const rotation = makeRotation(from, next(from, [], [named('dora', dora)]));
      await rejectsWith(follow(from, await signed(rotation, anna, ben)), 'E_THRESHOLD', why);
      await rejectsWith(signRotation(rotation, ben, NOW), 'E_UNTRUSTED', /would not count/);
    }
    const revoking = changedTrust(v1, { add: [], remove: ['ben'], revoke: true }, NOW);
    const rotation = makeRotation(revoking, next(revoking, [], [named('dora', dora)]));
    await rejectsWith(follow(revoking, await signed(rotation, anna, ben)), 'E_THRESHOLD', /ben .*revoked/);
    // A clock far off can only take keys away.
    const limited = firstTrust([named('anna', anna, { from: '2026-01-01T00:00:00Z', until: '2027-01-01T00:00:00Z' })], 1, NOW);
    const last = await signed(makeRotation(limited, next(limited, [], [named('dora', dora)])), anna);
    for (const clock of ['1970-01-01T00:00:00Z', '2099-01-01T00:00:00Z'])
      await rejectsWith(followRotations(limited, [last], Date.parse(clock)), 'E_UNTRUSTED');
    assert.equal((await follow(limited, last)).version, 2);
  });

  it('to fewer keys than can sign the next one is not made', () => {
    const bound = next(
      v1,
      ['anna', 'ben', 'carla'],
      [named('dora', dora, { bundles: ['lab'] }), named('emil', emil, { bundles: ['lab'] })],
    );
    throwsWith(
      () => requireRotatable(makeRotation(v1, bound), NOW),
      'E_TRUST_FILE',
      /2 of the keys that it leads to, and 0 count/,
    );
    throwsWith(
      () => requireRotatable(to2, Number.NaN) ?? requireRotatable(makeRotation(bound, next(bound, [], [named('ben', ben)])), NOW),
      'E_TRUST_FILE',
      /trusted now/,
    );
  });
});

describe('the order of rotations', () => {
  it('the same again is nothing to do; an older one is a rollback; a gap is named; several go in order', async () => {
    const [r2, r3] = [await signed(to2, anna, ben), await signed(to3, anna, dora, ben)];
    assert.equal(await follow(v2, r2), v2);
    assert.equal(trustFingerprint(await follow(v1, r3, r2)), trustFingerprint(v3));
    assert.equal(trustFingerprint(await follow(v2, r2, r3)), trustFingerprint(v3));
    assert.equal(await follow(v3, r2, r3), v3);
    await rejectsWith(follow(v3, r2), 'E_ROLLBACK', /leads to version 2, and this trust is at 3.*left the common line/);
    await rejectsWith(follow(v1, r3), 'E_TRUST_FILE', /version 1: the rotation to version 2 is missing before 3/);
    const v4 = next(v3, [], [named('ben', ben)]);
    const r4 = await signed(makeRotation(v3, v4), anna, dora);
    await rejectsWith(follow(v1, r4), 'E_TRUST_FILE', /versions 2 to 3 is missing/);
    await rejectsWith(follow(v1, r2, r4), 'E_TRUST_FILE', /rotation to version 3 is missing/);
    // Later ones can't help one that is not signed enough.
    await rejectsWith(follow(v1, await signed(to2, dora), r3), 'E_UNTRUSTED');
  });

  it('a rotation of another trust is refused, even by the same people from the same version', async () => {
    const fork = firstTrust([named('anna', anna), named('ben', ben), named('emil', emil)], 2, NOW);
    const forked = await signed(makeRotation(fork, next(fork, ['emil'], [named('dora', dora)])), anna, ben);
    await rejectsWith(follow(v1, forked), 'E_UNTRUSTED', /another trust: the version 1 that it starts from/);
    // v2 was reached here by hand: what others signed for the line it left does not apply.
    const byHand = next(v1, [], [named('emil', emil)]);
    await rejectsWith(follow(byHand, await signed(to3, anna, dora)), 'E_UNTRUSTED', /the version 2 that it starts from/);
    await rejectsWith(follow(byHand, await signed(to2, anna, ben)), 'E_UNTRUSTED', /the version 2 that it leads to/);
  });

  it('two different rotations to one version are refused together, whichever is signed', async () => {
    const rival = await signed(makeRotation(v1, next(v1, [], [named('emil', emil)])), anna, ben);
    await rejectsWith(
      follow(v1, await signed(to2, anna, ben), rival),
      'E_UNTRUSTED',
      /two different rotations lead to version 2/,
    );
  });

  it('copies that different people signed add up', async () => {
    const [one, two] = [await signRotation(to2, anna, NOW), await signRotation(to2, ben, NOW)];
    await rejectsWith(follow(v1, one), 'E_THRESHOLD');
    assert.equal(trustFingerprint(await follow(v1, one, two)), trustFingerprint(v2));
    assert.deepEqual(
      mergeRotations([one, two, one]).map((r) => r.signatures.length),
      [2],
    );
    assert.equal(await signRotation(one, anna, NOW), one);
    const { old, new: after } = await rotationStatus(one, NOW);
    assert.deepEqual([old.signers.length, after.signers.length], [1, 1]);
  });
});

describe('a rotation file', () => {
  it('is refused when it is anything but what was made, with every jump of version', async () => {
    const good = await signed(to2, anna, ben);
    const json = JSON.parse(Buffer.from(encodeRotation(good)).toString());
    const statement = JSON.parse(Buffer.from(to2.statementBytes).toString());
    const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64');
    type Loose = Record<string, Record<string, unknown>>;
    const withStatement = (
      change: (s: { predicate: Loose; subject: { digest: object }[] } & Record<string, unknown>) => void,
    ) => {
      const copy = structuredClone(statement);
      change(copy);
      return { ...json, statement: encoded(copy) };
    };
    const version = (which: 'from' | 'to', n: unknown) =>
      withStatement((s) => {
        (s.predicate[which] as Record<string, unknown>).version = n;
      });
    const bad: unknown[] = [
      {},
      { ...json, rotationVersion: 2 },
      { ...json, extra: 1 },
      { ...json, signatures: {} },
      { ...json, signatures: ['x'] },
      { ...json, signatures: Array(65).fill(json.signatures[0]) },
      { ...json, statement: '' },
      { ...json, statement: `${json.statement}=` },
      { ...json, statement: 7 },
      ...[0, 1, 3, 4, -1, 1.5, '2', 2 ** 53, 1e300].map((n) => version('to', n)),
      ...[0, 2, -1, 1e300].map((n) => version('from', n)),
      withStatement((s) => {
        s.predicateType = 'https://bundle.dev/generation/v1';
      }),
      withStatement((s) => {
        s.subject = [];
      }),
      withStatement((s) => {
        (s.subject[0] as { digest: object }).digest = { sha256: '0'.repeat(64) };
      }),
      withStatement((s) => {
        (s.predicate.to as Record<string, unknown>).threshold = 1; // no longer what the digest names
      }),
      withStatement((s) => {
        (s.predicate.to as Record<string, unknown>).threshold = 0;
      }),
      withStatement((s) => {
        s.extra = 1;
      }),
    ];
    for (const value of bad) throwsWith(() => parseRotation(Buffer.from(JSON.stringify(value)), 'r.json'), 'E_TRUST_FILE');
    // With the right digest, and so by somebody who could have it signed.
    for (const version of [1, 3, 4, 1_000_000_000])
      throwsWith(() => makeRotation(v1, { ...v2, version }), 'E_TRUST_FILE', /from version 1 to \d+, want one more exactly/);
    throwsWith(() => parseRotation(Buffer.from('{"rotationVersion":1,"rotationVersion":1}'), 'r.json'), 'E_TRUST_FILE', /twice/);
    throwsWith(() => parseRotation(Buffer.alloc(9 * 1024 * 1024, 32), 'r.json'), 'E_TRUST_FILE', /limit/);
  });

  it('is signed by nobody but those who are in the trust before or after it', async () => {
    await rejectsWith(signRotation(to2, stranger, NOW), 'E_UNTRUSTED', /neither in the trust before/);
    assert.equal((await signRotation(to2, carla, NOW)).signatures.length, 1);
    assert.equal((await signRotation(to2, dora, NOW)).signatures.length, 1);
  });
});

describe('trust.json on the disk', () => {
  it('is the old or the new trust at every instant, and a killed change is finished by a rerun', async (t) => {
    const rotation = await signed(to2, anna, ben);
    const run = (disk: typeof fs, directory: string) =>
      changeTrust(disk, directory, 'test', (current) => followRotations(current, [rotation], NOW));
    const setUp = (directory: string) => createTrust(fs, directory, v1);
    const recorded = createFaultFileSystem(withoutSync(fs));
    const first = await tempDir(t);
    await setUp(join(first, 'trust'));
    await run(recorded, join(first, 'trust'));
    const wanted = await readFile(join(first, 'trust/trust.json'));
    let kills = 0;
    for (const fault of killsOf(recorded.operations)) {
      await withTempDir(async (root) => {
        const directory = join(root, 'trust');
        await setUp(directory);
        const disk = createFaultFileSystem(withoutSync(fs), fault);
        await run(disk, directory).catch((error: unknown) => assert.ok(disk.dead, String(error)));
        const what = faultName(fault, recorded.operations);
        const print = trustFingerprint(await readTrustDocument(fs, directory));
        assert.ok([trustFingerprint(v1), trustFingerprint(v2)].includes(print), what);
        await buryOwners(directory);
        await run(withoutSync(fs), directory);
        assert.deepEqual(await readFile(join(directory, 'trust.json')), wanted, what);
        assert.deepEqual(await fs.list(directory), ['trust.json'], what);
        kills++;
      });
    }
    assert.ok(kills > 15);
    t.diagnostic(`${kills} kills`);
  });

  it('is not replaced when the rotation is refused, nor made where trust is', async (t) => {
    const root = await tempDir(t);
    const directory = join(root, 'trust');
    await createTrust(fs, directory, v1);
    const before = await readFile(join(directory, 'trust.json'));
    const bad = await signed(to2, stranger, other);
    await rejectsWith(
      changeTrust(fs, directory, 'test', (current) => followRotations(current, [bad], NOW)),
      'E_UNTRUSTED',
    );
    await rejectsWith(createTrust(fs, directory, v2), 'E_USAGE', /holds trust already/);
    await createTrust(fs, directory, v1); // the same again is fine
    assert.deepEqual(await readFile(join(directory, 'trust.json')), before);
    assert.deepEqual(await fs.list(directory), ['trust.json']);
    await mkdir(join(root, 'simple'));
    await writeFile(join(root, 'simple/a.pub'), anna.publicKey.pem);
    await rejectsWith(createTrust(fs, join(root, 'simple'), v1), 'E_USAGE', /holds trust already/);
    await rejectsWith(readTrustDocument(fs, join(root, 'simple')), 'E_TRUST_FILE', /no trust\.json that lists them/);
    await rejectsWith(
      changeTrust(fs, join(root, 'gone'), 'test', (current) => current),
      'E_TRUST_FILE',
      /no such file/,
    );
    assert.equal(await fs.stat(join(root, 'gone')), undefined);
  });
});
