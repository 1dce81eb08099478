// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { remainingErrors } from '@/lib/fieldErrors';
import { shortDay } from '@/lib/format';

describe('the errors of a form', () => {
  it('go with the value that was refused, each for itself', () => {
    const errors = { host: 'Enter the host.', port: 'Too large.', 'fields.weight': 'Not a number.' };
    const refused = { host: '', port: 70000, fields: { weight: 'x', height: 1 } };
    expect(remainingErrors(errors, refused, refused)).toEqual(errors);
    expect(remainingErrors(errors, refused, { ...refused, port: 104 })).toEqual({
      host: 'Enter the host.',
      'fields.weight': 'Not a number.',
    });
    expect(remainingErrors(errors, refused, { ...refused, fields: { weight: 3, height: 1 } })).toEqual({
      host: 'Enter the host.',
      port: 'Too large.',
    });
  });
});

describe('a day on the axis of a chart', () => {
  const days = (locale: string) => new Intl.DateTimeFormat(locale, { month: 'short', day: 'numeric', timeZone: 'UTC' });

  it.each([
    ['en-US', 'Mar 4'],
    ['en-GB', '4 Mar'],
    ['fr', '4 mars'],
  ])('is written as %s writes it', (locale, text) => {
    expect(shortDay('2026-03-04', days(locale))).toBe(text);
  });
});
