import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { instant, timeSchema } from '../../../src/core/time.ts';

describe('a time', () => {
  it('is RFC 3339 in whole seconds and UTC, as it is written here', () => {
    for (const text of ['1970-01-01T00:00:00Z', '2024-02-29T23:59:59Z', instant(1_795_248_000_999)])
      assert.equal(timeSchema.parse(text), text);
    assert.equal(instant(1_795_248_000_999), '2026-11-21T08:00:00Z');
  });

  it('in any other form, or of a moment that does not exist, is refused', () => {
    const forms = ['', '2026-11-21', '2026-11-21T08:00:00', '2026-11-21T08:00:00.000Z', '2026-11-21T08:00:00+00:00'];
    const spellings = ['2026-11-21t08:00:00z', ' 2026-11-21T08:00:00Z', '2026-11-21T08:00:00Z\n', '+02026-11-21T08:00:00Z'];
    const moments = ['2026-02-30T00:00:00Z', '2026-13-01T00:00:00Z', '2026-11-21T24:00:00Z', '2026-11-21T23:59:60Z'];
    for (const text of [...forms, ...spellings, ...moments]) assert.equal(timeSchema.safeParse(text).success, false, text);
  });
});
