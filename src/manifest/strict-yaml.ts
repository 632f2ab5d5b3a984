import { isMap, isScalar, isSeq, type Node, type YAMLMap, type YAMLParseError } from 'yaml';
import { shown } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { parseDeep } from './parse-deep.ts';
import { formatPath, type Problem, problemsError } from './problems.ts';
import { scanTokens } from './scan-tokens.ts';
import { type TextPositions, textPositions } from './text-positions.ts';

/** Plain maps (without prototype), lists and strings. Nothing is read as a number, boolean or null: `1.10`, `010` and `yes` stay as written. */
export type YamlValue = string | YamlValue[] | { [key: string]: YamlValue };

export type StrictYaml = Readonly<{
  value: YamlValue;
  /** `file:line:column` of what is at `path`, or of the nearest thing above it that is there */
  where(path: readonly PropertyKey[], of?: 'key' | 'value'): string;
}>;

/**
 * Reads a file of the user's so that no two readers could understand it differently: one document of YAML 1.2 (failsafe schema: maps, lists
 * and strings), no anchors, aliases, tags, directives, duplicate keys, control or bidirectional characters; bounded size, tokens and depth.
 * @throws BundleError E_MANIFEST with `file:line:column` of every problem
 */
export function parseStrictYaml(text: string, file: string): StrictYaml {
  const body = text.startsWith('\uFEFF') ? text.slice(1) : text;
  const positions = textPositions(body, file);
  const fail = (problems: Problem[]): never => {
    throw problemsError(problems);
  };
  if (Buffer.byteLength(body) > LIMITS.manifestFileBytes)
    fail([problemAt(positions, 0, `is larger than the limit of ${LIMITS.manifestFileBytes} bytes`)]);
  const faults = scanTokens(body);
  if (faults.length > 0) fail(faults.map((fault) => problemAt(positions, fault.offset, fault.message)));
  // Not "silent": that would drop the error about several documents.
  const doc = parseDeep(body, {
    version: '1.2',
    schema: 'failsafe',
    strict: true,
    uniqueKeys: false,
    prettyErrors: false,
    logLevel: 'error',
  });
  if (doc === undefined) return fail([problemAt(positions, 0, 'nested too deep')]);
  if (doc.errors.length > 0) fail(syntaxProblems(doc.errors, positions));
  const root = doc.contents as Node | null;
  if (root === null || (isScalar(root) && root.value === '')) return fail([problemAt(positions, 0, 'is empty')]);
  const problems: Problem[] = [];
  const value = convert(root, [], positions, problems);
  if (problems.length > 0) fail(problems);
  const offsetOf = locator(root);
  return { value, where: (path, of = 'value') => positions.where(offsetOf(path, of)) };
}

const problemAt = (positions: TextPositions, offset: number, message: string, path = ''): Problem => ({
  where: positions.where(offset),
  path,
  message,
});

/** The parser's errors, one a place: it repeats itself where nesting was cut off. */
function syntaxProblems(errors: readonly YAMLParseError[], positions: TextPositions): Problem[] {
  const deep = errors.find((error) => error.code === 'RESOURCE_EXHAUSTION');
  if (deep !== undefined) return [problemAt(positions, deep.pos[0], 'nested too deep')];
  const first = new Map(errors.toReversed().map((error) => [error.pos[0], error]));
  return [...first.values()].reverse().map((error) => {
    const second = error.code === 'MULTIPLE_DOCS';
    const message = second ? 'a second document begins here ("---"): want one document' : error.message.slice(0, 200);
    return problemAt(positions, error.pos[0], message);
  });
}

type Converter = (node: Node | null, path: readonly PropertyKey[], positions: TextPositions, problems: Problem[]) => YamlValue;

const convert: Converter = (node, path, positions, problems) => {
  if (path.length > LIMITS.jsonDepth) {
    problems.push(problemAt(positions, node?.range?.[0] ?? 0, `nested deeper than ${LIMITS.jsonDepth}`));
    return '';
  }
  if (isSeq(node)) return node.items.map((item, i) => convert(item as Node | null, [...path, i], positions, problems));
  if (isMap(node)) return convertMap(node.items as MapItem[], path, positions, problems);
  return isScalar(node) && typeof node.value === 'string' ? node.value : '';
};

type MapItem = Readonly<{ key: Node | null; value: Node | null }>;

function convertMap(
  items: readonly MapItem[],
  path: readonly PropertyKey[],
  positions: TextPositions,
  problems: Problem[],
): YamlValue {
  const map: { [key: string]: YamlValue } = Object.create(null);
  const seen = new Map<string, number>();
  for (const { key, value } of items) {
    const offset = key?.range?.[0] ?? value?.range?.[0] ?? 0;
    if (!isScalar(key) || typeof key.value !== 'string') {
      problems.push(problemAt(positions, offset, 'a key must be text, not a list or a map', formatPath(path)));
      continue;
    }
    const first = seen.get(key.value);
    if (first !== undefined) {
      const line = positions.where(first);
      problems.push(
        problemAt(positions, offset, `the key ${shown(key.value)} is there twice (first at ${line})`, formatPath(path)),
      );
      continue;
    }
    seen.set(key.value, offset);
    map[key.value] = convert(value, [...path, key.value], positions, problems);
  }
  return map;
}

/** Finds the place of a path. Keys of a map are looked up once: a hundred thousand problems must not mean as many searches. */
function locator(root: Node): (path: readonly PropertyKey[], of: 'key' | 'value') => number {
  const indexes = new Map<Node, Map<PropertyKey, MapItem>>();
  const pairOf = (map: YAMLMap, key: PropertyKey): MapItem | undefined => {
    let index = indexes.get(map);
    if (index === undefined) {
      index = new Map((map.items as MapItem[]).map((item) => [isScalar(item.key) ? (item.key.value as string) : '', item]));
      indexes.set(map, index);
    }
    return index.get(key);
  };
  const step = (node: Node, part: PropertyKey, wantsKey: boolean): Node | null | undefined => {
    if (isSeq(node)) return node.items[part as number] as Node | undefined;
    const pair = isMap(node) ? pairOf(node, part) : undefined;
    // A value that takes no room has no place worth showing: its key has.
    const empty = !pair?.value?.range || pair.value.range[0] === pair.value.range[1];
    return wantsKey || empty ? pair?.key : pair.value;
  };
  return (path, of) => {
    let node = root;
    for (const [depth, part] of path.entries()) {
      const next = step(node, part, of === 'key' && depth === path.length - 1);
      if (!next) break;
      node = next;
    }
    return node.range?.[0] ?? 0;
  };
}
