import assert from 'node:assert/strict';
import { test } from 'node:test';
import { originPath } from '../../../src/core/reference.ts';
import { endpointFor, normalizeEndpoint, parseEndpoint } from '../../../src/k3s/endpoint.ts';
import { throwsWith } from '../../support/assert-code.ts';

// Field notes k3s.md, table 1.2.
const ROWS: readonly (readonly [text: string, url: string, override: boolean, registry: string])[] = [
  ['https://h', 'https://h/v2', false, 'h'],
  ['https://h/', 'https://h/v2', false, 'h'],
  ['https://h/v2', 'https://h/v2', false, 'h'],
  ['h', 'https://h/v2', false, 'h'],
  ['h/prefix/v2', 'https://h/prefix/v2', true, 'h'],
  ['https://h/project/registry', 'https://h/project/registry', true, 'h'],
  ['http://h:5000/v2/docker.io', 'http://h:5000/v2/docker.io', true, 'h:5000'],
  ['https://h/v2/', 'https://h/v2/', true, 'h'],
  ['localhost:5000', 'http://localhost:5000/v2', false, 'localhost:5000'],
  ['localhost:443', 'https://localhost:443/v2', false, 'localhost:443'],
  ['localhost', 'https://localhost/v2', false, 'localhost'],
  ['localhost:80', 'http://localhost:80/v2', false, 'localhost:80'],
  ['127.9.9.9:5000', 'http://127.9.9.9:5000/v2', false, '127.9.9.9:5000'],
  ['127.example:5000', 'https://127.example:5000/v2', false, '127.example:5000'],
  ['[::1]:5000', 'http://[::1]:5000/v2', false, '[::1]:5000'],
  ['[fd00::1]:5000', 'https://[fd00::1]:5000/v2', false, '[fd00::1]:5000'],
  ['https://127.0.0.1:5000', 'https://127.0.0.1:5000/v2', false, '127.0.0.1:5000'],
  ['docker.io', 'https://registry-1.docker.io/v2', false, 'docker.io'],
  ['https://registry-1.docker.io', 'https://registry-1.docker.io/v2', false, 'docker.io'],
  ['h:443', 'https://h:443/v2', false, 'h:443'],
];

for (const [text, url, overridePath, registry] of ROWS) {
  test(`k3s reads the endpoint ${text} as ${url}${overridePath ? ' with override_path' : ''}`, () => {
    const got = normalizeEndpoint(text);
    assert.deepEqual(
      { url: got?.url, overridePath: got?.overridePath, registry: got?.registry },
      { url, overridePath, registry },
    );
  });
}

for (const text of ['https://a b', 'https://h:port', 'https://[::1', 'https://h\u0000', 'https://"h"', 'https://h{}']) {
  test(`k3s skips the endpoint ${JSON.stringify(text)}`, () => {
    assert.equal(normalizeEndpoint(text), undefined);
  });
}

test('the origin is in the path, so that docker.io/library/x and ghcr.io/library/x stay two images', () => {
  assert.equal(endpointFor('docker.io', 'https://node-1:5000'), 'https://node-1:5000/v2/docker.io');
  assert.equal(endpointFor('ghcr.io', 'https://node-1:5000/v2'), 'https://node-1:5000/v2/ghcr.io');
});

test('ports and IPv6 of an origin become repository components', () => {
  assert.equal(endpointFor('host:5000', 'http://node-1:5000'), 'http://node-1:5000/v2/host_5000');
  assert.equal(
    endpointFor('[fd00::1]:5000', 'https://[fd00::2]:5000'),
    `https://[fd00::2]:5000/v2/${originPath('[fd00::1]:5000')}`,
  );
});

test('a target below a path of its own keeps it in front of the origin', () => {
  assert.equal(endpointFor('quay.io', 'https://harbor.corp/v2/airgap'), 'https://harbor.corp/v2/airgap/quay.io');
});

const REFUSED: readonly (readonly [text: string, why: RegExp])[] = [
  ['node-1:5000', /has no http/],
  ['ftp://node-1', /has no http/],
  ['https://', /host/],
  ['https://NODE-1:5000', /lower-case/],
  ['https://user:pw@node-1:5000', /host/],
  ['https://node-1:0', /port/],
  ['https://node-1:65536', /port/],
  ['https://node-1:', /port/],
  ['https://node-1:5000/docker.io', /path/],
  ['https://node-1:5000/docker.io/v2', /path/],
  ['https://node-1:5000/v2/../x', /path/],
  ['https://node-1:5000/v2?x=1', /path/],
  ['https://node-1:5000#x', /path/],
  ['https://[fd00::1]', /without a port/],
  ['https://[fd00:::1]:5000', /host/],
  ['https://a"b:5000', /host/],
  ['https://a\nb:5000', /host/],
  ['https://-node:5000', /host/],
  // No host to a URL parser, which would throw later; and another address to some readers than to others.
  ['https://a.1:5000', /host/],
  ['https://127.1:5000', /host/],
  [`https://node-1:5000/v2/docker.io"]\n[host."http://evil"]`, /host/],
];

for (const [text, why] of REFUSED) {
  test(`the endpoint ${JSON.stringify(text)} is never written by us`, () => {
    const error = throwsWith(() => parseEndpoint(text), 'E_USAGE', why);
    assert.ok(error.hint);
  });
}
