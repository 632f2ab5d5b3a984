/**
 * Other tools on the bundle directory itself, which has several roots, some under equal paths of two origins: which form of which tool takes the
 * right one. docs/bundle-directory-with-other-tools.md says the same to users; its commands are the ones that run here.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { type Dirent, readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startContainerd } from '../support/real/containerd.ts';
import { type Content, type EqualPaths, makeEqualPaths } from '../support/real/equal-paths.ts';
import { type Environment, type Finished, must, run } from '../support/real/programs.ts';
import { type Registry, startRegistry } from '../support/real/registries.ts';
import { createScope, createSuiteScope } from '../support/real/scope.ts';
import { tool } from '../support/tools.ts';

const PAGE = resolve(import.meta.dirname, '../../docs/bundle-directory-with-other-tools.md');
const scope = createSuiteScope();
let made: EqualPaths;
let registry: Registry;
let env: Environment;
let page: string;
let untouched: string;

before(async () => {
  page = await readFile(PAGE, 'utf8');
  made = await makeEqualPaths(scope);
  registry = await startRegistry(scope, { kind: 'distribution 2.8' });
  env = { HOME: made.directory, TMPDIR: made.directory, XDG_RUNTIME_DIR: made.directory };
  untouched = fingerprint();
});
after(() => scope.end());

/** Every name and byte of the bundle. */
function fingerprint(): string {
  const hash = createHash('sha256');
  for (const entry of readdirSync(made.path, { recursive: true, withFileTypes: true }).sort(byPath)) {
    hash.update(`${pathOf(entry)}\n`);
    if (entry.isFile()) hash.update(readFileSync(pathOf(entry)));
  }
  return hash.digest('hex');
}
const pathOf = (entry: Dirent): string => join(entry.parentPath, entry.name);
const byPath = (a: Dirent, b: Dirent): number => (pathOf(a) < pathOf(b) ? -1 : 1);

type Place = Readonly<{ content: Content; to: string }>;

/** Fills in a command of the page: DIR, REF, DIGEST, TAG and TARGET. `extra`: what only this test needs, a registry without TLS. */
function perform(command: string, { content, to }: Place, extra: readonly string[], program?: string): Promise<Finished> {
  assert.ok(page.includes(`\`${command}\``), `the page does not have: ${command}`);
  const [name, ...words] = command
    .replaceAll('DIR', made.path)
    .replaceAll('REF', content.ref)
    .replaceAll('DIGEST', content.targetDigest)
    .replaceAll('TAG', content.ref.replace(/@.*/, '').split(':').at(-1) ?? '')
    .replaceAll('TARGET', to)
    .split(' ') as [string, ...string[]];
  return run(tool(program ?? name), [...words, ...extra], { env, cwd: made.directory });
}

const digestAt = async (to: string): Promise<string> =>
  (await must(tool('crane'), ['digest', to], { env })).toString('utf8').trim();

/** Without the names of signatures, which are beside them. */
const namesOfImages = (stdout: Buffer): string[] =>
  stdout
    .toString('utf8')
    .trim()
    .split('\n')
    .filter((name) => !/:sha256-[0-9a-f]{64}\.(sig|att|sbom)$/.test(name))
    .sort();

let serial = 0;
const place = (content: Content): Place => ({ content, to: `${registry.host}/copied/${++serial}:1` });

async function copiesEach(
  command: string,
  extra: readonly string[],
  options: { program?: string; but?: RegExp } = {},
): Promise<void> {
  for (const content of made.contents.filter(({ ref }) => options.but?.test(ref) !== true)) {
    const at = place(content);
    const { code, stderr } = await perform(command, at, extra, options.program);
    assert.equal(code, 0, stderr);
    assert.equal(await digestAt(at.to), content.targetDigest, content.ref);
  }
}

async function refuses(
  command: string,
  extra: readonly string[],
  reason: RegExp,
  ref = 'docker.io/library/tool:1.0',
  program?: string,
) {
  const content = made.contents.find((each) => each.ref === ref) as Content;
  const { code, stderr } = await perform(command, place(content), extra, program);
  assert.notEqual(code, 0);
  assert.match(stderr, reason);
}

const SKOPEO = 'skopeo copy --all --preserve-digests oci:DIR:REF docker://TARGET';
const REGCTL = () => ['--host', `reg=${registry.host},tls=disabled`];

describe('the bundle directory in other tools', () => {
  it('skopeo 1.22 copies every reference by its name', () =>
    copiesEach(SKOPEO, ['--dest-tls-verify=false'], { program: 'skopeo-sid' }));

  it('skopeo 1.9 copies every reference but a list of Docker schema 2, which it does not find', async () => {
    const extra = ['--dest-tls-verify=false'];
    await copiesEach(SKOPEO, extra, { but: /schema2/ });
    await refuses(SKOPEO, extra, /no descriptor found for reference/, 'docker.io/library/schema2:1');
  });

  it('skopeo refuses the directory without a name', () =>
    refuses('skopeo copy oci:DIR docker://TARGET', ['--dest-tls-verify=false'], /more than one image/));

  it('oras copies every reference by its name with --from-oci-layout-path', () =>
    copiesEach('oras cp --from-oci-layout-path DIR REF TARGET', ['--to-plain-http']));

  it('oras copies every reference by its digest with --from-oci-layout', () =>
    copiesEach('oras cp --from-oci-layout DIR@DIGEST TARGET', ['--to-plain-http']));

  it('oras copies the referrers along', async () => {
    const content = made.contents.find(({ ref }) => ref === 'docker.io/library/tool:1.0') as Content;
    const at = place(content);
    const { code, stderr } = await perform('oras cp -r --from-oci-layout-path DIR REF TARGET', at, ['--to-plain-http']);
    assert.equal(code, 0, stderr);
    const found = await must(tool('oras'), ['discover', '--plain-http', '--format', 'json', at.to], { env });
    assert.ok(found.includes(made.images.sbom.digest));
  });

  it('oras takes no name behind the directory', () =>
    refuses('oras cp --from-oci-layout DIR:REF TARGET', ['--to-plain-http'], /failed to find path|no such file/));

  it('oras lists what is there', async () => {
    const content = made.contents[0] as Content;
    const { stdout, code } = await perform('oras repo tags --oci-layout DIR', place(content), []);
    assert.equal(code, 0);
    assert.deepEqual(namesOfImages(stdout), made.contents.map(({ ref }) => ref).sort());
  });

  it('regctl copies every reference by its digest', () => copiesEach('regctl image copy ocidir://DIR@DIGEST TARGET', REGCTL()));

  it('regctl by tag takes the image of another origin without a word: never use that form', async () => {
    const equal = made.contents.filter(({ ref }) => ref.endsWith('/library/tool:1.0'));
    assert.equal(equal.length, 3);
    const got = new Set<string>();
    for (const content of equal) {
      const at = place(content);
      const { code, stderr } = await perform('regctl image copy ocidir://DIR:TAG TARGET', at, REGCTL());
      assert.equal(code, 0, stderr);
      got.add(await digestAt(at.to));
    }
    assert.equal(got.size, 1, 'three different images, and always the same one is taken');
  });

  it('regctl takes no full name', () =>
    refuses('regctl image copy ocidir://DIR:REF TARGET', REGCTL(), /invalid path|invalid reference/));

  it('crane takes a layout of one image only', () => refuses('crane push DIR TARGET', [], /contains \d+ entries/));

  it('crane pushes all roots as one index, from which each can be taken by its digest', async () => {
    const all = `${registry.host}/everything`;
    const content = made.contents[0] as Content;
    const pushed = await perform('crane push --index DIR TARGET', { content, to: `${all}:1` }, []);
    assert.equal(pushed.code, 0, pushed.stderr);
    for (const each of made.contents) {
      const { to } = place(each);
      await must(tool('crane'), ['copy', `${all}@${each.targetDigest}`, to], { env });
      assert.equal(await digestAt(to), each.targetDigest);
    }
  });

  it('containerd imports it from a tar, each image under the name of its origin', async (t) => {
    const own = createScope(t);
    const command = 'tar -C DIR -cf - oci-layout index.json blobs \\| ctr images import --all-platforms --no-unpack -';
    assert.ok(page.includes(`\`${command}\``));
    const tar = join(made.directory, 'layout.tar');
    await must('tar', ['-C', made.path, '-cf', tar, 'oci-layout', 'index.json', 'blobs']);
    const containerd = await startContainerd(own, { certsDir: made.directory });
    const { code, stderr } = await containerd.ctr('-n', 'interop', 'images', 'import', '--all-platforms', '--no-unpack', tar);
    assert.equal(code, 0, stderr);
    for (const content of made.contents.filter(({ ref }) => !ref.includes('@')))
      assert.equal(await containerd.digestOf('interop', content.ref), content.targetDigest);
  });

  it('umoci lists it', async () => {
    const { code, stdout } = await perform('umoci ls --layout DIR', place(made.contents[0] as Content), []);
    assert.equal(code, 0);
    assert.deepEqual(namesOfImages(stdout), made.contents.map(({ ref }) => ref).sort());
  });

  it('cosign reads no layout of several images', async () => {
    for (const program of ['cosign', 'cosign-2'])
      await refuses(
        'cosign verify --key release.pub --local-image DIR',
        ['--insecure-ignore-tlog'],
        /must verify either an image index or image/,
        undefined,
        program,
      );
  });

  it('is left as it was by all of them', () => assert.equal(fingerprint(), untouched));
});
