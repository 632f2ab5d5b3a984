export type TextPositions = Readonly<{
  /** `file:line:column`, both from 1; columns in UTF-16 units, as editors count */
  where(offset: number): string;
}>;

/** Turns offsets into lines and columns, by binary search over the beginnings of the lines. */
export function textPositions(text: string, file: string): TextPositions {
  const starts = [0];
  for (let i = text.indexOf('\n'); i !== -1; i = text.indexOf('\n', i + 1)) starts.push(i + 1);
  return {
    where(offset) {
      let low = 0;
      let high = starts.length - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if ((starts[middle] as number) <= offset) low = middle;
        else high = middle - 1;
      }
      return `${file}:${low + 1}:${offset - (starts[low] as number) + 1}`;
    },
  };
}
