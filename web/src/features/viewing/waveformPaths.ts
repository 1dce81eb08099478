// SPDX-License-Identifier: Apache-2.0
// From samples to lines: as many points as there are pixels, without losing a peak.

type Values = readonly (number | null)[];

export function extentOf(values: Values): { low: number; high: number } {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value === null) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? { low, high } : { low: 0, high: 0 };
}

/** A round number of 1, 2 or 5 times a power of ten, not above a limit. */
export function roundBelow(limit: number): number {
  if (!(limit > 0) || !Number.isFinite(limit)) return 1;
  const power = 10 ** Math.floor(Math.log10(limit));
  const factor = [5, 2, 1].find((candidate) => candidate * power <= limit * (1 + 1e-9)) ?? 1;
  return Number((factor * power).toPrecision(6));
}

/** How far ticks of time lie apart, so that there are at most so many. */
export function stepOf(seconds: number, most: number): number {
  const least = seconds / Math.max(1, most);
  const below = roundBelow(least);
  return below >= least ? below : Number((below * (String(below).includes('2') ? 2.5 : 2)).toPrecision(6));
}

/** The length of the bar that gives the scale: about a third of what is drawn. */
export function barOf(span: number): number {
  return roundBelow(span / 2.5);
}

export function unitName(unit: string): string {
  if (!unit) return 'units of the converter';
  return unit.replace(/^u(?=[A-Za-z]{1,3}$)/, 'µ').replace('mm[Hg]', 'mmHg');
}

/** A path through the samples: of those that fall on one pixel, the smallest and largest in their order. */
export function waveformPath(values: Values, width: number, y: (value: number) => number, left: number): string {
  const parts: string[] = [];
  const columns = Math.min(values.length, Math.ceil(width));
  let pen = false;
  const to = (x: number, value: number) => {
    parts.push(`${pen ? 'L' : 'M'}${x.toFixed(1)} ${y(value).toFixed(1)}`);
    pen = true;
  };
  for (let column = 0; column < columns; column++) {
    const from = Math.floor((column * values.length) / columns);
    const until = Math.max(from + 1, Math.floor(((column + 1) * values.length) / columns));
    const x = left + (column / columns) * width;
    const extremes = extremesOf(values, from, until);
    if (extremes.length === 0) pen = false;
    for (const value of extremes) to(x, value);
  }
  return parts.join('');
}

/** The smallest and the largest of some samples, in the order in which they occur; once if they are the same. */
function extremesOf(values: Values, from: number, until: number): number[] {
  let least: { at: number; value: number } | null = null;
  let most: { at: number; value: number } | null = null;
  for (let at = from; at < until; at++) {
    const value = values[at];
    if (value === null || value === undefined) continue;
    if (least === null || value < least.value) least = { at, value };
    if (most === null || value > most.value) most = { at, value };
  }
  if (least === null || most === null) return [];
  if (least.at === most.at) return [least.value];
  return least.at < most.at ? [least.value, most.value] : [most.value, least.value];
}
