import { isCollection, isMap, isNode, isScalar, type Pair, Parser, parseDocument, visit, YAMLMap } from 'yaml';
import { BundleError, isBundleError } from '../core/errors.ts';
import { type Mirror, type Registries, type RegistryConfig, sameRegistries } from './registries.ts';
import { type ParsedRegistries, parseRegistriesYaml } from './registries-yaml.ts';
import { configText, mirrorText } from './yaml-text.ts';

/** New values by name; undefined takes the entry out. Names that are not here stay as they are, byte for byte. */
export type RegistriesChange = Readonly<{
  mirrors: ReadonlyMap<string, Mirror | undefined>;
  configs: ReadonlyMap<string, RegistryConfig | undefined>;
}>;

type Section = keyof RegistriesChange;
type Edit = Readonly<{ start: number; end: number; text: string }>;
type AnyPair = Pair<unknown, unknown>;

const SECTIONS: readonly Section[] = ['mirrors', 'configs'];

function entryText(section: Section, name: string, value: Mirror | RegistryConfig, indent: string): string {
  return section === 'mirrors' ? mirrorText(name, value as Mirror, indent) : configText(name, value as RegistryConfig, indent);
}

function withChange<T>(before: ReadonlyMap<string, T>, change: ReadonlyMap<string, T | undefined>): Map<string, T> {
  const after = new Map(before);
  for (const [name, value] of change) {
    if (value === undefined) after.delete(name);
    else after.set(name, value);
  }
  return after;
}

const keyOf = (pair: AnyPair): string => (isScalar(pair.key) ? String(pair.key.value) : '');
const startOf = (pair: AnyPair): number => (isScalar(pair.key) ? (pair.key.range?.[0] ?? 0) : 0);
const isEmptyScalar = (value: unknown): boolean =>
  value === null || (isScalar(value) && value.type === 'PLAIN' && value.value === '');

/** Just behind the last character that belongs to a node itself, comments behind it not included. */
function contentEnd(pair: AnyPair): number {
  const { key, value } = pair;
  if (isScalar(value) && !isEmptyScalar(value)) return value.range?.[1] ?? 0;
  if (isCollection(value)) {
    if (value.flow) return value.range?.[1] ?? 0;
    const last = value.items.at(-1);
    if (isMap(value) && last !== undefined) return contentEnd(last as AnyPair);
    if (isScalar(last) || isCollection(last)) return last.range?.[1] ?? 0;
  }
  return isScalar(key) ? (key.range?.[1] ?? 0) : 0;
}

const lineStart = (text: string, offset: number): number => text.lastIndexOf('\n', offset - 1) + 1;

/** Start of the line after an entry. */
function nextLine(text: string, pair: AnyPair): number {
  const end = contentEnd(pair);
  if (text[end - 1] === '\n') return end;
  const newline = text.indexOf('\n', end);
  return newline === -1 ? text.length : newline + 1;
}

function commentsIn(text: string): { offset: number; source: string }[] {
  const found: { offset: number; source: string }[] = [];
  const walk = (token: unknown): void => {
    if (typeof token !== 'object' || token === null) return;
    const { type, offset, source } = token as { type?: string; offset?: number; source?: string };
    if (type === 'comment' && offset !== undefined && source !== undefined) found.push({ offset, source: source.trimEnd() });
    else for (const part of Object.values(token)) walk(part);
  };
  for (const token of new Parser().parse(text)) walk(token);
  return found;
}

/** Edits for one section in block style, or undefined where it is written in a way that lines can't be put into. */
function sectionEdits(
  parsed: ParsedRegistries,
  section: Section,
  change: ReadonlyMap<string, Mirror | RegistryConfig | undefined>,
) {
  const { text, root } = parsed;
  if (root?.flow) return undefined;
  const render = (indent: string, names: Iterable<string>): string =>
    [...names]
      .map((name) => (change.get(name) === undefined ? '' : entryText(section, name, change.get(name)!, indent)))
      .join('');
  const pair = root?.items.find((item) => keyOf(item) === section);
  if (pair === undefined) {
    const last = root?.items.at(-1);
    const at = last === undefined ? text.length : nextLine(text, last);
    const indent = last === undefined ? '' : ' '.repeat(startOf(last) - lineStart(text, startOf(last)));
    const body = render(`${indent}  `, change.keys());
    return body === '' ? [] : [{ start: at, end: at, text: `${indent}${section}:\n${body}` }];
  }
  if (isEmptyScalar(pair.value)) {
    const at = nextLine(text, pair);
    const indent = ' '.repeat(startOf(pair) - lineStart(text, startOf(pair)) + 2);
    return [{ start: at, end: at, text: render(indent, change.keys()) }];
  }
  if (!isMap(pair.value) || pair.value.flow || pair.value.items.length === 0) return undefined;
  const items = pair.value.items as AnyPair[];
  const first = startOf(items[0] as AnyPair);
  const indent = ' '.repeat(first - lineStart(text, first));
  const comments = commentsIn(text);
  const edits: Edit[] = items
    .filter((item) => change.has(keyOf(item)))
    .map((item) => {
      const start = lineStart(text, startOf(item));
      const end = nextLine(text, item);
      const kept = comments.filter(({ offset }) => offset >= start && offset < end).map(({ source }) => `${indent}${source}\n`);
      return { start, end, text: kept.join('') + render(indent, [keyOf(item)]) };
    });
  const present = new Set(items.map(keyOf));
  const at = nextLine(text, items.at(-1) as AnyPair);
  edits.push({
    start: at,
    end: at,
    text: render(
      indent,
      [...change.keys()].filter((name) => !present.has(name)),
    ),
  });
  return edits;
}

function spliceText(parsed: ParsedRegistries, change: RegistriesChange): string | undefined {
  const edits: Edit[] = [];
  for (const section of SECTIONS) {
    const own = change[section].size === 0 ? [] : sectionEdits(parsed, section, change[section]);
    if (own === undefined) return undefined;
    edits.push(...own);
  }
  const newline = parsed.text.includes('\r\n') ? '\r\n' : '\n';
  let { text } = parsed;
  // From the end, so that offsets stay right; of two at one place the later one goes in first.
  for (const { start, end, text: raw } of edits
    .map((edit, i) => ({ ...edit, i }))
    .sort((a, b) => b.start - a.start || b.i - a.i)) {
    if (raw === '' && start === end) continue;
    text = text.slice(0, start) + raw.replaceAll('\n', newline) + text.slice(end);
  }
  return text;
}

/** All comments of a node and below it: they outlive it. */
function commentsOf(node: unknown): string[] {
  if (!isNode(node)) return [];
  const found: string[] = [];
  visit(node, {
    Node: (_, { commentBefore, comment }) => {
      for (const text of [commentBefore, comment]) if (text) found.push(text);
    },
  });
  return found;
}

/** For flow style (`mirrors: {...}`): through the library's document, which keeps comments but lays the section out anew. */
function rewriteDocument(text: string, change: RegistriesChange): string {
  const document = parseDocument(text, { schema: 'failsafe', uniqueKeys: false });
  const root = isMap(document.contents) ? (document.contents as YAMLMap<unknown, unknown>) : new YAMLMap<unknown, unknown>();
  // In a file without content the comments hang on the nothing that the new mapping takes the place of.
  const before = root === document.contents ? [] : commentsOf(document.contents);
  if (before.length > 0) root.commentBefore = before.join('\n');
  root.flow = false;
  (document as { contents: unknown }).contents = root;
  for (const section of SECTIONS) {
    if (change[section].size === 0) continue;
    const made = parseDocument(`${section}:\n`, { schema: 'failsafe' }).contents as unknown as YAMLMap<unknown, unknown>;
    const existing = root.items.find((item) => keyOf(item) === section);
    const pair = existing ?? (made.items[0] as AnyPair);
    if (existing === undefined) root.items.push(pair);
    const lost = isMap(pair.value) ? [] : commentsOf(pair.value);
    if (!isMap(pair.value)) pair.value = new YAMLMap();
    const map = pair.value as YAMLMap<unknown, unknown>;
    map.flow = false;
    for (const [name, value] of change[section]) {
      const at = map.items.findIndex((item) => keyOf(item) === name);
      const fresh =
        value === undefined
          ? []
          : (parseDocument(entryText(section, name, value, ''), { schema: 'failsafe' }).contents as unknown as YAMLMap).items;
      if (at === -1) map.items.push(...fresh);
      else for (const { key, value } of map.items.splice(at, 1, ...fresh)) lost.push(...commentsOf(key), ...commentsOf(value));
    }
    if (lost.length > 0) map.commentBefore = [...(map.commentBefore ? [map.commentBefore] : []), ...lost].join('\n');
  }
  return document.toString({ lineWidth: 0 });
}

/**
 * Puts changed entries into the text of registries.yaml and leaves every other byte alone where the file is in block style. The result is
 * read back and must hold exactly the old entries with the change.
 * @throws BundleError E_MIRRORS when the file is written in a way that can't be edited safely
 */
export function editRegistriesYaml(parsed: ParsedRegistries, change: RegistriesChange, file: string): string {
  if (change.mirrors.size === 0 && change.configs.size === 0) return parsed.text;
  const { mirrors, configs } = parsed.registries;
  const want: Registries = { mirrors: withChange(mirrors, change.mirrors), configs: withChange(configs, change.configs) };
  const whole = parsed.text === '' || parsed.text.endsWith('\n') ? parsed : parseRegistriesYaml(`${parsed.text}\n`, file);
  for (const attempt of [() => spliceText(whole, change), () => rewriteDocument(parsed.text, change)]) {
    const text = attempt();
    if (text !== undefined && readsAs(text, want, file)) return text;
  }
  throw new BundleError('E_MIRRORS', `${file} is laid out in a way that its entries can't be changed without harm to others`, {
    origin: 'host',
    hint: 'write it in block style, one entry a line, or put the entries in by hand (bundle mirrors -o - prints them)',
  });
}

function readsAs(text: string, want: Registries, file: string): boolean {
  try {
    return sameRegistries(parseRegistriesYaml(text, file).registries, want);
  } catch (error) {
    if (isBundleError(error)) return false;
    throw error;
  }
}
