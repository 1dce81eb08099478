// SPDX-License-Identifier: Apache-2.0
// Lines over steps, drawn as SVG: told apart by dashes and marks as well as by color, with the table behind them.
import { useElementSize } from '@mantine/hooks';
import { ChartPanel } from './Chart';
import classes from './Chart.module.css';

export type Line = { name: string; values: (number | null)[] };

type Props = {
  title: string;
  summary: string;
  n: string;
  /** What stands below: the name of each step, and what the steps are. */
  steps: string[];
  stepTitle: string;
  lines: Line[];
  unit: string;
  /** The lowest and the highest value that is drawn; from the values if not given. */
  range?: [number, number];
  format: (value: number) => string;
  /** Steps that raised an alarm. */
  alarms?: ReadonlySet<number>;
};

const HEIGHT = 230;
const LEFT = 62;
const RIGHT = 24;
const TOP = 12;
const BOTTOM = 44;
const MARKS = ['circle', 'square', 'diamond', 'circle'] as const;

const markOf = (line: number) => MARKS[line % MARKS.length] ?? 'circle';

/** Round marks that enclose the values, or fill the range that is given. */
function ticksOf(lines: Line[], range: [number, number] | undefined): number[] {
  const values = range ?? lines.flatMap((line) => line.values.filter((value) => value !== null));
  if (values.length === 0) return [0, 1];
  const low = Math.min(...values);
  const high = Math.max(...values);
  const rough = (high - low || Math.abs(high) || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step =
    [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * 0.999) ?? rough;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

export function LineChart({
  title,
  summary,
  n,
  steps,
  stepTitle,
  lines,
  unit,
  range,
  format,
  alarms = new Set(),
}: Props) {
  const { ref, width } = useElementSize();
  const ticks = ticksOf(lines, range);
  const low = ticks[0] ?? 0;
  const high = ticks.at(-1) ?? 1;
  const plotWidth = Math.max(0, width - LEFT - RIGHT);
  const plotHeight = HEIGHT - TOP - BOTTOM;
  const x = (index: number) => LEFT + (steps.length > 1 ? (plotWidth * index) / (steps.length - 1) : plotWidth / 2);
  const y = (value: number) => TOP + plotHeight * (1 - (value - low) / (high - low || 1));
  const every = Math.max(1, Math.ceil(steps.length / Math.max(2, Math.floor(plotWidth / 84))));
  return (
    <ChartPanel
      title={title}
      n={n}
      summary={summary}
      headers={[stepTitle, ...lines.map((line) => line.name)]}
      rows={steps.map((step, index) => [
        step,
        ...lines.map((line) => {
          const value = line.values[index];
          return value === null || value === undefined ? '–' : format(value);
        }),
      ])}
    >
      {lines.length > 1 && (
        <ul className={classes.legend} aria-hidden="true">
          {lines.map((line, index) => (
            <li key={line.name}>
              <svg width={34} height={12}>
                <line x1={0} x2={34} y1={6} y2={6} className={classes.line} data-line={index} />
                <Mark kind={markOf(index)} x={17} y={6} index={index} />
              </svg>
              {line.name}
            </li>
          ))}
        </ul>
      )}
      <div ref={ref} className={classes.plot}>
        <svg width={width} height={HEIGHT} role="img" aria-label={`${title}. ${summary} The table shows the values.`}>
          {ticks.map((tick) => (
            <g key={tick}>
              <line x1={LEFT} x2={LEFT + plotWidth} y1={y(tick)} y2={y(tick)} className={classes.grid} />
              <text x={LEFT - 8} y={y(tick) + 4} textAnchor="end" className={classes.tick}>
                {format(tick)}
              </text>
            </g>
          ))}
          {steps.map(
            (step, index) =>
              index % every === 0 && (
                <text key={step} x={x(index)} y={HEIGHT - BOTTOM + 17} textAnchor="middle" className={classes.tick}>
                  {step}
                </text>
              ),
          )}
          {[...alarms].map((index) => (
            <g key={index}>
              <line x1={x(index)} x2={x(index)} y1={TOP + 15} y2={TOP + plotHeight} className={classes.alarm} />
              <text x={x(index)} y={TOP + 10} textAnchor="middle" className={classes.alarmMark}>
                !
              </text>
            </g>
          ))}
          {lines.map((line, index) => (
            <g key={line.name}>
              <path d={pathOf(line.values, x, y)} className={classes.line} data-line={index} />
              {steps.length <= 60 &&
                line.values.map(
                  (value, step) =>
                    value !== null && (
                      <g key={steps[step]}>
                        <Mark kind={markOf(index)} x={x(step)} y={y(value)} index={index} />
                        <title>{`${line.name}, ${steps[step]}: ${format(value)}`}</title>
                      </g>
                    ),
                )}
            </g>
          ))}
          <line x1={LEFT} x2={LEFT + plotWidth} y1={TOP + plotHeight} y2={TOP + plotHeight} className={classes.axis} />
          <text x={LEFT + plotWidth / 2} y={HEIGHT - 5} textAnchor="middle" className={classes.title}>
            {stepTitle}
          </text>
          <text
            transform={`translate(11 ${TOP + plotHeight / 2}) rotate(-90)`}
            textAnchor="middle"
            className={classes.title}
          >
            {unit}
          </text>
        </svg>
      </div>
    </ChartPanel>
  );
}

function Mark({ kind, x, y, index }: { kind: (typeof MARKS)[number]; x: number; y: number; index: number }) {
  if (kind === 'circle') return <circle cx={x} cy={y} r={3.2} className={classes.mark} data-line={index} />;
  const turn = kind === 'diamond' ? `rotate(45 ${x} ${y})` : undefined;
  return <rect x={x - 3} y={y - 3} width={6} height={6} transform={turn} className={classes.mark} data-line={index} />;
}

/** A path that is broken where a value is missing. */
function pathOf(values: (number | null)[], x: (index: number) => number, y: (value: number) => number): string {
  let pen = 'M';
  return values
    .map((value, index) => {
      if (value === null) {
        pen = 'M';
        return '';
      }
      const part = `${pen}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = 'L';
      return part;
    })
    .join('');
}
