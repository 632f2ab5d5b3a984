/** Figures, as text for the eye and as Markdown. */
import type { Role, Row, Sample } from './rounds.ts';

/** Wall time and CPU: the best of the runs, which is what disturbs least. Memory: the largest. */
export type Figures = Readonly<{ wallMs: number; medianMs: number; cpuMs: number; rssMiB: number; requests: number | undefined }>;

const METRICS = ['wallMs', 'cpuMs', 'rssMiB'] as const;
type Metric = (typeof METRICS)[number];
const NAMES: Readonly<Record<Metric, string>> = { wallMs: 'time', cpuMs: 'CPU', rssMiB: 'memory' };
/** Closer than this is neither ahead nor behind. */
const EVEN = 1.03;

export function figuresOf(samples: readonly Sample[]): Figures {
  const of = (metric: Metric): number[] => samples.map((sample) => sample[metric]).sort((a, b) => a - b);
  const wall = of('wallMs');
  const middle = wall.length >> 1;
  const median = wall.length % 2 === 1 ? wall[middle] : ((wall[middle - 1] ?? 0) + (wall[middle] ?? 0)) / 2;
  return {
    wallMs: wall[0] ?? 0,
    medianMs: median ?? 0,
    cpuMs: of('cpuMs')[0] ?? 0,
    rssMiB: of('rssMiB').at(-1) ?? 0,
    requests: samples.at(-1)?.requests,
  };
}

const VERDICT = 'beside the best peer';
const HEADERS = [
  ...['wall s', 'median', 'CPU s', 'MiB', 'requests'],
  ...['time/floor', 'CPU/floor', 'memory/floor', 'time/peer', 'CPU/peer', 'memory/peer', VERDICT],
];

const seconds = (ms: number): string => (ms / 1000).toFixed(ms < 1000 ? 3 : 2);

/** The least that anyone of this role needs, by metric; undefined when there is none. */
function least(rows: readonly Row[], role: Role): Readonly<Record<Metric, number>> | undefined {
  const figures = rows.filter((row) => row.role === role).map((row) => figuresOf(row.samples));
  if (figures.length === 0) return undefined;
  const of = (metric: Metric): number => Math.min(...figures.map((each) => each[metric]));
  return { wallMs: of('wallMs'), cpuMs: of('cpuMs'), rssMiB: of('rssMiB') };
}

function verdict(figures: Figures, peer: Readonly<Record<Metric, number>> | undefined): string {
  if (peer === undefined) return '';
  const names = (metrics: readonly Metric[]): string => metrics.map((metric) => NAMES[metric]).join(', ');
  const behind = METRICS.filter((metric) => figures[metric] > peer[metric] * EVEN);
  const ahead = METRICS.filter((metric) => figures[metric] * EVEN < peer[metric]);
  const parts = [ahead.length > 0 && `ahead: ${names(ahead)}`, behind.length > 0 && `behind: ${names(behind)}`];
  return parts.filter((part) => part !== false).join('; ') || 'even';
}

/** The rows of one stage, floor first, with their ratios. */
function cellsOf(rows: readonly Row[]): readonly (readonly string[])[] {
  const [floor, peer] = [least(rows, 'floor'), least(rows, 'peer')];
  return rows.map(({ name, role, samples }) => {
    const figures = figuresOf(samples);
    const ratios = (to: typeof floor): string[] =>
      METRICS.map((metric) => (to === undefined || to[metric] === 0 ? '' : (figures[metric] / to[metric]).toFixed(2)));
    const { wallMs, medianMs, cpuMs, rssMiB, requests } = figures;
    return [
      name,
      ...[wallMs, medianMs, cpuMs].map(seconds),
      rssMiB.toFixed(0),
      String(requests ?? ''),
      ...ratios(floor),
      ...ratios(peer),
      role === 'ours' ? verdict(figures, peer) : '',
    ];
  });
}

const stagesOf = (rows: readonly Row[]): Map<string, Row[]> => Map.groupBy(rows, ({ set, stage }) => `${set}: ${stage}`);

/** One stage with its headers; columns in which nobody has anything are left out. */
function linesOf(headers: readonly string[], rows: readonly Row[]): readonly (readonly string[])[] {
  const cells = cellsOf(rows);
  const used = headers.map((_, i) => i === 0 || cells.some((line) => line[i] !== ''));
  return [headers, ...cells].map((line) => line.filter((_, i) => used[i]));
}

/** Names and verdicts to the left, figures to the right. */
const isText = (header: string, i: number): boolean => i === 0 || header === VERDICT;

export function textTable(rows: readonly Row[]): string {
  return [...stagesOf(rows)]
    .map(([title, of]) => {
      const lines = linesOf([title, ...HEADERS], of);
      const [headers = []] = lines;
      const widths = headers.map((_, i) => Math.max(...lines.map((cells) => (cells[i] ?? '').length)));
      const aligned = (cell: string, i: number): string =>
        isText(headers[i] ?? '', i) ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0);
      return lines.map((cells) => cells.map(aligned).join('  ').trimEnd()).join('\n');
    })
    .join('\n\n');
}

export function markdownTable(rows: readonly Row[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [...stagesOf(rows)]
    .map(([title, of]) => {
      const [headers = [], ...body] = linesOf(['', ...HEADERS], of);
      const rule = headers.map((header, i) => (isText(header, i) ? '---' : '---:'));
      return [`### ${title}`, '', ...[headers, rule, ...body].map(line), ''].join('\n');
    })
    .join('\n');
}
