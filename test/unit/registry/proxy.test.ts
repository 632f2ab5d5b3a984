import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { proxyFor, proxyRefusal } from '../../../src/registry/proxy.ts';
import { throwsWith } from '../../support/assert-code.ts';

const HTTPS = new URL('https://registry.corp/v2/');
const HTTP = new URL('http://registry.corp:5000/v2/');

describe('the proxy of an address', () => {
  it('is the one that the environment names for its scheme, and no other', () => {
    assert.equal(proxyFor(HTTPS, { HTTPS_PROXY: 'http://proxy:3128' })?.host, 'proxy:3128');
    assert.equal(proxyFor(HTTPS, { HTTP_PROXY: 'http://proxy:3128' }), undefined);
    assert.equal(proxyFor(HTTP, { HTTP_PROXY: 'http://proxy:3128' })?.host, 'proxy:3128');
    assert.equal(proxyFor(HTTP, { HTTPS_PROXY: 'http://proxy:3128' }), undefined);
    assert.equal(proxyFor(HTTP, {}), undefined);
  });

  it('is read from the small letters first; an empty value is none', () => {
    assert.equal(proxyFor(HTTPS, { https_proxy: 'http://small:1', HTTPS_PROXY: 'http://large:2' })?.host, 'small:1');
    assert.equal(proxyFor(HTTPS, { https_proxy: '', HTTPS_PROXY: 'http://large:2' })?.host, 'large:2');
    assert.equal(proxyFor(HTTPS, { HTTPS_PROXY: '' }), undefined);
  });

  it('may be written without a scheme', () => {
    assert.equal(proxyFor(HTTPS, { HTTPS_PROXY: 'proxy.corp:3128' })?.href, 'http://proxy.corp:3128/');
  });

  it('is refused as a usage error when it is none that we speak to, without showing it', () => {
    for (const value of ['socks5://user:hush@proxy:1080', 'http://user:hush@', 'http://user:hush@proxy:99999']) {
      const error = throwsWith(() => proxyFor(HTTPS, { HTTPS_PROXY: value }), 'E_USAGE');
      assert.doesNotMatch(error.message, /hush/);
    }
  });
});

describe('what a proxy answers by itself', () => {
  const proxy = new URL('http://walker:hush@proxy.corp:3128');
  const tunnel = (status: number): Error =>
    new TypeError('failed', { cause: new Error(`Proxy response (${status}) !== 200 when HTTP Tunneling`) });
  const refusal = (status: number) => proxyRefusal(tunnel(status), HTTPS, proxy);

  it('is told by its kind: a login, no way there, not allowed', () => {
    assert.equal(refusal(407)?.code, 'E_AUTH');
    assert.equal(refusal(502)?.code, 'E_NETWORK');
    assert.equal(refusal(403)?.code, 'E_REGISTRY');
    assert.equal(proxyRefusal(new Error('Proxy Authentication Required (407)'), HTTP, proxy)?.code, 'E_AUTH');
  });

  it('names the proxy and never its password', () => {
    for (const status of [407, 403, 502]) {
      const { message, hint } = refusal(status) as Error & { hint?: string };
      assert.match(message, /proxy proxy\.corp:3128/);
      assert.doesNotMatch(`${message}${hint}`, /hush/);
    }
  });

  it('is nothing where there is no proxy, or the fault is another', () => {
    assert.equal(proxyRefusal(tunnel(407), HTTPS, undefined), undefined);
    assert.equal(proxyRefusal(new Error('ECONNREFUSED'), HTTPS, proxy), undefined);
  });
});
