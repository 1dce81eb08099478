// SPDX-License-Identifier: Apache-2.0
// What is wrong with the fields of a form. An error belongs to the value that was refused: it goes when that is corrected.
import { useState } from 'react';

export type FieldErrors = Record<string, string>;

/** The value of a field; "fields.weight" is the member of a group. */
function valueOf(values: Record<string, unknown>, field: string): unknown {
  if (field in values) return values[field];
  const [group = '', ...rest] = field.split('.');
  const inside = values[group];
  return typeof inside === 'object' && inside !== null
    ? (inside as Record<string, unknown>)[rest.join('.')]
    : undefined;
}

/** The errors of those fields whose value is still the refused one. */
export function remainingErrors(
  errors: FieldErrors,
  refused: Record<string, unknown>,
  current: Record<string, unknown>,
): FieldErrors {
  return Object.fromEntries(
    Object.entries(errors).filter(([field]) => Object.is(valueOf(refused, field), valueOf(current, field))),
  );
}

/** The errors of a form whose fields have these values. */
export function useFieldErrors(values: Record<string, unknown>): [FieldErrors, (errors: FieldErrors) => void] {
  const [latest, setLatest] = useState<{ errors: FieldErrors; refused: Record<string, unknown> }>({
    errors: {},
    refused: {},
  });
  return [remainingErrors(latest.errors, latest.refused, values), (errors) => setLatest({ errors, refused: values })];
}
