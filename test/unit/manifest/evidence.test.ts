import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { expandImageLists } from '../../../src/manifest/image-list.ts';
import type { Manifest } from '../../../src/manifest/manifest.ts';
import { parseManifest } from '../../../src/manifest/read-manifest.ts';
import { throwsWith } from '../../support/assert-code.ts';

const parse = (...lines: string[]) =>
  parseManifest(['apiVersion: bundle/v1', 'name: lumen', ...lines, ''].join('\n'), 'lumen.yaml');
const wishes = ({ images }: Manifest) => images.map((image) => image.evidence ?? 'all');
const refuses = (message: RegExp, ...lines: string[]) => throwsWith(() => parse(...lines), 'E_MANIFEST', message);

describe('evidence', () => {
  test('is all where nothing is said; an image has its own wish, or that of the manifest, and so has what lists name', async () => {
    assert.deepEqual(wishes(parse('images: [redis:7, {ref: nginx:1, evidence: none}, {ref: app:1, evidence: all}]')), [
      'all',
      'none',
      'all',
    ]);
    const none = parse('evidence: none', 'images: [redis:7, {ref: nginx:1, evidence: all}]', 'imageLists: [more.txt]');
    assert.deepEqual(wishes(none), ['none', 'all']);
    assert.deepEqual(wishes(await expandImageLists(none, async () => 'busybox:1\nnginx:1\n')), ['none', 'all', 'none']);
    assert.deepEqual(wishes(parse('evidence: all', 'images: [redis:7]')), ['all']);
  });

  test('the same image twice collapses when both wish the same, and conflicts when they do not', () => {
    const twice = (...evidence: string[]) =>
      parse('images:', ...evidence.map((wish) => `  - {ref: redis:7, evidence: ${wish}}`), '  - {ref: app:1}');
    assert.equal(twice('none', 'none').images.length, 2);
    throwsWith(() => twice('none', 'all'), 'E_MANIFEST', /different settings/);
  });

  test('what is misspelt is named with its place and what may have been meant', () => {
    refuses(/^lumen\.yaml:3:1: evidense: unknown key; did you mean "evidence"\?$/, 'evidense: none', 'images: [redis:7]');
    refuses(
      /^lumen\.yaml:3:35: images\[0\]\.evidence: want "all" or "none", got the text "non"; did you mean "none"\?$/,
      'images: [{ref: redis:7, evidence: non}]',
    );
    refuses(/evidence: want "all" or "none"/, 'evidence: [none]', 'images: [redis:7]');
  });
});

describe('a signature that is demanded where none is carried', () => {
  const NOTHING = 'nothing can be verified where "evidence" is "none"';
  const at = (place: string, path: string): RegExp => new RegExp(`^lumen\\.yaml:${place}: ${path}: ${NOTHING}[^\\n]*$`);

  test('is refused at the wish, in an image and for the whole manifest', () => {
    refuses(
      at('5:15', 'images\\[0\\]\\.evidence'),
      'images:',
      '  - ref: redis:7',
      '    evidence: none',
      '    verify: {key: a.pub}',
    );
    refuses(at('3:11', 'evidence'), 'evidence: none', 'verify: {key: a.pub}', 'images: [redis:7]');
  });

  test('is refused too where one of the two is inherited', () => {
    refuses(
      at('6:15', 'images\\[1\\]\\.evidence'),
      'verify: {key: a.pub}',
      'images: [redis:7, {',
      ' ref: app:1,',
      '    evidence: none}]',
    );
    refuses(at('4:31', 'images\\[0\\]\\.verify'), 'evidence: none', 'images: [{ref: app:1, verify: {key: a.pub}}]');
  });

  test('every place is named at once', () => {
    const error = throwsWith(
      () =>
        parse('evidence: none', 'images: [{ref: a:1, verify: {key: a.pub}}, {ref: b:1, evidence: none, verify: {key: a.pub}}]'),
      'E_MANIFEST',
    );
    assert.deepEqual(
      error.message.split('\n').map((line) => line.split(': ')[1]),
      ['images[0].verify', 'images[1].evidence'],
    );
  });

  test('unsigned: allowed goes with it, and so does a key where all is carried after all', () => {
    assert.deepEqual(wishes(parse('evidence: none', 'verify: {unsigned: allowed}', 'images: [redis:7]')), ['none']);
    const mixed = 'images: [{ref: a:1, evidence: none, verify: {unsigned: allowed}}, {ref: b:1, evidence: all}]';
    assert.deepEqual(wishes(parse('verify: {key: a.pub}', mixed)), ['none', 'all']);
    assert.deepEqual(wishes(parse('evidence: none', 'images: [{ref: a:1, evidence: all, verify: {key: a.pub}}]')), ['all']);
  });
});
