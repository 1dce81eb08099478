// SPDX-License-Identifier: Apache-2.0
import type { Field, FieldValue } from '@/api/types';
import { count, day } from '@/lib/format';

/** A value of a dynamic field as people read it. */
export function formatField(field: Field, value: FieldValue | undefined): string {
  if (value === null || value === undefined || value === '') return '–';
  switch (field.kind) {
    case 'boolean':
      return value === true || value === 'true' ? 'Yes' : 'No';
    case 'date':
      return day(`${String(value)}T12:00:00`);
    case 'integer':
      return typeof value === 'number' ? count(value) : String(value);
    default:
      return String(value);
  }
}
