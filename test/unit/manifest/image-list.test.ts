import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LIMITS } from '../../../src/core/limits.ts';
import { formatReference } from '../../../src/core/reference.ts';
import { expandImageLists, parseImageList } from '../../../src/manifest/image-list.ts';
import { parseManifest } from '../../../src/manifest/read-manifest.ts';
import { rejectsWith, throwsWith } from '../../support/assert-code.ts';

const D = (c: string) => `sha256:${c.repeat(64)}`;
const names = (list: readonly { ref: Parameters<typeof formatReference>[0] }[]) => list.map(({ ref }) => formatReference(ref));

describe('parseImageList', () => {
  test('one reference a line, with comments, blank lines, blanks, tabs, CRLF and a byte order mark', () => {
    const text =
      '\ufeff# k3s\r\ndocker.io/rancher/mirrored-pause:3.6\r\n\r\n  \tredis:7\t # cache\n#busybox\nalpine:3#x-not-a-comment'.replace(
        '#x-not-a-comment',
        '',
      );
    const list = parseImageList(text, 'l.txt');
    assert.deepEqual(names(list), [
      'docker.io/rancher/mirrored-pause:3.6',
      'docker.io/library/redis:7',
      'docker.io/library/alpine:3',
    ]);
    assert.deepEqual(
      list.map(({ where }) => where),
      ['l.txt:2:1', 'l.txt:4:4', 'l.txt:6:1'],
    );
  });

  test('all bad lines are told at once with line and column', () => {
    const error = throwsWith(() => parseImageList('redis\n  Redis\nok:1\na b\nhttps://x/y\n', 'l.txt'), 'E_MANIFEST');
    assert.deepEqual(
      error.message.split('\n').map((line) => line.split(': ')[0]),
      ['l.txt:2:3', 'l.txt:4:1', 'l.txt:5:1'],
    );
  });

  const table: readonly [string, string, RegExp][] = [
    ['an empty file', '', /^l\.txt:1:1: names no image/],
    ['only comments', '# a\n\n#b', /^l\.txt:1:1: names no image/],
    ['a page of HTML', '<!DOCTYPE html>\n<html></html>', /^l\.txt:1:1: reference "<!DOCTYPE html>"/],
    ['NUL', 'redis\0', /^l\.txt:1:1: /],
    ['a no-break space', 'redis\u00a0', /^l\.txt:1:1: /],
    ['a lone CR', 'redis:7\rbusybox:1', /^l\.txt:1:1: /],
    ['a # that is no comment', 'redis#x', /^l\.txt:1:1: /],
    ['a Cyrillic letter', 'redi\u0455', /^l\.txt:1:1: /],
    ['a YAML list', '- redis:7', /^l\.txt:1:1: /],
    ['too many lines', '\n'.repeat(LIMITS.imageListLines), /^l\.txt:1:1: has more than 20000 lines/],
    ['too many bytes', '#'.repeat(LIMITS.imageListBytes + 1), /^l\.txt:1:1: is larger than/],
  ];
  for (const [name, text, message] of table)
    test(`${name} is E_MANIFEST`, () => void throwsWith(() => parseImageList(text, 'l.txt'), 'E_MANIFEST', message));

  test('a line of a megabyte gives a short message', () => {
    assert.ok(throwsWith(() => parseImageList('a'.repeat(1e6), 'l.txt'), 'E_MANIFEST').message.length < 500);
  });
});

describe('expandImageLists', () => {
  const manifest = (rest: string) => parseManifest(`apiVersion: bundle/v1\nname: x\n${rest}`, 'm/x.yaml');
  const expand = async (rest: string, lists: Record<string, string>) =>
    expandImageLists(manifest(rest), async (source) => lists[source] ?? assert.fail(`read ${source}`));

  test('entries take the defaults of the manifest, after its own images, and the lists are gone', async () => {
    const result = await expand('platforms: [linux/arm64]\nimages: [a:1]\nimageLists: [l.txt, "https://h/k.txt?sig=s3cret"]', {
      'm/l.txt': 'b:1\n',
      'https://h/k.txt?sig=s3cret': '\nc:1\n',
    });
    assert.deepEqual(names(result.images), ['docker.io/library/a:1', 'docker.io/library/b:1', 'docker.io/library/c:1']);
    assert.deepEqual(result.images[1]?.platforms, ['linux/arm64']);
    assert.deepEqual(
      result.images.map(({ where }) => where),
      ['m/x.yaml:4:10', 'm/l.txt:1:1', 'https://h/k.txt:2:1'],
    );
    assert.deepEqual(result.imageLists, []);
    assert.equal(result.name, 'x');
  });

  test('an image under images keeps its settings, and pins what a list names by tag', async () => {
    const result = await expand(`images: [{ref: a:1, index: exact}, "b:1@${D('a')}"]\nimageLists: [l.txt]`, {
      'm/l.txt': 'docker.io/library/a:1\nb:1\nb:2\n',
    });
    assert.deepEqual(names(result.images), ['docker.io/library/a:1', `docker.io/library/b:1@${D('a')}`, 'docker.io/library/b:2']);
    assert.equal(result.images[0]?.index, 'exact');
  });

  test('the same line in two lists is one image', async () => {
    const result = await expand('imageLists: [l.txt, k.txt]', { 'm/l.txt': 'a:1\na:1\n', 'm/k.txt': 'index.docker.io/a:1\n' });
    assert.equal(result.images.length, 1);
  });

  test('two lists that pin one tag to two digests are an error that names both places', async () => {
    const lists = { 'm/l.txt': `a:1@${D('a')}\n`, 'm/k.txt': `# x\na:1@${D('b')}\n` };
    await rejectsWith(expand('imageLists: [l.txt, k.txt]', lists), 'E_MANIFEST', /^m\/k\.txt:2:1: .*at m\/l\.txt:1:1/);
  });

  test('an alias under the path of an origin that only a list brings is E_ALIAS_CONFLICT', async () => {
    const lists = { 'm/l.txt': 'foo:5000/x:1\n' };
    await rejectsWith(
      expand('images: [{ref: a:1, aliases: [foo_5000/y:1]}]\nimageLists: [l.txt]', lists),
      'E_ALIAS_CONFLICT',
      /m\/x\.yaml:3:10/,
    );
  });

  test('a secret in the query of a list does not get into messages', async () => {
    const error = await rejectsWith(
      expand('imageLists: ["https://h/k.txt?sig=s3cret"]', { 'https://h/k.txt?sig=s3cret': 'BAD' }),
      'E_MANIFEST',
    );
    assert.match(error.message, /^https:\/\/h\/k\.txt:1:1: /);
    assert.equal(error.message.includes('s3cret'), false);
  });

  test('more images than one bundle takes are refused over all lists', async () => {
    const list = (prefix: string) => Array.from({ length: 15_000 }, (_, i) => `${prefix}${i}:1`).join('\n');
    await rejectsWith(
      expand('imageLists: [l.txt, k.txt]', { 'm/l.txt': list('a'), 'm/k.txt': list('b') }),
      'E_MANIFEST',
      /k\.txt:\d+:1: more than 20000/,
    );
  });

  test('what the reader throws comes through', async () => {
    const failing = expandImageLists(manifest('imageLists: [l.txt]'), async () => {
      throw new Error('no network');
    });
    await assert.rejects(failing, { message: 'no network' });
  });

  test('without lists nothing is read and nothing changes', async () => {
    assert.deepEqual(await expand('images: [a:1]', {}), manifest('images: [a:1]'));
  });
});

test('a megabyte of blanks, or of comments in a comment, is read in time that grows with its length', () => {
  for (const run of ['\t', ' # \r']) throwsWith(() => parseImageList(`a${run.repeat(300_000)}!`, 'x'), 'E_MANIFEST');
  assert.equal(parseImageList(`a${' #'.repeat(300_000)}!`, 'x').length, 1);
});
