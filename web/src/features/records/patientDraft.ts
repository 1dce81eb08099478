// SPDX-License-Identifier: Apache-2.0
import type { Field, FieldValue, Identity, Sex } from '@/api/types';

export type PatientDraft = {
  sex: Sex;
  birth_year: number | null;
  fields: Record<string, FieldValue>;
  identity: Identity;
};

export const EMPTY_DRAFT: PatientDraft = { sex: 'U', birth_year: null, fields: {}, identity: {} };

export const OLDEST_BIRTH_YEAR = 1880;

/** The year of a complete and possible birth date. */
export function birthYearOf(date: string | null | undefined): number | null {
  const year = /^(\d{4})-\d{2}-\d{2}$/.exec(date ?? '')?.[1];
  return year !== undefined && Number(year) >= OLDEST_BIRTH_YEAR ? Number(year) : null;
}

/** The age in years on a day, by the birth date or else by the birth year. */
export function ageOn(today: Date, date: string | null | undefined, year: number | null): number | null {
  const parts = /^(\d{4})-(\d{2})-(\d{2})$/.exec(date ?? '');
  if (parts === null) return year === null ? null : today.getFullYear() - year;
  const [born, month, day] = [Number(parts[1]), Number(parts[2]), Number(parts[3])];
  const before = today.getMonth() + 1 < month || (today.getMonth() + 1 === month && today.getDate() < day);
  return today.getFullYear() - born - (before ? 1 : 0);
}

function birthDateError(date: string | null | undefined, today: Date): string | null {
  if (!date) return null;
  const parsed = new Date(`${date}T00:00:00Z`);
  if (Number.isNaN(parsed.getTime()) || parsed.toISOString().slice(0, 10) !== date)
    return 'There is no such day in the calendar.';
  if (parsed.getTime() > today.getTime() + 14 * 3_600_000) return 'This date lies in the future.';
  return parsed.getUTCFullYear() < OLDEST_BIRTH_YEAR ? `Birth dates begin in ${OLDEST_BIRTH_YEAR}.` : null;
}

/** What a person can correct before the server is asked; the server checks all of it again. */
export function validatePatient(
  draft: PatientDraft,
  fields: Field[],
  thisYear: number,
  today = new Date(),
): Record<string, string> {
  const errors: Record<string, string> = {};
  const year = draft.birth_year;
  if (year !== null && (!Number.isInteger(year) || year < OLDEST_BIRTH_YEAR || year > thisYear)) {
    errors.birth_year = `Enter a year from ${OLDEST_BIRTH_YEAR} to ${thisYear}, or leave it empty.`;
  }
  const dateError = birthDateError(draft.identity.birth_date, today);
  if (dateError !== null) errors['identity.birth_date'] = dateError;
  else if (draft.identity.birth_date && year !== null && birthYearOf(draft.identity.birth_date) !== year)
    errors.birth_year = 'This year contradicts the birth date.';
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
