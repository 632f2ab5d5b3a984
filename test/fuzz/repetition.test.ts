/** One pattern over and over, as long as its place allows: a regexp or a loop that grows with the square would take minutes. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseStrictJson } from '../../src/core/json.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import { parseOciManifest } from '../../src/core/oci-manifest.ts';
import { isRepository, parseOrigin, parseReference } from '../../src/core/reference.ts';
import { parseEndpoint } from '../../src/k3s/endpoint.ts';
import { parseRegistriesYaml } from '../../src/k3s/registries-yaml.ts';
import { parseImageList } from '../../src/manifest/image-list.ts';
import { parseManifest } from '../../src/manifest/read-manifest.ts';
import { parseChallenges } from '../../src/registry/challenge.ts';
import { endpointOf } from '../../src/registry/endpoint.ts';
import { listTags } from '../../src/registry/listings.ts';
import { parseScope } from '../../src/serve/access.ts';
import { parseHtpasswd } from '../../src/serve/htpasswd.ts';
import { parseBasic } from '../../src/serve/passwords.ts';
import { parseContentRange, parseRange } from '../../src/serve/range.ts';
import { parseTarget } from '../../src/serve/route.ts';
import { readPrivateKey } from '../../src/sign/key-file.ts';
import { parsePublicKeys } from '../../src/sign/public-key.ts';
import { type Fate, fuzz, HANG_MS } from './budget.ts';

type Subject = Readonly<{ name: string; run: (text: string) => unknown }>;
const never = (): Promise<string> => Promise.reject(new Error('a password is asked'));
const endpoint = endpointOf('a.lab', { plainHttp: [] });
let links = 0;

/** Node takes 16 KiB of headers. */
const HEADER_CHARS = 16 * 1024;
const HEADERS: readonly Subject[] = [
  { name: 'Range', run: (text) => parseRange(text, 100) },
  { name: 'Content-Range', run: parseContentRange },
  { name: 'WWW-Authenticate', run: (text) => parseChallenges([text]) },
  { name: 'Basic', run: parseBasic },
  { name: 'scope', run: parseScope },
  { name: 'target', run: parseTarget },
  { name: 'reference', run: parseReference },
  { name: 'origin', run: parseOrigin },
  { name: 'repository', run: isRepository },
  { name: 'endpoint', run: parseEndpoint },
  {
    name: 'Link',
    run: (link) =>
      listTags(
        async ({ url = endpoint.base }) => ({
          status: 200,
          url,
          header: () => (links++ % 2 === 0 ? link : undefined),
          headerLines: () => [],
          body: (async function* () {
            yield Buffer.from('{}');
          })(),
          discard: async () => undefined,
        }),
        endpoint,
        'x',
      ),
  },
];
const FILE_CHARS = 64 * 1024;
const FILES: readonly Subject[] = [
  { name: 'JSON', run: (text) => parseStrictJson(Buffer.from(text), 'x', 'E_LOCK') },
  { name: 'OCI manifest', run: (text) => parseOciManifest(Buffer.from(text), MEDIA_TYPE.ociManifest, 'x') },
  { name: 'public key', run: (text) => parsePublicKeys(text, 'x') },
  { name: 'private key', run: (text) => readPrivateKey(text, never) },
  { name: 'image list', run: (text) => parseImageList(text, 'x') },
  { name: 'htpasswd', run: (text) => parseHtpasswd(text, 'x') },
  { name: 'registries.yaml', run: (text) => parseRegistriesYaml(text, 'x') },
  { name: 'manifest', run: (text) => parseManifest(text, 'x') },
];

const heads = [
  '',
  'bytes=',
  'Basic ',
  'Bearer a="',
  'repository:',
  '/v2/',
  'https://',
  '<a>;',
  '<',
  '{"a":',
  '-----BEGIN PRIVATE KEY-----',
  'mirrors:\n',
  'a: "',
  'a',
];
const units = [
  'a',
  '0',
  ' ',
  '\t',
  '\n',
  ':',
  ';',
  ',',
  '/',
  '.',
  '-',
  '_',
  '__',
  '=',
  '"',
  "'",
  '\\',
  '\\"',
  '<',
  '>',
  '<a>;',
  'rel=',
  '[',
  '{',
  '[]',
  '{"a":',
  '- ',
  '? ',
  'a: ',
  '#',
  ' #',
  '&a ',
  '*a ',
  '-----BEGIN A-----',
  '%41',
  '@',
  'a.',
  'a/',
  '9-',
  '|',
  '!',
];
const text = (length: number): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.constantFrom(...heads),
      fc.array(fc.array(fc.constantFrom(...units), { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 2 }),
      fc.constantFrom('', '!', 'é', '"', '\n', 'x'),
    )
    .map(([head, runs, tail]) => {
      const each = Math.floor(length / runs.length);
      return (
        head +
        runs
          .map((run) =>
            run
              .join('')
              .repeat(Math.ceil(each / run.join('').length))
              .slice(0, each),
          )
          .join('') +
        tail
      );
    });

const check = async ([{ name, run }, input]: [Subject, string]): Promise<Fate> => {
  const started = performance.now();
  try {
    await run(input);
  } catch (error) {
    // RangeError is what a reader throws that recurses with its input.
    assert.ok(!(error instanceof RangeError) && !(error instanceof TypeError), `${name}: ${String(error)}`);
  }
  const took = performance.now() - started;
  assert.ok(took < HANG_MS, `${name} took ${Math.round(took)} ms for ${input.length} characters`);
  // Repetition is hardly ever a valid document: an answer in time is all that is asked.
  return 'taken';
};

fuzz(
  'no header or name takes long, whatever is repeated in it',
  fc.tuple(fc.constantFrom(...HEADERS), text(HEADER_CHARS)),
  check,
  20,
);
fuzz(
  'no file takes long, whatever is repeated in it',
  fc.tuple(fc.constantFrom(...FILES), text(Math.min(FILE_CHARS, LIMITS.keyFileBytes))),
  check,
  5,
);
