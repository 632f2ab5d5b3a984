/** Trust is changed by the administrator of a machine: each change is one version, and none leaves trust that could accept nothing. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { changedTrust, firstTrust, type TrustChange, trustDifference } from '../../../src/sign/trust-change.ts';
import { trustFingerprint } from '../../../src/sign/trust-document.ts';
import { requireTrustOutside } from '../../../src/sign/trust-place.ts';
import { throwsWith } from '../../support/assert-code.ts';
import { freshKey } from './test-keys.ts';

const NOW = Date.parse('2026-11-21T08:00:00Z');
const [anna, ben, carla] = ['anna', 'ben', 'carla'].map((name) => ({ name, key: freshKey().publicKey })) as [Add, Add, Add];
type Add = TrustChange['add'][number];
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

  it('that changes nothing is no version', () => {
    assert.equal(changedTrust(two, change({ add: [anna] }), NOW), two);
    assert.equal(changedTrust(two, change({ threshold: 2 }), NOW), two);
    // The same key under other terms is another thing, and said to be there already.
    throwsWith(() => changedTrust(two, change({ add: [{ ...anna, bundles: ['lab'] }] }), NOW), 'E_TRUST_FILE', /name of another/);
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
