// SPDX-License-Identifier: Apache-2.0
// By what each kind is filtered.
import type { Field, Pathway } from '@/api/types';
import type { Filter } from '@/components/listTypes';
import { capital, SEX_OPTIONS } from '@/lib/format';
import type { EntryKind } from './entries';

const YES_NO = [
  { value: 'true', label: 'Yes' },
  { value: 'false', label: 'No' },
];

const NAMES: Partial<Record<Field['kind'], Filter['kind']>> = { date: 'date' };

function ofField(field: Field): Filter {
  const id = `field.${field.key}`;
  if (field.kind === 'boolean') return { id, label: field.label, options: YES_NO };
  if (field.kind === 'choice')
    return { id, label: field.label, options: field.choices.map((choice) => ({ value: choice, label: choice })) };
  return { id, label: field.label, kind: NAMES[field.kind] ?? 'text' };
}

export function filtersOf(kind: EntryKind, fields: readonly Field[], pathways: readonly Pathway[]): Filter[] {
  switch (kind) {
    case 'patients':
      return [{ id: 'sex', label: 'Sex', options: [...SEX_OPTIONS] }, ...fields.map(ofField)];
    case 'studies':
      return fields.map(ofField);
    case 'series':
      return [];
    case 'images': {
      const labels = new Map(
        pathways.flatMap(({ labels, display_names }) =>
          labels.map((label) => [label, capital(display_names[label] ?? label)]),
        ),
      );
      return [
        {
          id: 'verified',
          label: 'Verified',
          options: [
            { value: 'false', label: 'Not yet' },
            { value: 'true', label: 'Yes' },
          ],
        },
        { id: 'label', label: 'Label', options: [...labels].map(([value, label]) => ({ value, label })) },
        { id: 'uncertain', label: 'Uncertain', options: YES_NO },
      ];
    }
  }
}
