import { isAlias, isMap, isScalar, type ParsedNode, type Scalar } from 'yaml';
import { nearest } from '../manifest/did-you-mean.ts';

type Entry = Readonly<{ key: string; node: Scalar.Parsed; value: ParsedNode | null }>;

// gopkg.in/yaml.v2 resolve.go: what k3s's reader takes for null and for booleans (YAML 1.1).
const NULLS = new Set(['', '~', 'null', 'Null', 'NULL']);
const TRUE = /^(?:y|Y|yes|Yes|YES|on|On|ON|true|True|TRUE)$/;
const FALSE = /^(?:n|N|no|No|NO|off|Off|OFF|false|False|FALSE)$/;

/** A slip of a letter or two (`endpoints`), or a part of the word (`token`, `ca`, `skip_verify`). */
function meantKey(word: string, known: readonly string[]): string | undefined {
  const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, '');
  const given = plain(word);
  return nearest(word, known) ?? (given.length < 2 ? undefined : known.find((name) => plain(name).includes(given)));
}

const isNull = (node: ParsedNode | null): boolean =>
  node === null ||
  (isScalar(node) &&
    node.type === 'PLAIN' &&
    node.anchor === undefined &&
    node.tag === undefined &&
    NULLS.has(String(node.value)));

const SLASH_ESCAPE = /(?<!\\)(?:\\\\)*\\\//;
/**
 * Reads YAML nodes as k3s's reader would and collects faults with their offsets; every method gives a usable value, so that one pass finds all.
 */
export function createYamlReader(source: string) {
  const faults: { offset: number; why: string }[] = [];
  const secrets: [number, number][] = [];
  const places = new Map<string, number>();
  const fault = (node: ParsedNode | null, why: string): void => {
    faults.push({ offset: node?.range[0] ?? 0, why });
  };

  /** Anchors and aliases can grow without bound, tags change types: nobody needs them here. */
  function isPlainNode(node: ParsedNode | null, what: string): boolean {
    if (node === null) return true;
    const odd = isAlias(node)
      ? 'an alias'
      : node.anchor !== undefined
        ? 'an anchor'
        : node.tag !== undefined
          ? 'a tag'
          : undefined;
    if (isScalar(node) && node.type === 'QUOTE_DOUBLE' && SLASH_ESCAPE.test(source.slice(node.range[0], node.range[1]))) {
      fault(node, `${what} has the escape \\/, which k3s's reader does not know`);
    }
    if (odd !== undefined) fault(node, `${what} has ${odd}, which is not read here: write the value out`);
    return odd === undefined;
  }

  function entries(node: ParsedNode | null, what: string): Entry[] {
    if (isNull(node) || !isPlainNode(node, what)) return [];
    if (!isMap(node)) {
      fault(node, `${what} is not a mapping`);
      return [];
    }
    const seen = new Set<string>();
    return node.items.flatMap((pair) => {
      const key: ParsedNode | null = pair.key;
      if (!isPlainNode(key, `a key of ${what}`)) return [];
      if (!isScalar(key) || isNull(key) || typeof key.value !== 'string') {
        fault(key ?? node, `a key of ${what} is not a string`);
        return [];
      }
      // gopkg.in/yaml.v2 takes the last one without a word; a merge key it would follow.
      if (seen.has(key.value))
        fault(key, `the key ${JSON.stringify(key.value)} occurs twice in ${what}; k3s takes the last one silently`);
      if (key.value === '<<' && key.type === 'PLAIN') fault(key, `${what} has a merge key`);
      seen.add(key.value);
      return [{ key: key.value, node: key, value: pair.value ?? null }];
    });
  }

  /** Entries with names from `known` only: k3s ignores the others without a word (k3s#1802). */
  function fields(node: ParsedNode | null, what: string, known: readonly string[]): Map<string, ParsedNode> {
    const found = new Map<string, ParsedNode>();
    for (const { key, node: keyNode, value } of entries(node, what)) {
      if (known.includes(key)) {
        if (value !== null && !isNull(value)) found.set(key, value);
        continue;
      }
      const meant = meantKey(key, known);
      const hint = meant === undefined ? `known are ${known.join(', ')}` : `did you mean "${meant}"?`;
      fault(keyNode, `unknown key ${JSON.stringify(key.slice(0, 60))} in ${what}, which k3s ignores silently; ${hint}`);
    }
    return found;
  }

  function text(node: ParsedNode | undefined, what: string, secret = false): string | undefined {
    if (node === undefined || isNull(node) || !isPlainNode(node, what)) return undefined;
    if (!isScalar(node) || typeof node.value !== 'string') {
      fault(node, `${what} is not a string`);
      return undefined;
    }
    if (!node.value.isWellFormed()) fault(node, `${what} has half a surrogate pair`);
    if (secret) secrets.push([node.range[0], node.range[1]]);
    return node.value;
  }

  function flag(node: ParsedNode | undefined, what: string): boolean | undefined {
    if (node === undefined || !isPlainNode(node, what)) return undefined;
    const value = isScalar(node) && node.type === 'PLAIN' ? String(node.value) : '';
    if (TRUE.test(value)) return true;
    if (!FALSE.test(value)) fault(node, `${what} is neither true nor false`);
    return undefined;
  }

  return { faults, secrets, places, fault, isPlainNode, entries, fields, text, flag };
}

export type YamlReader = ReturnType<typeof createYamlReader>;
