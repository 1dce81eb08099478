// SPDX-License-Identifier: Apache-2.0

/** Round marks from 0 to at least the highest value, whole numbers, about four of them. */
export function niceTicks(highest: number): number[] {
  const top = Math.max(1, highest);
  const rough = top / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(
    1,
    [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough) ?? rough,
  );
  const ticks = [0];
  while ((ticks.at(-1) ?? 0) < top) ticks.push((ticks.at(-1) ?? 0) + step);
  return ticks;
}
