// SPDX-License-Identifier: Apache-2.0
import type { Field, FieldValue, Identity, Sex } from '@/api/types';

export type PatientDraft = {
  sex: Sex;
  birth_year: number | null;
  fields: Record<string, FieldValue>;
  identity: Identity;
};

export const EMPTY_DRAFT: PatientDraft = { sex: 'U', birth_year: null, fields: {}, identity: {} };

/** What a person can mend before the server is asked; the server checks all of it again. */
export function validatePatient(draft: PatientDraft, fields: Field[], thisYear: number): Record<string, string> {
  const errors: Record<string, string> = {};
  const year = draft.birth_year;
  if (year !== null && (!Number.isInteger(year) || year < 1850 || year > thisYear)) {
    errors.birth_year = `Enter a year from 1850 to ${thisYear}, or leave it empty.`;
  }
  for (const field of fields) {
    const value = draft.fields[field.key];
    if (field.required && (value === null || value === undefined || value === '')) {
      errors[`fields.${field.key}`] = `${field.label} is required in this project.`;
    }
  }
  const { email } = draft.identity;
  if (email && !/^\S+@\S+$/.test(email))
    errors['identity.email'] = 'This is not an e-mail address, such as name@example.org.';
  return errors;
}
