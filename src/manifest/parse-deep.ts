import { type Document, type DocumentOptions, type ParsedNode, type ParseOptions, parseDocument, type SchemaOptions } from 'yaml';

/**
 * `parseDocument` for text of any nesting. The library recurses with it: it reports most overflows of the stack itself (RESOURCE_EXHAUSTION),
 * but not those of `{"a":a: a: a: …`. It keeps nothing between calls, so stopping it there leaves nothing half done.
 * @returns undefined where it is nested too deep to be read
 */
export function parseDeep(
  text: string,
  options: ParseOptions & DocumentOptions & SchemaOptions,
): Document.Parsed<ParsedNode> | undefined {
  try {
    return parseDocument(text, options);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
