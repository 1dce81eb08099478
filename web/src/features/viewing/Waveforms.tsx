// SPDX-License-Identifier: Apache-2.0
// Waveforms drawn in lanes over one axis of time; channels of one unit share one scale, so that they can be compared.
import type { ChannelGroup } from '@/api/types';
import { Table } from '@/components/Table';
import classes from './content.module.css';
import { barOf, extentOf, waveformPath, stepOf, unitName } from './waveformPaths';

const LANE = 96;
const LEFT = 132;
const BOTTOM = 34;
const NARROWEST = 760;
const WIDEST = 6_000;
const PIXELS_A_SECOND = 110;

export function Waveforms({ groups }: { groups: ChannelGroup[] }) {
  return (
    <div className={classes.stack}>
      {groups.map((group, index) => (
        <WaveformGroup key={index} group={group} />
      ))}
    </div>
  );
}

function WaveformGroup({ group }: { group: ChannelGroup }) {
  const seconds = group.shown / group.frequency_hz;
  const totalSeconds = group.samples / group.frequency_hz;
  const rate = `${group.frequency_hz} samples a second`;
  if (group.fault)
    return (
      <section aria-label={group.title}>
        <h3>{group.title}</h3>
        <p className={classes.muted}>{group.fault}</p>
      </section>
    );
  const inner = Math.min(WIDEST, Math.max(NARROWEST, seconds * PIXELS_A_SECOND));
  const width = LEFT + inner + 12;
  const height = group.channels.length * LANE + BOTTOM;
  const step = stepOf(seconds, inner / 70);
  const ticks = Array.from({ length: Math.floor(seconds / step + 1e-9) + 1 }, (_, index) => index * step);
  const spans = new Map<string, number>();
  for (const channel of group.channels) {
    const { low, high } = extentOf(channel.values);
    spans.set(channel.unit, Math.max(spans.get(channel.unit) ?? 0, high - low));
  }
  return (
    <section aria-label={group.title}>
      <h3>{group.title}</h3>
      <p className={classes.muted}>
        {group.channels.length === 1 ? '1 channel' : `${group.channels.length} channels`}, {rate}
        {group.shown < group.samples
          ? `; the first ${seconds.toFixed(1)} s of ${totalSeconds.toFixed(1)} s are displayed. Download the object for the rest.`
          : `, ${totalSeconds.toFixed(1)} s.`}
      </p>
      <div className={classes.waves} tabIndex={0} role="region" aria-label={`${group.title}: drawn over time`}>
        <svg
          width={width}
          height={height}
          viewBox={`0 0 ${width} ${height}`}
          role="img"
          aria-label={`${group.channels.map((channel) => channel.name).join(', ')}, over ${seconds.toFixed(1)} seconds; a table of their values follows`}
        >
          {ticks.map((tick) => {
            const x = LEFT + (tick / seconds) * inner;
            return (
              <g key={tick}>
                <line className={classes.grid} x1={x} x2={x} y1={0} y2={height - BOTTOM} />
                <text className={classes.tick} x={x} y={height - BOTTOM + 14} textAnchor="middle">
                  {Number(tick.toFixed(6))}
                </text>
              </g>
            );
          })}
          <text className={classes.tick} x={LEFT + inner / 2} y={height - 5} textAnchor="middle">
            Time in seconds
          </text>
          {group.channels.map((channel, index) => {
            const { low, high } = extentOf(channel.values);
            const span = spans.get(channel.unit) || 1;
            const middle = index * LANE + LANE / 2;
            const scale = (LANE - 14) / span;
            const bar = barOf(span);
            return (
              <g key={index}>
                <line className={classes.grid} x1={0} x2={width} y1={(index + 1) * LANE} y2={(index + 1) * LANE} />
                <text className={classes.lane} x={8} y={middle - 4}>
                  {channel.name.length > 14 ? `${channel.name.slice(0, 13)}…` : channel.name}
                  <title>{channel.name}</title>
                </text>
                <text className={classes.tick} x={8} y={middle + 14}>
                  {bar} {unitName(channel.unit)}
                </text>
                <line
                  className={classes.bar}
                  x1={LEFT - 8}
                  x2={LEFT - 8}
                  y1={middle - (bar * scale) / 2}
                  y2={middle + (bar * scale) / 2}
                />
                <path
                  className={classes.trace}
                  d={waveformPath(channel.values, inner, (value) => middle - (value - (low + high) / 2) * scale, LEFT)}
                />
              </g>
            );
          })}
        </svg>
      </div>
      <details>
        <summary>Smallest and largest values</summary>
        <Table
          name={`Values of ${group.title}`}
          headers={['Channel', 'Unit', 'Smallest', 'Largest']}
          rows={group.channels.map((channel) => {
            const { low, high } = extentOf(channel.values);
            return [channel.name, unitName(channel.unit), low, high];
          })}
        />
      </details>
    </section>
  );
}
