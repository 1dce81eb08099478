// SPDX-License-Identifier: Apache-2.0
import type { ReactNode } from 'react';

export type Column<T> = {
  id: string;
  header: string;
  cell: (row: T) => ReactNode;
  /** The name by which the server sorts, if it does. */
  sort?: string;
  align?: 'end';
  /** Hidden until the person selects it. */
  hidden?: boolean;
  /** Visible on a phone, too. */
  phone?: boolean;
};

export type Filter = {
  id: string;
  label: string;
  options?: { value: string; label: string }[];
  kind?: 'choice' | 'text' | 'date';
};

/** A change of the parameters in the address; undefined removes one. */
export type SearchPatch = Record<string, string | undefined>;

/** The sort order of the address if a column or a field has it, else the default. */
export function validSort<T>(sort: string | undefined, columns: readonly Column<T>[], fallback: string): string {
  const name = sort?.replace(/^-/, '');
  const known = name !== undefined && (name.startsWith('field.') || columns.some((column) => column.sort === name));
  return known && sort ? sort : fallback;
}

/** The filters that are in use, with their values. */
export function activeFilters(
  search: Readonly<Record<string, string | undefined>>,
  filters: readonly Filter[],
): [id: string, value: string][] {
  return filters.flatMap(({ id }) => {
    const value = search[id];
    return value ? [[id, value] as [string, string]] : [];
  });
}

export function withoutParameters(names: readonly string[]): SearchPatch {
  return Object.fromEntries(names.map((name) => [name, undefined]));
}
