// SPDX-License-Identifier: Apache-2.0
// Boxes in pixels of a picture.
import type { Box } from '@/api/types';

export type PixelPoint = { x: number; y: number };

/** The box between two corners, within the picture; none where it would be empty. */
export function boxBetween(frame: number, a: PixelPoint, b: PixelPoint, columns: number, rows: number): Box | null {
  const within = (value: number, most: number) => Math.min(most, Math.max(0, value));
  const x0 = Math.floor(within(Math.min(a.x, b.x), columns));
  const y0 = Math.floor(within(Math.min(a.y, b.y), rows));
  const x1 = Math.ceil(within(Math.max(a.x, b.x), columns));
  const y1 = Math.ceil(within(Math.max(a.y, b.y), rows));
  return x1 - x0 >= 2 && y1 - y0 >= 2 ? [frame, x0, y0, x1, y1] : null;
}

/** A box whose edges were typed: never outside of the picture, never empty. */
export function clampBox([frame, x0, y0, x1, y1]: Box, columns: number, rows: number): Box {
  const left = Math.min(Math.max(0, x0), columns - 1);
  const top = Math.min(Math.max(0, y0), rows - 1);
  return [frame, left, top, Math.min(columns, Math.max(left + 1, x1)), Math.min(rows, Math.max(top + 1, y1))];
}

/** The box with another left, top, right or bottom edge (0 to 3). */
export function withEdge([frame, x0, y0, x1, y1]: Box, side: number, value: number): Box {
  return [frame, side === 0 ? value : x0, side === 1 ? value : y0, side === 2 ? value : x1, side === 3 ? value : y1];
}
