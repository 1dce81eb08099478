// SPDX-License-Identifier: Apache-2.0
import type { ReactNode } from 'react';

export type Column<T> = {
  id: string;
  header: string;
  cell: (row: T) => ReactNode;
  /** The name by which the server sorts, if it does. */
  sort?: string;
  align?: 'end';
  /** Left out until someone chooses it. */
  hidden?: boolean;
  /** Kept on a phone. */
  phone?: boolean;
};

export type Filter = {
  id: string;
  label: string;
  options?: { value: string; label: string }[];
  kind?: 'choice' | 'text' | 'date';
};
