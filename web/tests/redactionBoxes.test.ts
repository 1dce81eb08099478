// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { boxBetween, clampBox } from '@/features/ingest/redactionBoxes';

test('a box is the same from each of its corners', () => {
  const corners = [
    [
      { x: 10.2, y: 20.7 },
      { x: 30.1, y: 40.9 },
    ],
    [
      { x: 30.1, y: 20.7 },
      { x: 10.2, y: 40.9 },
    ],
    [
      { x: 30.1, y: 40.9 },
      { x: 10.2, y: 20.7 },
    ],
  ] as const;
  for (const [a, b] of corners) expect(boxBetween(2, a, b, 100, 80)).toEqual([2, 10, 20, 31, 41]);
});

test('a box ends at the edge of the picture, and a mere click is none', () => {
  expect(boxBetween(1, { x: -5, y: 70 }, { x: 20, y: 200 }, 100, 80)).toEqual([1, 0, 70, 20, 80]);
  expect(boxBetween(1, { x: 5, y: 5 }, { x: 5.4, y: 5.2 }, 100, 80)).toBeNull();
  expect(boxBetween(1, { x: 120, y: 5 }, { x: 140, y: 50 }, 100, 80)).toBeNull();
});

test('typed edges leave a box that is not empty and within the picture', () => {
  expect(clampBox([1, 50, 10, 20, 30], 100, 80)).toEqual([1, 50, 10, 51, 30]);
  expect(clampBox([1, 500, -3, 600, 900], 100, 80)).toEqual([1, 99, 0, 100, 80]);
});
