/** Trust documents and rotations: what was changed is refused, or is trust that can be met; and no file changes trust but the one that was signed. */
import assert from 'node:assert/strict';
import { encodeRotation, makeRotation, parseRotation } from '../../src/sign/rotation.ts';
import { followRotations, signRotation } from '../../src/sign/rotation-check.ts';
import { changedTrust, firstTrust } from '../../src/sign/trust-change.ts';
import { encodeTrustDocument, parseTrustDocument, trustedKeysOf, trustFingerprint } from '../../src/sign/trust-document.ts';
import { whyNotCounted } from '../../src/sign/trust-key.ts';
import { freshKey } from '../unit/sign/test-keys.ts';
import { attempt, fuzz } from './budget.ts';
import { changedJsonBytes } from './mutate.ts';

const NOW = Date.parse('2026-11-21T08:00:00Z');
const [anna, ben, carla] = [freshKey(), freshKey(), freshKey()];
const add = (name: string, key: typeof anna, terms = {}) => ({ name, key: key.publicKey, ...terms });
const limited = { from: '2026-01-01T00:00:00Z', until: '2027-12-31T00:00:00Z', bundles: ['lab', 'lumen'] };
const before = firstTrust([add('anna', anna), add('ben', ben), add('carla', carla, limited)], 2, NOW);
const after = changedTrust(before, { add: [add('dora', freshKey())], remove: ['carla'], revoke: true }, NOW);
const json = (bytes: Uint8Array): unknown => JSON.parse(Buffer.from(bytes).toString());

fuzz(
  'a trust document is refused, or its threshold can be met by distinct keys that are what their keyids say',
  changedJsonBytes([before, after].map((document) => json(encodeTrustDocument(document)))),
  async (bytes) => {
    const got = await attempt(() => parseTrustDocument(bytes, 'trust.json'), 'E_TRUST_FILE');
    if (got === undefined) return 'refused';
    const [document] = got;
    const keys = trustedKeysOf(document);
    const usable = new Set(keys.filter((key) => key.revoked === undefined).map((key) => key.keyid));
    assert.equal(new Set(keys.map((key) => key.keyid)).size, document.keys.length);
    assert.ok(Number.isInteger(document.threshold) && document.threshold >= 1 && document.threshold <= usable.size);
    for (const key of keys.filter(({ revoked }) => revoked !== undefined))
      assert.notEqual(whyNotCounted(key, { name: 'lumen', now: NOW }), undefined);
    const again = parseTrustDocument(encodeTrustDocument(document), 'again');
    assert.equal(trustFingerprint(again), trustFingerprint(document));
    return 'taken';
  },
);

const signedByBoth = await signRotation(await signRotation(makeRotation(before, after), anna, NOW), ben, NOW);

fuzz(
  'a rotation file leads to the trust that was signed, or nowhere',
  changedJsonBytes([json(encodeRotation(signedByBoth))]),
  async (bytes) => {
    const codes = ['E_TRUST_FILE', 'E_UNSIGNED', 'E_SIGNATURE', 'E_UNTRUSTED', 'E_THRESHOLD', 'E_ROLLBACK'] as const;
    const got = await attempt(() => followRotations(before, [parseRotation(bytes, 'rotation.json')], NOW), ...codes);
    if (got === undefined) return 'refused';
    assert.equal(trustFingerprint(got[0]), trustFingerprint(after));
    return 'taken';
  },
  20,
);
