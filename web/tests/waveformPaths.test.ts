// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { barOf, extentOf, waveformPath, roundBelow, stepOf, unitName } from '@/features/viewing/waveformPaths';

describe('waveforms as lines', () => {
  it('keeps every peak although there are fewer pixels than samples', () => {
    const values = Array.from({ length: 10_000 }, (_, at) => (at === 5_003 ? 900 : 0));
    const path = waveformPath(values, 100, (value) => value, 0);
    expect(path).toContain(' 900.0');
    expect(path.split(/[ML]/).length).toBeLessThan(210);
  });

  it('breaks the line where samples are missing', () => {
    expect(waveformPath([1, null, 2], 3, (value) => value, 0).match(/M/g)).toHaveLength(2);
  });

  it('knows the extent of what is there', () => {
    expect(extentOf([3, null, -2])).toEqual({ low: -2, high: 3 });
    expect(extentOf([null])).toEqual({ low: 0, high: 0 });
  });

  it('chooses round numbers for scale and time', () => {
    expect([roundBelow(7), roundBelow(0.034), roundBelow(200), roundBelow(0)]).toEqual([5, 0.02, 200, 1]);
    expect(barOf(1_400)).toBe(500);
    expect(10 / stepOf(10, 12)).toBeLessThanOrEqual(12);
    expect(3600 / stepOf(3600, 12)).toBeLessThanOrEqual(12);
  });

  it('writes units as people do', () => {
    expect([unitName('uV'), unitName('mm[Hg]'), unitName('')]).toEqual(['µV', 'mmHg', 'units of the converter']);
  });
});
