// SPDX-License-Identifier: Apache-2.0
// Small charts drawn as SVG, each with axis titles, n, and the table behind it.
import { Button } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { useState, type ReactNode } from 'react';
import { count, day, shortDay } from '@/lib/format';
import { niceTicks } from '@/lib/ticks';
import classes from './Chart.module.css';
import { Panel } from './Page';

type Frame = {
  title: string;
  n: string;
  headers: string[];
  rows: string[][];
  summary: string;
  children: ReactNode;
};

export function ChartPanel({ title, n, headers, rows, summary, children }: Frame) {
  const [table, setTable] = useState(false);
  return (
    <Panel
      title={title}
      side={
        <Button variant="subtle" size="compact-sm" onClick={() => setTable(!table)} aria-pressed={table}>
          {table ? 'Show chart' : 'Show table'}
        </Button>
      }
    >
      <p className={classes.summary}>
        {summary} <span className={classes.n}>({n})</span>
      </p>
      {table ? (
        <div className={classes.tableFrame} tabIndex={0} role="region" aria-label={`${title}, as a table`}>
          <table className={classes.table}>
            <thead>
              <tr>
                {headers.map((cell) => (
                  <th key={cell} scope="col">
                    {cell}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map(([name, ...values]) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  {values.map((value, index) => (
                    <td key={headers[index + 1]}>{value}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        children
      )}
    </Panel>
  );
}

const HEIGHT = 220;
const LEFT = 46;
const BOTTOM = 42;
const TOP = 10;

export function DailyChart({
  title,
  days,
  unit,
}: {
  title: string;
  days: { date: string; count: number }[];
  unit: string;
}) {
  const { ref, width } = useElementSize();
  const total = days.reduce((sum, entry) => sum + entry.count, 0);
  const ticks = niceTicks(Math.max(1, ...days.map((entry) => entry.count)));
  const top = ticks.at(-1) ?? 1;
  const plotWidth = Math.max(0, width - LEFT - 8);
  const plotHeight = HEIGHT - TOP - BOTTOM;
  const step = days.length ? plotWidth / days.length : 0;
  const y = (value: number) => TOP + plotHeight * (1 - value / top);
  const every = Math.max(1, Math.ceil(days.length / Math.max(2, Math.floor(plotWidth / 80))));
  const busiest = days.reduce((best, entry) => (entry.count > best.count ? entry : best), { date: '', count: 0 });
  return (
    <ChartPanel
      title={title}
      n={`n = ${count(total)}`}
      headers={['Day', unit]}
      rows={days.map((entry) => [day(`${entry.date}T12:00:00`), count(entry.count)])}
      summary={
        total === 0
          ? `No ${unit.toLowerCase()} in the last ${days.length} days.`
          : `${count(total)} in the last ${days.length} days; most on ${day(`${busiest.date}T12:00:00`)} (${count(busiest.count)}).`
      }
    >
      <div ref={ref} className={classes.plot}>
        <svg width={width} height={HEIGHT} role="img" aria-label={`${title}: bars by day. The table shows the values.`}>
          {ticks.map((tick) => (
            <g key={tick}>
              <line x1={LEFT} x2={width - 8} y1={y(tick)} y2={y(tick)} className={classes.grid} />
              <text x={LEFT - 8} y={y(tick) + 4} textAnchor="end" className={classes.tick}>
                {count(tick)}
              </text>
            </g>
          ))}
          {days.map((entry, index) => (
            <g key={entry.date}>
              {entry.count > 0 && (
                <rect
                  x={LEFT + index * step + Math.min(2, step * 0.15)}
                  y={y(entry.count)}
                  width={Math.max(1, step - Math.min(4, step * 0.3))}
                  height={TOP + plotHeight - y(entry.count)}
                  rx={2}
                  className={classes.bar}
                >
                  <title>{`${day(`${entry.date}T12:00:00`)}: ${count(entry.count)}`}</title>
                </rect>
              )}
              {index % every === 0 && (
                <text
                  x={LEFT + (index + 0.5) * step}
                  y={HEIGHT - BOTTOM + 16}
                  textAnchor="middle"
                  className={classes.tick}
                >
                  {shortDay(entry.date)}
                </text>
              )}
            </g>
          ))}
          <line x1={LEFT} x2={width - 8} y1={TOP + plotHeight} y2={TOP + plotHeight} className={classes.axis} />
          <text x={LEFT + plotWidth / 2} y={HEIGHT - 4} textAnchor="middle" className={classes.title}>
            Day
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

export function LabelChart({
  title,
  labels,
  unit,
  axis,
}: {
  title: string;
  labels: { label: string; count: number }[];
  unit: string;
  axis: string;
}) {
  const { ref, width } = useElementSize();
  const sorted = [...labels].sort((a, b) => b.count - a.count);
  const total = sorted.reduce((sum, entry) => sum + entry.count, 0);
  const ticks = niceTicks(Math.max(1, ...sorted.map((entry) => entry.count)));
  const top = ticks.at(-1) ?? 1;
  const longest = Math.max(0, ...sorted.map((entry) => entry.label.length));
  const left = Math.min(180, Math.max(96, longest * 7 + 20));
  const row = 26;
  const plotWidth = Math.max(0, width - left - 44);
  const height = sorted.length * row + 44;
  const first = sorted[0];
  const x = (value: number) => left + (plotWidth * value) / top;
  return (
    <ChartPanel
      title={title}
      n={`n = ${count(total)}`}
      headers={[axis, unit]}
      rows={sorted.map((entry) => [entry.label, count(entry.count)])}
      summary={
        first && total > 0
          ? `Most often ${first.label}: ${count(first.count)} of ${count(total)}.`
          : 'Nothing classified yet.'
      }
    >
      <div ref={ref} className={classes.plot}>
        <svg
          width={width}
          height={height}
          role="img"
          aria-label={`${title}: bars by label. The table shows the values.`}
        >
          {ticks.map((tick) => (
            <g key={tick}>
              <line x1={x(tick)} x2={x(tick)} y1={0} y2={sorted.length * row} className={classes.grid} />
              <text x={x(tick)} y={sorted.length * row + 16} textAnchor="middle" className={classes.tick}>
                {count(tick)}
              </text>
            </g>
          ))}
          {sorted.map((entry, index) => (
            <g key={entry.label}>
              <text x={left - 10} y={index * row + 17} textAnchor="end" className={classes.name}>
                {entry.label}
              </text>
              <rect
                x={left}
                y={index * row + 5}
                width={Math.max(0, x(entry.count) - left)}
                height={row - 10}
                rx={2}
                className={entry.label === 'Uncertain' ? classes.uncertain : classes.bar}
              />
              <text x={x(entry.count) + 6} y={index * row + 17} className={classes.tick}>
                {count(entry.count)}
              </text>
            </g>
          ))}
          <text x={left + plotWidth / 2} y={height - 6} textAnchor="middle" className={classes.title}>
            {unit}
          </text>
        </svg>
      </div>
    </ChartPanel>
  );
}
