// SPDX-License-Identifier: Apache-2.0
import { Slider } from '@mantine/core';

type Props = { name: string; value: number; onChange: (value: number) => void };

/** Brightness or contrast of a picture on the screen; the stored picture does not change. */
export function LightSlider({ name, value, onChange }: Props) {
  return (
    <div style={{ display: 'grid', gap: 6, fontSize: '0.875rem', flex: '0 1 220px', minInlineSize: 140 }}>
      <span>
        {name} {Math.round(value * 100)} %
      </span>
      <Slider min={0.2} max={3} step={0.05} value={value} onChange={onChange} label={null} thumbLabel={name} />
    </div>
  );
}
