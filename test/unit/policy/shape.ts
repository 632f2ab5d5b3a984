import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isObject, type JsonObject } from '../../../src/core/json.ts';

/** The schema of a custom resource, as its project publishes it (schemas/*.json say where each is from). */
export function schemaOf(name: string): JsonObject {
  const file: unknown = JSON.parse(readFileSync(join(import.meta.dirname, 'schemas', `${name}.json`), 'utf8'));
  if (isObject(file) && isObject(file.schema)) {
    // Every resource has these, whether or not its schema says so.
    const common = { apiVersion: { type: 'string' }, kind: { type: 'string' }, metadata: { type: 'object' } };
    return { ...file.schema, properties: { ...common, ...(file.schema.properties as JsonObject) } };
  }
  throw new Error(`${name}: no schema in it`);
}

/** What the API server would object to: structural schemas, with unknown fields refused as `kubectl` does (fieldValidation: Strict). */
export function shapeFaults(schema: unknown, value: unknown, path = ''): string[] {
  if (!isObject(schema)) return [`${path}: no schema`];
  const fault = typeFault(schema, value);
  if (fault !== undefined) return [`${path}: ${fault}`];
  if (Array.isArray(value)) return value.flatMap((item, i) => shapeFaults(schema.items ?? {}, item, `${path}[${i}]`));
  return isObject(value) ? fieldFaults(schema, value, path) : valueFaults(schema, value, path);
}

function typeFault({ type }: JsonObject, value: unknown): string | undefined {
  const got = Array.isArray(value) ? 'array' : Number.isInteger(value) ? 'integer' : typeof value;
  return type === undefined || type === got ? undefined : `got ${got}, want ${type}`;
}

function fieldFaults(schema: JsonObject, value: JsonObject, path: string): string[] {
  const { properties = {}, required = [], additionalProperties } = schema;
  const open = schema['x-kubernetes-preserve-unknown-fields'] === true || schema.properties === undefined;
  const missing = (required as string[]).filter((name) => !(name in value)).map((name) => `${path}.${name}: missing`);
  const faults = Object.entries(value).flatMap(([name, item]) => {
    const field = (properties as JsonObject)[name] ?? additionalProperties;
    if (field === undefined) return open ? [] : [`${path}.${name}: unknown field`];
    return shapeFaults(field, item, `${path}.${name}`);
  });
  return [...missing, ...faults];
}

function valueFaults(schema: JsonObject, value: unknown, path: string): string[] {
  const faults = [];
  if (Array.isArray(schema.enum) && !schema.enum.includes(value))
    faults.push(`${path}: got ${value}, want one of ${schema.enum}`);
  if (typeof schema.pattern === 'string' && !new RegExp(schema.pattern, 'u').test(String(value)))
    faults.push(`${path}: not ${schema.pattern}`);
  if (typeof schema.minimum === 'number' && Number(value) < schema.minimum) faults.push(`${path}: below ${schema.minimum}`);
  if (typeof schema.maximum === 'number' && Number(value) > schema.maximum) faults.push(`${path}: above ${schema.maximum}`);
  return faults;
}
