import { CST, Lexer } from 'yaml';
import { shown } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';

type Fault = Readonly<{ offset: number; message: string }>;

// Outside YAML's c-printable (C0, C1, lone surrogates, U+FFFE/FFFF), a lone CR (a line break to some readers only), and the bidirectional
// controls that make a file look different from what it says (CVE-2021-42574).
const FORBIDDEN =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u0084\u0086-\u009f\u202a-\u202e\u2066-\u2069\ufffe\uffff]|\r(?!\n)|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** The lexer's own marks; they are no part of the text. */
const MARKS = new Set([CST.DOCUMENT, CST.FLOW_END, CST.SCALAR]);

const REFUSED: ReadonlyMap<string, (source: string) => string> = new Map([
  ['anchor', (s) => `the anchor ${shown(s)}: anchors and aliases are not taken; write the value out`],
  ['alias', (s) => `the alias ${shown(s)}: anchors and aliases are not taken; write the value out (or put it in quotes)`],
  ['tag', (s) => `the tag ${shown(s)}: tags are not taken; everything is text, a list or a map (put it in quotes to mean text)`],
  ['directive-line', (s) => `the directive ${shown(s)}: directives are not taken; this is read as YAML 1.2`],
]);

/** Counts how deep brackets, and dashes on one line, nest: the parser would find out by running out of stack. */
function depthCounter(): (type: string | null) => number {
  let flow = 0;
  let line = 0;
  return (type) => {
    if (type === 'flow-seq-start' || type === 'flow-map-start') flow++;
    else if (type === 'flow-seq-end' || type === 'flow-map-end') flow = Math.max(0, flow - 1);
    else if (type === 'seq-item-ind' || type === 'explicit-key-ind') line++;
    else if (type === 'newline') line = 0;
    return flow + line;
  };
}

/**
 * What can be refused before a tree is made of it, which is where bombs go off: anchors, aliases, tags, directives, too many tokens, characters
 * that nobody types. At most `LIMITS.manifestProblems` faults, in the order of the text.
 */
export function scanTokens(text: string): Fault[] {
  const faults: Fault[] = [];
  for (const match of text.matchAll(FORBIDDEN)) {
    const code = match[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
    faults.push({ offset: match.index, message: `the character U+${code} is not allowed` });
    if (faults.length === LIMITS.manifestProblems) break;
  }
  if (faults.length > 0) return faults;
  const depthAt = depthCounter();
  let offset = 0;
  let tokens = 0;
  let afterMark = false; // what follows CST.SCALAR is text, whatever it begins with
  for (const source of new Lexer().lex(text)) {
    const isText = afterMark;
    afterMark = source === CST.SCALAR;
    if (MARKS.has(source)) continue;
    if (++tokens > LIMITS.manifestTokens)
      return [
        ...faults,
        { offset, message: `more than ${LIMITS.manifestTokens} tokens: put long lists of images into a file under imageLists` },
      ];
    const type = isText ? 'scalar' : CST.tokenType(source);
    if (depthAt(type) > LIMITS.jsonDepth) return [...faults, { offset, message: `nested deeper than ${LIMITS.jsonDepth}` }];
    const refused = REFUSED.get(type ?? '');
    if (refused !== undefined) faults.push({ offset, message: refused(source) });
    if (faults.length === LIMITS.manifestProblems) return faults;
    offset += source.length;
  }
  return faults;
}
