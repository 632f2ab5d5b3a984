const MAX_CELLS = 4_000_000;
const CONTEXT = 3;

type Line = Readonly<{ mark: ' ' | '-' | '+'; text: string }>;

/** Longest common subsequence of two short lists; beyond `MAX_CELLS` everything counts as replaced. */
function compare(a: readonly string[], b: readonly string[]): Line[] {
  const minus = (text: string): Line => ({ mark: '-', text });
  const plus = (text: string): Line => ({ mark: '+', text });
  if (a.length * b.length > MAX_CELLS) return [...a.map(minus), ...b.map(plus)];
  const width = b.length + 1;
  const best = new Uint32Array((a.length + 1) * width);
  const at = (i: number, j: number): number => best[i * width + j] as number;
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      best[i * width + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const lines: Line[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push({ mark: ' ', text: a[i++] as string });
      j++;
    } else if (j >= b.length || (i < a.length && at(i + 1, j) >= at(i, j + 1))) lines.push(minus(a[i++] as string));
    else lines.push(plus(b[j++] as string));
  }
  return lines;
}

const linesOf = (text: string): string[] => (text === '' ? [] : text.replace(/\n$/, '').split('\n'));

/** A unified diff for people, with three lines around each change; empty when the texts are equal. */
export function unifiedDiff(before: string, after: string, name: string): string {
  if (before === after) return '';
  const a = linesOf(before);
  const b = linesOf(after);
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail++;
  const same = (text: string): Line => ({ mark: ' ', text });
  const lines = [
    ...a.slice(0, head).map(same),
    ...compare(a.slice(head, a.length - tail), b.slice(head, b.length - tail)),
    ...a.slice(a.length - tail).map(same),
  ];
  return [`--- ${name}`, `+++ ${name}`, ...hunks(lines), ''].join('\n');
}

function hunks(lines: readonly Line[]): string[] {
  const near = lines.map((_, i) => lines.slice(Math.max(0, i - CONTEXT), i + CONTEXT + 1).some(({ mark }) => mark !== ' '));
  const out: string[] = [];
  let [oldLine, newLine] = [1, 1];
  for (let i = 0; i < lines.length; ) {
    let end = i;
    while (end < lines.length && near[end]) end++;
    const part = lines.slice(i, end);
    const olds = part.filter(({ mark }) => mark !== '+').length;
    const news = part.filter(({ mark }) => mark !== '-').length;
    if (part.length > 0) {
      const range = (start: number, count: number): string => `${count === 0 ? start - 1 : start},${count}`;
      out.push(`@@ -${range(oldLine, olds)} +${range(newLine, news)} @@`, ...part.map(({ mark, text }) => mark + text));
      oldLine += olds;
      newLine += news;
    } else {
      oldLine++;
      newLine++;
      end++;
    }
    i = end;
  }
  return out;
}
