/** Trust is changed by the administrator of a machine: each change is one version, and none leaves trust that could accept nothing. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { prettyJson } from '../../../src/core/json.ts';
import { changedTrust, firstTrust, type TrustChange, trustDifference } from '../../../src/sign/trust-change.ts';
import { encodeTrustDocument, trustFingerprint } from '../../../src/sign/trust-document.ts';
import { requireTrustOutside } from '../../../src/sign/trust-place.ts';
import { throwsWith } from '../../support/assert-code.ts';
import { freshKey } from './test-keys.ts';

const NOW = Date.parse('2026-11-21T08:00:00Z');
const [anna, ben, carla] = ['anna', 'ben', 'carla'].map((name) => ({ name, key: freshKey().publicKey })) as [Add, Add, Add];
type Add = TrustChange['add'][number];
const freshAdd: Add = { name: 'dora', key: freshKey().publicKey };
const change = (given: Partial<TrustChange>): TrustChange => ({ add: [], remove: [], revoke: false, ...given });
const two = firstTrust([anna, ben], 2, NOW);

describe('a change of trust', () => {
  it('makes the next version; the first one is the same bytes from the same keys in any order', () => {
    assert.equal(two.version, 1);
    assert.equal(trustFingerprint(firstTrust([ben, anna], 2, NOW + 1)), trustFingerprint(two));
    const three = changedTrust(two, change({ add: [{ ...carla, until: '2027-01-01T00:00:00Z', bundles: ['lab'] }] }), NOW);
    assert.equal(three.version, 2);
    assert.deepEqual(trustDifference(two, three), [
      `+ carla (${carla.key.keyid.slice(0, 16)}…) until 2027-01-01T00:00:00Z, only lab`,
    ]);
  });

  it('is what reading it back gives: in one order, and nothing that could not be read', () => {
    const three = changedTrust(two, change({ add: [{ ...carla, name: 'aaron', bundles: ['lumen', 'lab', 'lab'] }] }), NOW);
    assert.equal(prettyJson(three), Buffer.from(encodeTrustDocument(three)).toString());
    throwsWith(() => firstTrust([{ ...anna, name: 'an na' }], 1, NOW), 'E_TRUST_FILE', /the new trust .*name.*want up to 64 of/);
    throwsWith(
      () => changedTrust(two, change({ add: [{ ...carla, bundles: ['Lab'] }] }), NOW),
      'E_TRUST_FILE',
      /name of a bundle/,
    );
  });

  it('that changes nothing is no version', () => {
    assert.equal(changedTrust(two, change({ add: [anna] }), NOW), two);
    assert.equal(changedTrust(two, change({ threshold: 2 }), NOW), two);
  });

  it('replaces the terms of a key that is added again, and takes no second name and no name twice', () => {
    const label = `anna (${anna.key.keyid.slice(0, 16)}…)`;
    const three = changedTrust(two, change({ add: [carla] }), NOW);
    const bound = changedTrust(three, change({ add: [{ ...anna, bundles: ['lab'] }] }), NOW);
    assert.deepEqual([bound.version, bound.keys.length], [3, 3]);
    assert.deepEqual(trustDifference(three, bound), [`~ ${label} now only lab, before without limits`]);
    assert.deepEqual(trustDifference(bound, changedTrust(bound, change({ add: [anna] }), NOW)), [
      `~ ${label} now without limits, before only lab`,
    ]);
    const clash = (add: Add, why: RegExp) =>
      throwsWith(() => changedTrust(two, change({ add: [add] }), NOW), 'E_TRUST_FILE', why);
    clash({ ...carla, name: 'anna' }, /the name anna is that of another key here, anna \(/);
    clash({ ...carla, name: 'ANNA' }, /the name ANNA is that of another key here, anna \(/);
    clash({ ...anna, name: 'Anna' }, /Anna: this key is here already as anna/);
    const revoked = changedTrust(three, change({ remove: ['ben'], revoke: true }), NOW);
    throwsWith(
      () => changedTrust(revoked, change({ add: [{ ...freshAdd, name: 'ben' }] }), NOW),
      'E_TRUST_FILE',
      /name ben is that of another key here, ben .*revoked since/,
    );
    // A new name for a key is a change of both: the old one goes in the same step.
    const renamed = changedTrust(two, change({ remove: ['anna'], add: [{ ...anna, name: 'annabel' }] }), NOW);
    assert.deepEqual(trustDifference(two, renamed), [`~ annabel (${anna.key.keyid.slice(0, 16)}…), was named anna`]);
  });

  it('removes, or keeps what it revokes listed, so that the key can not come back', () => {
    const removed = changedTrust(two, change({ remove: ['ben'], threshold: 1 }), NOW);
    assert.deepEqual([removed.keys.length, removed.threshold], [1, 1]);
    const revoked = changedTrust(two, change({ remove: ['ben'], revoke: true, threshold: 1 }), NOW);
    assert.equal(revoked.keys.find((key) => key.name === 'ben')?.revoked, '2026-11-21T08:00:00Z');
    for (const name of ['ben', 'benjamin'])
      throwsWith(() => changedTrust(revoked, change({ add: [{ ...ben, name }] }), NOW), 'E_TRUST_FILE', /revoked here as ben/);
    // Once more tells the same time.
    assert.equal(changedTrust(revoked, change({ remove: ['ben'], revoke: true }), NOW + 9_000_000), revoked);
    throwsWith(() => changedTrust(revoked, change({ remove: ['ben'] }), NOW), 'E_USAGE', /what is revoked stays listed/);
  });

  it('that leaves fewer usable keys than the threshold is refused', () => {
    throwsWith(() => changedTrust(two, change({ remove: ['ben'] }), NOW), 'E_TRUST_FILE', /threshold/);
    throwsWith(() => changedTrust(two, change({ remove: ['ben'], revoke: true }), NOW), 'E_TRUST_FILE', /threshold/);
    throwsWith(() => changedTrust(two, change({ threshold: 3 }), NOW), 'E_TRUST_FILE', /threshold/);
    throwsWith(() => firstTrust([anna, ben], 3, NOW), 'E_TRUST_FILE', /threshold/);
    throwsWith(() => firstTrust([anna, { ...anna, name: 'two' }], 2, NOW), 'E_TRUST_FILE', /same key/);
    for (const late of [{ until: '2026-11-21T08:00:00Z' }, { from: '2026-11-21T08:00:01Z' }])
      throwsWith(() => firstTrust([anna, { ...ben, ...late }], 2, NOW), 'E_TRUST_FILE', /at most 1 .*threshold is 2/);
    // Bound to different bundles they never sign together.
    const apart = [
      { ...anna, bundles: ['lab'] },
      { ...ben, bundles: ['lumen'] },
    ];
    throwsWith(() => firstTrust(apart, 2, NOW), 'E_TRUST_FILE', /at most 1/);
    assert.equal(firstTrust([anna, { ...ben, bundles: ['lumen'] }], 2, NOW).version, 1);
  });

  it('names what is not there', () => {
    throwsWith(() => changedTrust(two, change({ remove: ['Ben'] }), NOW), 'E_USAGE', /no key named "Ben"; it has anna, ben/);
  });
});

it('trust that lies in the bundle itself is refused, by whatever way it is named', () => {
  for (const path of [
    '/m/lumen',
    '/m/lumen/trust',
    '/m/lumen/generations/1/x.pub',
    '/m/x/../lumen/trust',
    '/m/lumen/./a',
    '/m/lumen/..a',
  ])
    throwsWith(() => requireTrustOutside(['/etc/trust', path], '/m/lumen/'), 'E_TRUST_FILE', /lies in the bundle/);
  for (const path of ['/m/lumen.pub', '/m/lumen-trust', '/m', '/m/lumen/../trust', 'trust'])
    requireTrustOutside([path], '/m/lumen');
});
