// SPDX-License-Identifier: Apache-2.0
// The limits of a field: refused beyond minimum and maximum, confirmed beyond the usual range.
import { SimpleGrid, TextInput } from '@mantine/core';
import type { FieldLimits } from '@/api/types';
import { LIMITS } from './limits';
import classes from './records.module.css';

type Props = {
  kind: 'integer' | 'decimal' | 'date';
  limits: FieldLimits;
  error?: string;
  onChange: (limits: FieldLimits) => void;
};

export function LimitInputs({ kind, limits, error, onChange }: Props) {
  return (
    <div>
      <SimpleGrid cols={{ base: 1, xs: 2 }}>
        {LIMITS.map(({ name, label }) => (
          <TextInput
            key={name}
            label={label}
            type={kind === 'date' ? 'date' : 'number'}
            step={kind === 'integer' ? 1 : 'any'}
            value={limits[name] ?? ''}
            error={error !== undefined}
            onChange={(event) => {
              const text = event.currentTarget.value;
              const value = kind === 'date' ? text : Number(text);
              onChange({ ...limits, [name]: text === '' ? null : value });
            }}
          />
        ))}
      </SimpleGrid>
      {error && (
        <p className={classes.note} role="alert">
          {error}
        </p>
      )}
    </div>
  );
}
