import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isBundleError } from '../../../src/core/errors.ts';
import { networkError } from '../../../src/registry/network-error.ts';

const hintOf = (code: string, more: object = {}): string => {
  const cause = Object.assign(new Error('inner'), { code, ...more });
  const error = networkError(new Error('outer', { cause }), {
    method: 'GET',
    url: new URL('https://r.corp:5000/v2/?sig=s3cret'),
  });
  assert.ok(isBundleError(error));
  assert.ok(!`${error.message} ${error.hint}`.includes('s3cret'));
  return `${error.code}: ${error.hint}`;
};

describe('the advice for a connection that failed', () => {
  it('for a wrong name says which names the certificate has', () => {
    const cert = { subjectaltname: 'DNS:registry.corp, DNS:*.corp, IP Address:10.0.0.1, DNS:\u001b[31mred' };
    assert.match(
      hintOf('ERR_TLS_CERT_ALTNAME_INVALID', { cert }),
      /^E_TLS: .*not for r\.corp: it has registry\.corp, \*\.corp, 10\.0\.0\.1; use a name that it has/,
    );
    assert.match(hintOf('ERR_TLS_CERT_ALTNAME_INVALID'), /^E_TLS: the certificate is not for r\.corp; use a name/);
  });

  it('tells an expired certificate, an unknown CA and plain HTTP apart', () => {
    assert.match(hintOf('CERT_HAS_EXPIRED'), /^E_TLS: .*has expired/);
    assert.doesNotMatch(hintOf('CERT_HAS_EXPIRED'), /--ca-file/);
    for (const code of ['DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'])
      assert.match(hintOf(code), /^E_TLS: .*--ca-file/);
    for (const code of ['EPROTO', 'ERR_SSL_WRONG_VERSION_NUMBER']) assert.match(hintOf(code), /--plain-http r\.corp:5000/);
  });

  it('for a host that is not there asks whether it runs and is named right', () => {
    assert.match(hintOf('ECONNREFUSED'), /^E_NETWORK: .*is it running, and are the address and port right/);
    assert.match(hintOf('ENOTFOUND'), /^E_NETWORK: .*spelled right/);
  });
});
