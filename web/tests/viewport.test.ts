// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { displayedSize, fit, keepInSight, pan, renditionFor, zoomAt } from '@/viewer/viewport';

const image = { width: 400, height: 200 };
const box = { width: 824, height: 624 };

describe('the view of an image', () => {
  it('fits the whole image into the box, in the middle', () => {
    const view = fit(image, box);
    expect(view.scale).toBe(2);
    expect(view.x).toBe(12);
    expect(view.y).toBe(112);
  });

  it('keeps the point under the cursor where it is when zooming', () => {
    const before = fit(image, box);
    const at = { x: 300, y: 250 };
    const after = zoomAt(before, 1.7, at, image, box);
    expect(after.scale).toBeCloseTo(3.4);
    expect((at.x - after.x) / after.scale).toBeCloseTo((at.x - before.x) / before.scale);
    expect((at.y - after.y) / after.scale).toBeCloseTo((at.y - before.y) / before.scale);
  });

  it('never zooms out below half of the fit', () => {
    const view = zoomAt(fit(image, box), 0.0001, { x: 0, y: 0 }, image, box);
    expect(view.scale).toBe(1);
  });

  it('never loses the image off screen', () => {
    const view = pan(fit(image, box), { x: 10_000, y: -10_000 }, image, box);
    expect(view.x).toBeLessThan(box.width);
    expect(view.y + image.height * view.scale).toBeGreaterThan(0);
    expect(keepInSight(view, image, box)).toEqual(view);
  });

  it('asks for the smallest picture that has a pixel for each one shown', () => {
    const large = { width: 4000, height: 3000 };
    expect(renditionFor(large, 0.2, 1)).toBe(1024);
    expect(renditionFor(large, 0.2, 2)).toBe(2048);
    expect(renditionFor(large, 9, 1)).toBe(2048);
    expect(renditionFor({ width: 224, height: 224 }, 3, 2)).toBe(256);
  });
});

describe('displayedSize', () => {
  it('keeps the size of square pixels, though a picture is rounded', () => {
    expect(displayedSize({ width: 1000, height: 333 }, { width: 256, height: 85 })).toEqual({
      width: 1000,
      height: 333,
    });
  });

  it('enlarges the side whose pixels are larger', () => {
    expect(displayedSize({ width: 128, height: 64 }, { width: 128, height: 128 })).toEqual({ width: 128, height: 128 });
    expect(displayedSize({ width: 64, height: 128 }, { width: 256, height: 256 })).toEqual({ width: 128, height: 128 });
  });
});
