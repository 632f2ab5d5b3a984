import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { prettyJson } from '../../../src/core/json.ts';
import { manifestJsonSchema } from '../../../src/manifest/schema.ts';

const root = resolve(import.meta.dirname, '../../..');
type Node = {
  description?: string;
  properties?: Record<string, Node>;
  items?: Node;
  anyOf?: Node[];
  additionalProperties?: boolean;
};

test('the shipped schema is what the code says', () => {
  assert.equal(readFileSync(`${root}/schema/manifest.schema.json`, 'utf8'), prettyJson(manifestJsonSchema()));
  assert.equal(spawnSync(process.execPath, [`${root}/scripts/write-schema.ts`, '--check']).status, 0);
});

test('every key has a description for editors, and every map is closed', () => {
  const walk = (node: Node, path: string): void => {
    if (node.properties !== undefined) assert.equal(node.additionalProperties, false, path);
    for (const [key, child] of Object.entries(node.properties ?? {})) {
      assert.ok(child.description, `${path}.${key} has no description`);
      walk(child, `${path}.${key}`);
    }
    for (const child of [...(node.items === undefined ? [] : [node.items]), ...(node.anyOf ?? [])]) walk(child, path);
  };
  const schema = manifestJsonSchema() as Node & { $schema: string; $id: string; title: string };
  walk(schema, '');
  assert.equal(schema.$schema, 'http://json-schema.org/draft-07/schema#');
  assert.ok(schema.$id && schema.title);
  assert.deepEqual(Object.keys(schema.properties ?? {}), [
    'apiVersion',
    'name',
    'platforms',
    'images',
    'verify',
    'evidence',
    'trustedRoot',
    'imageLists',
    'expires',
  ]);
});
