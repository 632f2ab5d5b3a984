import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkRedirect, isPrivateHost } from '../../../src/registry/network-policy.ts';
import { throwsWith } from '../../support/assert-code.ts';

const INSIDE = [
  'localhost',
  'localhost.',
  'a.localhost.',
  '127.1',
  '0x7f000001',
  '127.0.0.1.',
  '10.0.0.1',
  '100.64.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '169.254.169.254',
  '192.0.0.8',
  '198.18.0.1',
  '198.19.255.255',
  '224.0.0.1',
  '240.0.0.1',
  '255.255.255.255',
  '[::]',
  '[::1]',
  '[::127.0.0.1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:a00:1]',
  '[64:ff9b::7f00:1]',
  '[64:ff9b::192.168.0.1]',
  '[64:ff9b:1::1]',
  '[2002:7f00:1::]',
  '[fd00::1]',
  '[fe80::1]',
  '[ff02::1]',
];
const OUTSIDE = [
  'example.com',
  'example.com.',
  'localhost.example.com',
  '8.8.8.8',
  '100.128.0.1',
  '172.32.0.1',
  '192.0.1.1',
  '198.20.0.1',
  '223.255.255.255',
  '[2606:4700::1]',
  '[::ffff:8.8.8.8]',
  '[64:ff9b::8.8.8.8]',
];

describe('a redirect from a public host', () => {
  const from = new URL('https://registry.example/v2/');

  for (const host of INSIDE) {
    it(`is not followed to ${host}`, () => {
      const to = new URL(`https://${host}/`);
      assert.equal(isPrivateHost(to.hostname), true);
      throwsWith(() => checkRedirect(from, to), 'E_REDIRECT');
    });
  }

  for (const host of OUTSIDE) {
    it(`is followed to ${host}`, () => checkRedirect(from, new URL(`https://${host}/`)));
  }
});

describe('a redirect from a host inside', () => {
  it('may go inside, but never to where clouds keep secrets', () => {
    const from = new URL('https://10.1.2.3/');
    checkRedirect(from, new URL('https://10.1.2.4/'));
    for (const host of ['169.254.169.254', '169.254.169.254.', '[::ffff:169.254.169.254]', '[64:ff9b::a9fe:a9fe]', '[fe80::1]'])
      throwsWith(() => checkRedirect(from, new URL(`https://${host}/`)), 'E_REDIRECT', /link-local/);
  });
});
