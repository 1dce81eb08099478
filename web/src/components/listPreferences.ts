// SPDX-License-Identifier: Apache-2.0
// What a person has chosen for lists on this device: the columns of each, and the density of all.
import { useState } from 'react';
import { readPreference, writePreference } from '@/lib/preferences';
import type { Column } from './listTypes';

type ColumnChoices = Record<string, boolean>;

export function useColumns<T>(list: string, columns: Column<T>[]) {
  const key = `${list}.columns`;
  const [changes, setChanges] = useState<Record<string, ColumnChoices>>({});
  const choices = changes[key] ?? readPreference<ColumnChoices>(key, {});
  const toggle = (id: string, on: boolean) => {
    const next = { ...choices, [id]: on };
    setChanges({ ...changes, [key]: next });
    writePreference(key, next);
  };
  // The first column names the row; it is always there.
  const visible = columns.filter((column, index) => index === 0 || (choices[column.id] ?? !column.hidden));
  return { visible, toggle };
}

export function useDensity() {
  const [dense, setDense] = useState(() => readPreference('list.dense', false));
  const toggle = () => {
    setDense(!dense);
    writePreference('list.dense', !dense);
  };
  return { dense, toggle };
}
